"""Whom the grace period waits for, from a database as nfsdcld makes it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from storage_agent.nfs_server.reclaims import describe_waiting, waiting_clients


def make_database(folder: Path, *, recovery: int, before: list[bytes], now: list[bytes]) -> None:
    """Schema 4 of nfs-utils 2.6.2."""
    with sqlite3.connect(folder / "main.sqlite") as database:
        database.execute("CREATE TABLE grace (current INTEGER, recovery INTEGER)")
        database.execute("INSERT INTO grace VALUES (3, ?)", (recovery,))
        for epoch, names in ((2, before), (3, now)):
            database.execute(
                f'CREATE TABLE "rec-{epoch:016x}" (id BLOB PRIMARY KEY, principal BLOB)'
            )
            rows = [(name,) for name in names]
            database.executemany(f'INSERT INTO "rec-{epoch:016x}" (id) VALUES (?)', rows)
    database.close()


def test_in_grace_those_who_have_not_reclaimed(tmp_path: Path) -> None:
    make_database(tmp_path, recovery=2, before=[b"Linux NFSv4.2 b", b"a"], now=[b"a"])
    assert waiting_clients(str(tmp_path)) == ("Linux NFSv4.2 b",)
    assert describe_waiting(str(tmp_path)) == ("waiting for 1 client to reclaim: 'Linux NFSv4.2 b'")


def test_out_of_grace_nobody(tmp_path: Path) -> None:
    make_database(tmp_path, recovery=0, before=[b"b"], now=[b"a"])
    assert waiting_clients(str(tmp_path)) == ()
    assert describe_waiting(str(tmp_path)) == "waiting for 0 clients to reclaim"


def test_many_are_not_all_named(tmp_path: Path) -> None:
    make_database(tmp_path, recovery=2, before=[b"%d" % n for n in range(9)], now=[])
    assert describe_waiting(str(tmp_path)).startswith("waiting for 9 clients to reclaim: '0', '1'")
    assert describe_waiting(str(tmp_path)).endswith(", …")


def test_no_database(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"main\.sqlite"):
        waiting_clients(str(tmp_path))
    assert "who: unknown" in describe_waiting(str(tmp_path))
