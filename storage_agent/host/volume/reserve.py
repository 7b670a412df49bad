"""What a volume is served with although nothing is free on it: files of ours that are there before.

nfsdcld (nfs-utils) keeps its clients in SQLite, in the mode that the database file itself records.
A fresh one makes a journal file for each transaction, which needs an inode and blocks; without
them the server waits out its whole grace period and forgets clients later. In write-ahead mode the
two files beside the database stay. With blocks allocated past their ends and unused pages in the
database a transaction needs nothing that is not there (tried on ext4 and XFS with no block and no
inode free, SQLite 3.40). Runs no host tool.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Callable
from dataclasses import dataclass

from storage_agent.host.volume.door import Folder, enter
from storage_agent.host.volume.own import CANARY, own_folder, tracking_folder

DATABASE = "main.sqlite"
PROBE = "probe"
# One block for what the server writes and one for what its client writes (nfs_server/canary.py).
PROBE_BYTES = 2 * 4096
# Some thousand clients: SQLite takes unused pages before it lets the file grow.
DATABASE_BYTES = 2 << 20
# SQLite writes the log back and begins anew at 1000 pages of 4 KiB (wal_autocheckpoint).
LOG_BYTES = 6 << 20
INDEX_BYTES = 32 << 10
# File format, sqlite.org/fileformat.html section 1.3: read and write version.
_VERSIONS = slice(18, 20)
_WRITE_AHEAD = b"\2\2"
_SQLITE_TIMEOUT_S = 2.0
_KEEP_SIZE = 1  # FALLOC_FL_KEEP_SIZE
_BLOCK_BYTES = 512  # st_blocks, stat(2)

_libc = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)

Find = Callable[[str], Folder]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lack:
    """What is not there yet of what is to be held. Nothing of both: the volume can be served
    however full it gets."""

    inodes: int = 0
    size_bytes: int = 0


def canary_folder(mount_point: str) -> Folder:
    """Raises FileNotFoundError, NotOurs."""
    with enter(mount_point) as root, own_folder(root) as own:
        return own.folder(CANARY)


_FILES: tuple[tuple[Find, str, int], ...] = (
    (tracking_folder, DATABASE, DATABASE_BYTES),
    (tracking_folder, f"{DATABASE}-wal", LOG_BYTES),
    (tracking_folder, f"{DATABASE}-shm", INDEX_BYTES),
    (canary_folder, PROBE, PROBE_BYTES),
)


def lack(mount_point: str) -> Lack:
    """Changes nothing. Raises OSError."""
    inodes = size_bytes = 0
    for find, name, wanted_bytes in _FILES:
        held_bytes = _held(mount_point, find, name)
        inodes += held_bytes is None
        size_bytes += max(0, wanted_bytes - (held_bytes or 0))
    return Lack(inodes=inodes, size_bytes=size_bytes)


def make_room(mount_point: str, place: str) -> None:
    """Makes what is missing, as far as there is room. While no nfsdcld runs, in folders that are
    there. place: where SQLite may open the database by its path. Raises OSError (ENOSPC: not all
    of it)."""
    problem: OSError | None = None
    for find, name, wanted_bytes in _FILES:
        try:
            with find(mount_point) as folder:
                if name == DATABASE:
                    _hold_database(folder, f"{place}/{DATABASE}")
                elif (_held(mount_point, find, name) or 0) < wanted_bytes:
                    _hold_file(folder, name, wanted_bytes)
        except OSError as exc:
            problem = problem or exc
    if problem is not None:
        raise problem


def open_probe(mount_point: str) -> int:
    """Descriptor of the canary's file, made anew where it is gone or too short. Raises OSError."""
    with canary_folder(mount_point) as folder:
        if (folder.size(PROBE) or 0) < PROBE_BYTES:
            _hold_file(folder, PROBE, PROBE_BYTES)
        return folder.file(PROBE, os.O_RDWR)


def _held(mount_point: str, find: Find, name: str) -> int | None:
    """Bytes of the device that it holds; None: it is not there."""
    try:
        with find(mount_point) as folder:
            descriptor = folder.file(name)
    except FileNotFoundError:
        return None
    try:
        return os.fstat(descriptor).st_blocks * _BLOCK_BYTES
    finally:
        os.close(descriptor)


def _hold_file(folder: Folder, name: str, wanted_bytes: int) -> None:
    if name == PROBE:
        # Written and not only allocated, so that writing over it needs nothing at all.
        folder.make_file(name, bytes(wanted_bytes))
        return
    if not folder.has(name):
        folder.make_file(name, b"")
    descriptor = folder.file(name, os.O_RDWR)
    try:
        if _libc.fallocate(descriptor, _KEEP_SIZE, 0, wanted_bytes):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), f"{folder.where}/{name}")
    finally:
        os.close(descriptor)


def _hold_database(folder: Folder, path: str) -> None:
    header = folder.read(DATABASE, _VERSIONS.stop)
    is_ahead = header is not None and header[_VERSIONS] == _WRITE_AHEAD
    if is_ahead and (folder.size(DATABASE) or 0) >= DATABASE_BYTES:
        return
    # Imported late: needed once in a volume's life.
    import sqlite3

    try:
        with contextlib.closing(
            sqlite3.connect(path, isolation_level=None, timeout=_SQLITE_TIMEOUT_S)
        ) as database:
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("BEGIN IMMEDIATE")
            database.execute("CREATE TABLE storage_agent_room (room BLOB)")
            database.execute(f"INSERT INTO storage_agent_room VALUES (zeroblob({DATABASE_BYTES}))")
            database.execute("DROP TABLE storage_agent_room")
            database.execute("COMMIT")
    except sqlite3.Error as exc:
        raise OSError(None, f"{path}: {exc}") from exc
