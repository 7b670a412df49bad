"""Which clients the grace period still waits for, from nfsdcld's database.

Its tables (nfs-utils 2.6 utils/nfsdcld/sqlite.c): `grace` names the current and the recovered
epoch; `rec-EPOCH` lists the clients of one. In grace the recovered epoch lists who was there
before, the current one who has reclaimed.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

_DATABASE = "main.sqlite"
_LIMIT = 1000


def waiting_clients(folder: str) -> tuple[str, ...]:
    """Names that clients give themselves (`Linux NFSv4.2 client`), sorted; empty out of grace.

    Raises OSError where the database cannot be read.
    """
    # Imported late: needed only when a grace period does not end.
    import sqlite3

    address = f"{Path(folder, _DATABASE).absolute().as_uri()}?mode=ro"
    try:
        with contextlib.closing(sqlite3.connect(address, uri=True, timeout=1.0)) as database:
            current, recovery = database.execute("SELECT current, recovery FROM grace").fetchone()
            if not recovery:
                return ()
            rows = database.execute(
                f'SELECT id FROM "rec-{recovery:016x}" '
                f'WHERE id NOT IN (SELECT id FROM "rec-{current:016x}") LIMIT {_LIMIT}'
            ).fetchall()
    except (sqlite3.Error, TypeError) as exc:
        raise OSError(f"{folder}/{_DATABASE}: {exc}") from exc
    return tuple(sorted(bytes(row[0]).rstrip(b"\0").decode(errors="replace") for row in rows))


def describe_waiting(folder: str) -> str:
    """`waiting for 2 clients to reclaim: …`."""
    try:
        names = waiting_clients(folder)
    except OSError as exc:
        return f"waiting for clients to reclaim (who: unknown, {exc})"
    shown = ", ".join(repr(name) for name in names[:5]) + (", …" if len(names) > 5 else "")
    plural = "" if len(names) == 1 else "s"
    return f"waiting for {len(names)} client{plural} to reclaim" + (f": {shown}" if shown else "")
