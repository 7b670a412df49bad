"""How long each text, how large each number and how full each list of the wire may be: one table
for the schema, for the agent's decoder and for the coordinator's.

What a caller sends is bounded by its type (`Annotated`, below). What an agent answers may come from
a kernel, a tool or a disk: where its type says nothing, the name under which it lies does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

TEXT_LIMIT_CHARS = 8192
KEY_LIMIT_CHARS = 256
ITEMS_LIMIT = 4096
# By the key under which they lie: what a person would have to read.
_ITEMS_LIMITS = {"findings": 100, "problems": 100, "steps": 300, "commands": 300, "events": 1000}
# What a double holds exactly: other JSON readers would change it.
COUNT_LIMIT = (1 << 53) - 1
BYTES_LIMIT = 1 << 62
# Seconds of a duration or of a clock that begins with the boot: 300 years.
SECONDS_LIMIT = 10**10
# Seconds since 1970, until the year 9999: what a calendar can show.
DATE_LIMIT_S = 253_402_300_799


@dataclass(frozen=True, slots=True)
class Text:
    """Characters of ASCII: as many bytes, wherever they are written."""

    most: int

    def misfit(self, value: Any) -> str:
        """What is wrong with it; empty where nothing is."""
        if len(value) > self.most or not value.isascii():
            return f"at most {self.most} characters of ASCII are taken"
        return ""


@dataclass(frozen=True, slots=True)
class Whole:
    """A number."""

    least: int
    most: int

    def misfit(self, value: Any) -> str:
        if not self.least <= value <= self.most:
            return f"only {self.least} to {self.most} is taken"
        return ""


@dataclass(frozen=True, slots=True)
class Items:
    """Of a list, or names in an object."""

    least: int
    most: int

    def misfit(self, value: Any) -> str:
        if not self.least <= len(value) <= self.most:
            return f"only {self.least} to {self.most} items are taken"
        return ""


Bound = Text | Whole | Items

# As configuration/rules.py has them.
VolumeName = Annotated[str, Text(31)]
HostName = Annotated[str, Text(63)]
HostAndVolume = Annotated[str, Text(63 + 1 + 31)]
# Of operations, claims, incidents, boots and files of a proof; a fingerprint, a digest.
Name = Annotated[str, Text(64)]
# `ssh key` and its id; `uid` and `pid`.
Origin = Annotated[str, Text(80)]
EpochNumber = Annotated[int, Whole(0, COUNT_LIMIT)]
EpochAndCounter = Annotated[tuple[EpochNumber, ...], Items(2, 2)]
Options = Annotated[dict[str, Name], Items(0, 8)]
Serial = Annotated[str, Text(128)]
Serials = Annotated[tuple[Serial, ...], Items(0, 256)]
SizeBytes = Annotated[int, Whole(0, BYTES_LIMIT)]


def items_limit(key: str) -> int:
    """Of a list that lies under this key."""
    return _ITEMS_LIMITS.get(key, ITEMS_LIMIT)


def number_range(key: str) -> tuple[int, int]:
    """By what the key's ending says that it is."""
    if key in ("wall_s", "unix_s") or key.endswith(("_wall_s", "_unix_s")):
        return 0, DATE_LIMIT_S
    if key.endswith("_s"):
        return -SECONDS_LIMIT, SECONDS_LIMIT
    if key.endswith("_bytes"):
        return 0, BYTES_LIMIT
    if key in ("epoch", "epochs", "counter"):
        return 0, COUNT_LIMIT
    return -BYTES_LIMIT, BYTES_LIMIT


def cut(text: str, limit_chars: int) -> str:
    """At most so many characters, and it is seen that there were more."""
    return text if len(text) <= limit_chars else f"{text[: limit_chars - 1]}…"
