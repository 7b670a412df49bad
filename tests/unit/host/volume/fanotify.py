"""Every open, change and removal on a mount, as the kernel tells it (fanotify(7)): for fuzz.py."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator

_CLOEXEC, _NONBLOCK, _UNLIMITED = 0x1, 0x2, 0x10 | 0x20
_MARK_ADD, _MARK_MOUNT = 0x1, 0x10
_ACCESS, _MODIFY, _OPEN, _ON_DIRECTORY = 0x1, 0x2, 0x20, 0x40000000
_OVERFLOW = 0x4000
_EVENT = struct.Struct("=IBBHQii")


class Watch:
    """Raises OSError where the kernel has no fanotify, or this is not root."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        flags = _CLOEXEC | _NONBLOCK | _UNLIMITED
        self._descriptor = self._checked(
            self._libc.fanotify_init(flags, os.O_RDONLY | os.O_CLOEXEC)
        )

    def add(self, mount: str) -> None:
        mask = ctypes.c_uint64(_ACCESS | _MODIFY | _OPEN | _ON_DIRECTORY)
        path = os.fsencode(mount)
        done = self._libc.fanotify_mark(
            self._descriptor, _MARK_ADD | _MARK_MOUNT, mask, ctypes.c_int(-100), path
        )
        self._checked(done)

    def opened(self) -> Iterator[str]:
        """Paths since the last call, each as often as it was touched."""
        while True:
            try:
                content = os.read(self._descriptor, 1 << 16)
            except BlockingIOError:
                return
            while content:
                length, _, _, _, mask, descriptor, _ = _EVENT.unpack_from(content)
                content = content[length:]
                assert not mask & _OVERFLOW, "events were lost"
                path = os.readlink(f"/proc/self/fd/{descriptor}")
                os.close(descriptor)
                yield path

    def close(self) -> None:
        os.close(self._descriptor)

    def _checked(self, result: int) -> int:
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), "fanotify")
        return result
