"""DRBD's data generation identifiers: which of two copies holds the newer data.

Source: drbd-utils user/shared/drbdmeta.c m_show_gi(), m_get_gi().
"""

from __future__ import annotations

import re

from storage_agent.model.errors import ParseError
from storage_agent.model.replica import GenerationIdentifiers

# Current, bitmap, two of history, then flags (seven on 8.4, more on 9).
_IDENTIFIERS = re.compile(r"([0-9A-F]{16}):([0-9A-F]{16}):([0-9A-F]{16}):([0-9A-F]{16})(?::[01])+")


def parse_generation(text: str) -> GenerationIdentifiers:
    """Of `get-gi`, or of `show-gi` with its picture around the same line. Raises ParseError for
    none, and for several (a resource with more than one volume or peer)."""
    lines = [line.strip() for line in text.splitlines()]
    found = [match for line in lines if (match := _IDENTIFIERS.fullmatch(line))]
    if len(found) != 1:
        raise ParseError("get-gi", f"{len(found)} lines of identifiers, not one", text[:200])
    current, bitmap, *history = found[0].groups()
    return GenerationIdentifiers(current=current, bitmap=bitmap, history=tuple(history))
