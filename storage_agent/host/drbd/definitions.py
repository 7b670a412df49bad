"""Every DRBD resource of the host: those of drbd.conf and all it includes, and the kernel's.

Source: drbd-utils user/v9/drbdadm_main.c adm_dump_xml(); drbd.conf(5).
"""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from storage_agent.host.drbd.events import parse_record
from storage_agent.model.errors import ParseError
from storage_agent.model.surroundings import OtherReplica

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

TOOL = "drbdadm dump-xml"
# Of this host, up or down; those of other hosts and skipped ones are not among them. Exit status
# 0 and no line where there are none.
DEFINED_NAMES = ("drbdadm", "sh-resources")
KERNEL = "the kernel"
KERNEL_ALL = ("drbdsetup", "events2", "--now")


_INCLUDE = re.compile(r'\s*include\s+"?([^";]+?)"?\s*;\s*(?:#.*)?')


def dump_argv(name: str) -> tuple[str, ...]:
    """One by one: for all at once it fails where the address of any of them is not there now
    (drbd-utils 9.22), and a resource that is down is just what is looked for."""
    return ("drbdadm", "dump-xml", name)


def try_argv(path: str) -> tuple[str, ...]:
    """Does this drbd.conf, with all that it includes, contradict itself? Exit status 10 and why.
    (drbdadm's own --config-to-exclude is unknown to the one for the driver 8.4.)"""
    return ("drbdadm", "--config-file", path, "sh-nop")


def with_instead(main: str, folder: Path, new: Path, old: Path) -> str:
    """drbd.conf (its text is `main`, and it lies in `folder`) with the file `new` in the place of
    `old`, which is there or not."""
    lines: list[str] = []
    for line in main.splitlines():
        include = _INCLUDE.fullmatch(line)
        if include is None:
            lines.append(line)
            continue
        pattern = folder / include[1]
        found = (Path(path) for path in sorted(glob.glob(str(pattern))))
        lines += (f'include "{path}";' for path in found if path != old)
    return "\n".join((*lines, f'include "{new}";', ""))


def parse_definitions(text: str, host: str) -> tuple[OtherReplica, ...]:
    """`drbdadm dump-xml`, of one resource or of all. host: this machine's name, by which DRBD
    picks its own `on` section. Raises ParseError."""
    from xml.etree import ElementTree

    try:
        root = ElementTree.fromstring(text)
        return tuple(_definition(resource, host) for resource in root.iter("resource"))
    except (ElementTree.ParseError, ValueError) as exc:
        raise ParseError(TOOL, f"{type(exc).__name__}: {exc}", text) from exc


def _definition(resource: Element, host: str) -> OtherReplica:
    name, place = resource.get("name", ""), resource.get("conf-file-line", "")
    here = [h for h in resource.findall("host") if h.get("name", "") in ("", "_this_host", host)]
    if not here:
        return OtherReplica(name=name, place=place)
    minors: list[int] = []
    disks: list[str] = []
    for volume in here[0].findall("volume"):
        device = volume.find("device")
        if device is not None and device.get("minor"):
            minors.append(int(device.get("minor", "")))
        disks += _disks(volume)
    address = _address(resource, here[0])
    return OtherReplica(
        name=name,
        place=place,
        minors=tuple(minors),
        disks=tuple(disks),
        address=(address.text or "").strip("[] ") if address is not None else "",
        port=int(address.get("port", "0")) if address is not None else 0,
    )


def _disks(volume: Element) -> Iterator[str]:
    for tag in ("disk", "meta-disk", "flexible-meta-disk"):
        for element in volume.findall(tag):
            text = (element.text or "").strip()
            if text.startswith("/"):
                yield text.split("[")[0].strip()


def _address(resource: Element, host: Element) -> Element | None:
    """Of the host's section, or of the first path in which this host takes part."""
    found = host.find("address")
    if found is not None:
        return found
    for path in resource.iter("path"):
        for end in path.findall("host"):
            if end.get("name", "") == host.get("name", ""):
                return end.find("address")
    return None


def parse_kernel(text: str) -> tuple[OtherReplica, ...]:
    """`drbdsetup events2 --now` of all resources. Raises ParseError."""
    minors: dict[str, list[int]] = {}
    ends: dict[str, tuple[str, int]] = {}
    has_ended = False
    for line in text.splitlines():
        record = parse_record(line)
        has_ended = record.kind == "-"
        if "name" not in record.fields:
            continue
        name = record.fields["name"]
        numbers = minors.setdefault(name, [])
        if record.kind == "device":
            try:
                numbers.append(int(record.key("minor")))
            except ValueError as exc:
                raise ParseError("drbdsetup events2", "minor is not a number", line) from exc
        # Of the connection on 8.4, of its path on 9.
        if record.fields.get("local"):
            ends[name] = parse_end(record.fields["local"])
    if not has_ended:
        raise ParseError("drbdsetup events2", "the end of the snapshot is missing", text[-200:])
    return tuple(
        OtherReplica(
            name=name,
            place=KERNEL,
            minors=tuple(numbers),
            address=ends.get(name, ("", 0))[0],
            port=ends.get(name, ("", 0))[1],
        )
        for name, numbers in minors.items()
    )


def parse_end(text: str) -> tuple[str, int]:
    """`ipv4:10.8.0.1:7789` or `ipv6:[fd00::1]:7789`. Raises ParseError."""
    address, _, port = text.partition(":")[2].rpartition(":")
    if not port.isdecimal():
        raise ParseError("drbdsetup events2", "no port in an address", text)
    return address.strip("[]"), int(port)
