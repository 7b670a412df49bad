"""Which clients the grace period still waits for, from nfsdcld's database.

Its tables (nfs-utils 2.6 utils/nfsdcld/sqlite.c): `grace` names the current and the recovered
epoch; `rec-EPOCH` lists the clients of one. In grace the recovered epoch lists who was there
before, the current one who has reclaimed. It lies on the volume, so it is read as bytes through
the door and asked in memory, for a bounded time; with what is still in its write-ahead log.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from storage_agent.host.volume.own import tracking_folder
from storage_agent.host.volume.reserve import DATABASE

if TYPE_CHECKING:
    import sqlite3

_READ_LIMIT_BYTES = 16 << 20
_LIMIT = 1000
_LOG_HEADER_BYTES, _FRAME_HEADER_BYTES = 32, 24
_NAME_LIMIT_BYTES = 1024
_EPOCHS = 1 << 63
# SQLite's virtual instructions; a thousand clients take some ten thousand.
_STEPS_EACH, _STEPS = 1000, 5000


def waiting_clients(mount_point: str) -> tuple[str, ...]:
    """Names that clients give themselves (`Linux NFSv4.2 client`), sorted; empty out of grace.

    Raises OSError where the database cannot be read.
    """
    with tracking_folder(mount_point) as folder:
        where = f"{folder.where}/{DATABASE}"
        content = folder.read(DATABASE, _READ_LIMIT_BYTES)
        log = folder.read(f"{DATABASE}-wal", _READ_LIMIT_BYTES)
    if content is None:
        raise FileNotFoundError(2, "No such file or directory", where)
    content = with_log(content, log or b"")
    # Imported late: needed only when a grace period does not end.
    import sqlite3

    try:
        with contextlib.closing(sqlite3.connect(":memory:")) as database:
            database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _READ_LIMIT_BYTES)
            database.deserialize(content)
            return _waiting(database)
    except (sqlite3.Error, TypeError, ValueError, OverflowError, MemoryError) as exc:
        raise OSError(None, str(exc), where) from exc


def with_log(content: bytes, log: bytes) -> bytes:
    """The database with the log's committed pages in their places, as one without a log
    (sqlite.org/fileformat.html section 4). Checksums are not looked at: it is for a message."""
    pages = bytearray(content)
    pages[18:20] = b"\1\1"  # not in write-ahead mode
    page_bytes = int.from_bytes(log[8:12], "big")
    if len(log) < _LOG_HEADER_BYTES or not 512 <= page_bytes <= 65536:
        return bytes(pages)
    salts, waiting = log[16:24], list[tuple[int, int]]()
    for at in range(_LOG_HEADER_BYTES, len(log), _FRAME_HEADER_BYTES + page_bytes):
        head = log[at : at + _FRAME_HEADER_BYTES]
        number, size = (int.from_bytes(head[i : i + 4], "big") for i in (0, 4))
        if head[8:16] != salts or not 0 < number * page_bytes <= _READ_LIMIT_BYTES:
            break
        waiting.append((number, at + _FRAME_HEADER_BYTES))
        # Only the last frame of a transaction has the database's size in pages.
        for page, start in waiting if size else ():
            end = page * page_bytes
            pages.extend(bytes(max(0, end - len(pages))))
            pages[end - page_bytes : end] = log[start : start + page_bytes].ljust(page_bytes, b"\0")
        waiting = [] if size else waiting
    pages[18:20] = b"\1\1"
    return bytes(pages)


def _waiting(database: sqlite3.Connection) -> tuple[str, ...]:
    left = iter(range(_STEPS))
    database.set_progress_handler(lambda: next(left, None) is None, _STEPS_EACH)
    database.execute("PRAGMA trusted_schema = OFF")
    current, recovery = database.execute("SELECT current, recovery FROM grace").fetchone()
    if not (isinstance(current, int) and isinstance(recovery, int)):
        raise ValueError("its epochs are no numbers")
    if not 0 < recovery < _EPOCHS:
        return ()
    rows = database.execute(
        f'SELECT substr(CAST(id AS BLOB), 1, {_NAME_LIMIT_BYTES}) FROM "rec-{recovery:016x}" '
        f'WHERE id NOT IN (SELECT id FROM "rec-{current:016x}") LIMIT {_LIMIT}'
    ).fetchall()
    names = (row[0] if isinstance(row[0], bytes) else b"" for row in rows)
    return tuple(sorted(name.rstrip(b"\0").decode(errors="replace") for name in names))


def describe_waiting(mount_point: str) -> str:
    """`waiting for 2 clients to reclaim: …`."""
    try:
        names = waiting_clients(mount_point)
    except OSError as exc:
        return f"waiting for clients to reclaim (who: unknown, {exc.filename}: {exc.strerror})"
    shown = ", ".join(repr(name) for name in names[:5]) + (", …" if len(names) > 5 else "")
    plural = "" if len(names) == 1 else "s"
    return f"waiting for {len(names)} client{plural} to reclaim" + (f": {shown}" if shown else "")
