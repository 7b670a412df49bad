"""System calls on namespaces, mounts and guarded paths that Python 3.11's os module does not have.

os.unshare and os.setns came with 3.12; mount, umount2, openat2 and renameat2 never. Thin: each
raises OSError.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWNET = 0x40000000

MS_RDONLY = 1 << 0
MS_NOSUID = 1 << 1
MS_NODEV = 1 << 2
MS_NOEXEC = 1 << 3
MS_REMOUNT = 1 << 5
MS_NOSYMFOLLOW = 1 << 8
MS_BIND = 1 << 12
MS_MOVE = 1 << 13
MS_REC = 1 << 14
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19

# linux/openat2.h, linux/fs.h
RESOLVE_NO_XDEV = 0x01
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RENAME_NOREPLACE = 1 << 0
IMMUTABLE = 0x10
# The same number on every architecture (the common table begins at 424).
_NR_OPENAT2 = 437
# _IOR('f', 1, long) and _IOW('f', 2, long); the kernel reads and writes an int.
_GET_FLAGS, _SET_FLAGS = 0x80086601, 0x40086602
_NO_FLAGS = (errno.ENOTTY, errno.EOPNOTSUPP, errno.EINVAL)

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = (
    ctypes.c_char_p,
    ctypes.c_char_p,
    ctypes.c_char_p,
    ctypes.c_ulong,
    ctypes.c_char_p,
)
_libc.syscall.restype = ctypes.c_long
_libc.syscall.argtypes = (
    ctypes.c_long,
    ctypes.c_int,
    ctypes.c_char_p,
    ctypes.c_char_p,
    ctypes.c_size_t,
)
_libc.renameat2.argtypes = (
    ctypes.c_int,
    ctypes.c_char_p,
    ctypes.c_int,
    ctypes.c_char_p,
    ctypes.c_uint,
)


def openat2(folder: int, path: str, flags: int, *, resolve: int) -> int:
    """openat2(2): a descriptor, always close-on-exec. folder: an open one."""
    how = struct.pack("=QQQ", flags | os.O_CLOEXEC, 0, resolve)
    return _opened(_libc.syscall(_NR_OPENAT2, folder, os.fsencode(path), how, len(how)), path)


def rename(source: int, name: str, target: int, new: str, *, flags: int = 0) -> None:
    """renameat2(2). source, target: open folders."""
    done = _libc.renameat2(source, os.fsencode(name), target, os.fsencode(new), flags)
    _checked(done, name)


def is_immutable(descriptor: int) -> bool | None:
    """Whether the flag of `chattr +i` is set (FS_IOC_GETFLAGS); None: this filesystem has none."""
    flags = _flags(descriptor)
    return None if flags is None else bool(flags & IMMUTABLE)


def set_immutable(descriptor: int, *, on: bool) -> None:
    """Nothing where it is so already, or where the filesystem has no flags."""
    flags = _flags(descriptor)
    if flags is None or bool(flags & IMMUTABLE) == on:
        return
    wanted = flags | IMMUTABLE if on else flags & ~IMMUTABLE
    fcntl.ioctl(descriptor, _SET_FLAGS, struct.pack("=i4x", wanted))


def _flags(descriptor: int) -> int | None:
    try:
        return int(struct.unpack_from("=i", fcntl.ioctl(descriptor, _GET_FLAGS, bytes(8)))[0])
    except OSError as exc:
        if exc.errno in _NO_FLAGS:
            return None
        raise


def unshare(flags: int) -> None:
    """unshare(2)."""
    _checked(_libc.unshare(flags), "unshare")


def setns(descriptor: int, kind: int) -> None:
    """setns(2). kind: the CLONE_ constant that the namespace must be of."""
    _checked(_libc.setns(descriptor, kind), "setns")


def mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    """mount(2)."""
    arguments = (os.fsencode(source), os.fsencode(target), kind.encode(), flags, options.encode())
    _checked(_libc.mount(*arguments), target)


def unmount(target: str) -> None:
    """umount2(2), never lazy, never forced."""
    _checked(_libc.umount2(os.fsencode(target), 0), target)


def _opened(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
    return int(result)


def _checked(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
