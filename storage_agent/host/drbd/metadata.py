"""Whether DRBD's internal metadata lie at the end of a device that DRBD does not hold. No tool.

Layout: drbd-utils drbdmeta.c (internal metadata: the last 4 KiB that are aligned to 4 KiB;
md_on_disk_08 and md_on_disk_09 both have their magic at byte 60), drbd-headers linux/drbd.h.
"""

from __future__ import annotations

import mmap
import os
import struct
from pathlib import Path

from storage_agent.host.system.bounded import BoundedCalls
from storage_agent.host.system.sysfs import Vanished, names_in, prefix
from storage_agent.model.errors import CommandStuck

TIMEOUT_S = 2.0
BLOCK_BYTES = 4096
_MAGIC_AT = 60
# DRBD_MD_MAGIC_08, DRBD_MD_MAGIC_84_UNCLEAN (what 8.4 leaves), DRBD_MD_MAGIC_09.
_MAGICS = frozenset({0x8374026B, 0x8374026C, 0x8374026D})


def is_metadata(block: bytes) -> bool:
    """block: the last aligned BLOCK_BYTES of a device."""
    return struct.unpack_from(">I", block, _MAGIC_AT)[0] in _MAGICS


class MetadataReader:
    """One per daemon: it remembers which device hangs."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        self._calls = BoundedCalls()

    def look(self, device: str) -> bool | None:
        """None where DRBD holds the device, or it cannot be read."""
        path = self._root / device.lstrip("/")
        name = os.path.basename(os.path.realpath(path))
        call = f"read the end of {device}"
        try:
            holders = names_in(f"{prefix(self._root)}/sys/block/{name}/holders", absent=())
            if any(holder.startswith("drbd") for holder in holders):
                return None
            return is_metadata(self._calls.run(call, lambda: _end(path), timeout_s=TIMEOUT_S))
        except (CommandStuck, OSError, Vanished):
            return None


def _end(path: Path) -> bytes:
    """Past the page cache: DRBD writes past that of the array."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)
    try:
        size_bytes = os.lseek(descriptor, 0, os.SEEK_END)
        offset = size_bytes // BLOCK_BYTES * BLOCK_BYTES - BLOCK_BYTES
        # O_DIRECT wants memory that is aligned: a page of its own.
        with mmap.mmap(-1, BLOCK_BYTES) as page:
            read_bytes = os.preadv(descriptor, [page], max(0, offset))
            return page[:read_bytes].ljust(BLOCK_BYTES, b"\0")
    finally:
        os.close(descriptor)
