"""Which filesystem begins on a device, read past the page cache. Runs no host tool.

For the array under a DRBD Secondary: its own device cannot be opened (drbd_main.c drbd_open():
EMEDIUMTYPE), and what DRBD writes to the array does not go through the array's page cache, so an
ordinary read could show what lay there at some earlier look.

Layouts: kernel Documentation/filesystems/ext4/super.rst; fs/xfs/libxfs/xfs_format.h xfs_dsb.
"""

from __future__ import annotations

import struct
import uuid
from pathlib import Path

from storage_agent.host.system.bounded import BoundedCalls
from storage_agent.host.system.files import read_past_cache
from storage_agent.model.filesystem import Content

TIMEOUT_S = 2.0
START_BYTES = 4096
_EXT4_AT = 1024
_EXT4_MAGIC = 0xEF53
_EXT4_64BIT = 0x80
_XFS_MAGIC = b"XFSB"
_XFS_IN_PROGRESS_AT = 126
_XFS_FIRST_INODES = 3


def parse_content(start: bytes) -> Content | None:
    """start: the first START_BYTES of a device. None: no ext4 (or one of its forerunners) and no
    xfs begins here."""
    if start[:4] == _XFS_MAGIC:
        if start[_XFS_IN_PROGRESS_AT]:
            # mkfs.xfs writes it first of all and clears this last; the kernel does not mount it.
            return None
        block_bytes, blocks = struct.unpack_from(">IQ", start, 4)
        return _content("xfs", start[32:48], block_bytes * blocks)
    block = start[_EXT4_AT:]
    (magic,) = struct.unpack_from("<H", block, 0x38)
    if magic != _EXT4_MAGIC:
        return None
    (blocks,) = struct.unpack_from("<I", block, 0x4)
    (block_shift,) = struct.unpack_from("<I", block, 0x18)
    (incompatible,) = struct.unpack_from("<I", block, 0x60)
    if incompatible & _EXT4_64BIT:
        blocks += struct.unpack_from("<I", block, 0x150)[0] << 32
    # A shift that makes no sense is not followed: ext4 knows blocks of 1 KiB to 64 KiB.
    return _content("ext4", block[0x68:0x78], blocks * (1024 << min(block_shift, 6)))


def is_pristine(start: bytes) -> bool | None:
    """Was the filesystem that begins here never used? None where none does. ext4 notes each mount;
    a new XFS has its root folder and two bitmaps, and no other inode."""
    content = parse_content(start)
    if content is None:
        return None
    if content.type == "xfs":
        inodes, free = struct.unpack_from(">QQ", start, 128)
        return bool(inodes - free == _XFS_FIRST_INODES)
    mounted_unix_s, mounts = struct.unpack_from("<I4xH", start, _EXT4_AT + 0x2C)
    return bool(mounted_unix_s == 0 and mounts == 0)


def _content(kind: str, identity: bytes, size_bytes: int) -> Content:
    return Content(type=kind, uuid=str(uuid.UUID(bytes=identity)), size_bytes=size_bytes)


class ContentReader:
    """One per daemon: it remembers which device hangs."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        self._calls = BoundedCalls()

    def read(self, device: str, *, timeout_s: float = TIMEOUT_S) -> Content | None:
        """Raises OSError (no such device, I/O error), CommandStuck (code `CALL_STUCK`)."""
        path = self._root / device.lstrip("/")
        call = f"read the start of {device}"
        return parse_content(self._calls.run(call, lambda: _start(path), timeout_s=timeout_s))

    def is_pristine(self, device: str, *, timeout_s: float = TIMEOUT_S) -> bool | None:
        """As read."""
        path = self._root / device.lstrip("/")
        call = f"read the start of {device}"
        return is_pristine(self._calls.run(call, lambda: _start(path), timeout_s=timeout_s))


def _start(path: Path) -> bytes:
    """Opened for reading and not exclusively: DRBD holds the array, and udev need not look."""
    return read_past_cache(path, 0, START_BYTES)
