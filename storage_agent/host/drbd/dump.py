"""`drbdadm dump-xml`: what drbdadm makes of its files, those of others included."""

from __future__ import annotations

from typing import TYPE_CHECKING

from storage_agent.model.errors import ParseError

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element


def parse_replica_settings(text: str) -> dict[str, dict[str, str]]:
    """Resource -> {`section.option`: value}. A valueless option is `yes`.

    With a resource's name drbdadm 9.22 prints it alone, without one below `config`. Options of a
    resource's own sections win over those of `common`. Raises ParseError.
    """
    from xml.etree import ElementTree

    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as exc:
        raise ParseError("drbdadm dump-xml", f"not XML: {exc}") from exc
    common = _section_options(root.find("common"))
    return {
        resource.get("name", ""): common | _section_options(resource)
        for resource in root.iter("resource")
    }


def _section_options(element: Element | None) -> dict[str, str]:
    found: dict[str, str] = {}
    for section in element.findall("section") if element is not None else ():
        for option in section.findall("option"):
            found[f"{section.get('name')}.{option.get('name')}"] = option.get("value", "yes")
    return found
