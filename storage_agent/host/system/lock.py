"""Locks between processes that only root can hold, that are waited for a while, and that say who
holds them.

flock(2) needs no right but to have the file open: whoever may read a file or a folder can hold its
lock for ever. So a lock is a file of its own, root's and mode 0600.
"""

from __future__ import annotations

import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from storage_agent.model.errors import Busy, OperationFailed

POLL_S = 0.05
LOCKS = Path("/proc/locks")


def acquire(path: Path, what: str, wait_s: float = 0.0) -> int:
    """The descriptor that holds it; the kernel frees it with the process, however that ends. what:
    holds it elsewhere, for the message.

    Raises Busy, OperationFailed where others could hold the file, OSError.
    """
    until_s = time.monotonic() + wait_s
    descriptor = _open(path)
    try:
        while not _try(descriptor):
            if time.monotonic() >= until_s:
                raise Busy(
                    f"{what} runs on this host already: {_holder(descriptor)}",
                    remedy="try again when it has ended",
                )
            time.sleep(POLL_S)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


@contextmanager
def held(path: Path, what: str, wait_s: float = 0.0) -> Iterator[None]:
    """As `acquire`."""
    descriptor = acquire(path, what, wait_s)
    try:
        yield
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    # Not blocking: a FIFO in its place must not keep us.
    flags = os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    descriptor = os.open(path, flags, 0o600)
    found = os.fstat(descriptor)
    is_ours = found.st_uid == os.geteuid() and not found.st_mode & 0o077
    if not (stat.S_ISREG(found.st_mode) and is_ours and found.st_nlink == 1):
        os.close(descriptor)
        raise OperationFailed(
            f"{path} is not a lock that only root can hold: {stat.filemode(found.st_mode)}, "
            f"uid {found.st_uid}, {found.st_nlink} names",
            remedy=f"rm {path}",
            code="UNSAFE_LOCK",
        )
    return descriptor


def _try(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(descriptor: int) -> str:
    """`process 4711 (storage-agent)`. proc(5), /proc/locks:
    `1: FLOCK  ADVISORY  WRITE 4711 fe:00:131 0 EOF`."""
    inode = str(os.fstat(descriptor).st_ino)
    try:
        for line in LOCKS.read_text().splitlines():
            words = line.split()
            if words[1] == "FLOCK" and words[5].rpartition(":")[2] == inode:
                return f"process {words[4]}{_name(words[4])}"
    except (OSError, IndexError):
        pass
    return "a process that cannot be seen from here"


def _name(pid: str) -> str:
    try:
        text = Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    # A process names itself.
    return f" ({ascii(text.strip())[1:-1]})"
