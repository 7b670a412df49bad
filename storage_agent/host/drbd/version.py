"""Which generation of the DRBD driver the kernel runs.

Pick formats and arguments by the *driver's* version, never by that of drbd-utils: on a stock
Debian kernel the utils are 9 and the driver is 8.4.
"""

from __future__ import annotations

import re

from storage_agent.model.errors import ParseError

# `8.4.11` of /sys/module/drbd/version, or the first line of /proc/drbd; 9.2.15 and later may
# append ` (compat 8.4)` there (LINBIT/drbd drbd_proc.c): that is still a 9.
_VERSION = re.compile(r"(?:version:\s*)?(\d+\.\d+\.\d+\S*)")


def parse_driver_version(text: str) -> str:
    """`8.4.11` of the text of /sys/module/drbd/version or /proc/drbd. Raises ParseError."""
    first = text.strip().partition("\n")[0]
    match = _VERSION.match(first)
    if match is None:
        raise ParseError("/proc/drbd", "no driver version", first)
    return match[1]


def is_version_9(version: str) -> bool:
    """Whether the driver speaks drbdsetup 9's words. Raises ParseError for an unknown major."""
    major, minor = version.split(".")[:2]
    if (major, minor) == ("8", "4"):
        return False
    if major == "9":
        return True
    raise ParseError("/proc/drbd", "neither DRBD 8.4 nor 9", version)
