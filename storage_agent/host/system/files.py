"""Small files that are there whole or not at all, whatever interrupts the writing of them.

Pattern: write beside, fsync, rename, fsync the folder (reliability: ALICE, OSDI'14). Runs nothing.
"""

from __future__ import annotations

import contextlib
import mmap
import os
from collections.abc import Iterator
from pathlib import Path


def create_file(path: Path, content: bytes, *, mode: int = 0o600) -> bool:
    """Atomic, and durable on return; of two at once one makes it. False where something is there
    already, which stays. The folder must exist. Raises OSError."""
    with open_folder(path.parent) as folder:
        beside = _write_beside(folder, path.name, content, mode=mode, exactly=True)
        try:
            os.link(beside, path.name, src_dir_fd=folder, dst_dir_fd=folder)
        except FileExistsError:
            return False
        finally:
            os.unlink(beside, dir_fd=folder)
        os.fsync(folder)
    return True


def replace_file(path: Path, content: bytes, *, mode: int = 0o600, exactly: bool = False) -> None:
    """Atomic, and durable on return. A link at `path` is replaced, not followed. The folder must
    exist. mode: of the new file, less the umask unless `exactly`. Raises OSError; then the old file
    or the new one is there, whole."""
    with open_folder(path.parent) as folder:
        replace_in(folder, path.name, content, mode=mode, exactly=exactly)


def replace_in(
    folder: int, name: str, content: bytes, *, mode: int = 0o600, exactly: bool = False
) -> None:
    """The same in an open folder, which may be out of sight by now."""
    beside = _write_beside(folder, name, content, mode=mode, exactly=exactly)
    try:
        os.rename(beside, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(beside, dir_fd=folder)
        raise
    os.fsync(folder)


def _write_beside(folder: int, name: str, content: bytes, *, mode: int, exactly: bool) -> str:
    """Its name; what it contains is durable. Raises OSError; then nothing is left of it."""
    # A name of its own, so that two writers never mix; the dot and the end keep it from all who
    # read whole folders (`*.conf`, `*.res`, `*.toml`, `operation-*`).
    beside = f".{name}.{os.urandom(4).hex()}.new"
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(beside, flags, mode, dir_fd=folder)
    try:
        with open(descriptor, "wb") as file:
            if exactly:
                os.fchmod(descriptor, mode)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(beside, dir_fd=folder)
        raise
    return beside


def read_past_cache(path: str | Path, at: int, size_bytes: int) -> bytes:
    """What lies on the device, not what the page cache remembers of it. at, size_bytes: multiples
    of its block size. Behind its end: zeros. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)
    try:
        # O_DIRECT wants memory that is aligned: pages of its own.
        with mmap.mmap(-1, size_bytes) as page:
            read_bytes = os.preadv(descriptor, [page], at)
            return page[:read_bytes].ljust(size_bytes, b"\0")
    finally:
        os.close(descriptor)


def sync_folder(path: Path) -> None:
    """What was made, renamed or removed in it is durable on return. Raises OSError."""
    with open_folder(path) as folder:
        os.fsync(folder)


@contextlib.contextmanager
def open_folder(path: Path) -> Iterator[int]:
    """Its descriptor. Raises OSError."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield folder
    finally:
        os.close(folder)
