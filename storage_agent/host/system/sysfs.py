"""Small reads of sysfs, where anything may go while it is being looked at. Runs nothing.

Text paths and os.open rather than pathlib: a snapshot makes a hundred of these reads, and
pathlib makes each three to four times slower (measured, Python 3.11).
"""

from __future__ import annotations

import errno
import os

SECTOR_BYTES = 512
# What the kernel answers when a device goes while it is being read.
VANISHED = frozenset({errno.ENOENT, errno.ENODEV, errno.ENXIO, errno.ENOTDIR})


class Vanished(Exception):
    """The device went while it was being read: the caller goes on without it."""


def read_attribute(path: str, *, absent: str | None = None) -> str:
    """A sysfs attribute without white space around it. Raises Vanished if it is not there and
    `absent` is not given."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.read(descriptor, 4096).decode("utf-8", errors="replace").strip()
        finally:
            os.close(descriptor)
    except OSError as exc:
        if exc.errno not in VANISHED:
            raise
        if absent is None:
            raise Vanished(path) from exc
        return absent


def names_in(folder: str, *, absent: tuple[str, ...] | None = None) -> tuple[str, ...]:
    """Sorted entries of a sysfs folder. Raises Vanished like read_attribute."""
    try:
        return tuple(sorted(os.listdir(folder)))
    except OSError as exc:
        if exc.errno not in VANISHED:
            raise
        if absent is None:
            raise Vanished(folder) from exc
        return absent


def prefix(root: os.PathLike[str]) -> str:
    """`/` -> ``, `/tmp/tree` -> itself: what to put before `/sys/…`."""
    return os.fspath(root).rstrip("/")
