"""Whom the grace period waits for, from a database as nfsdcld makes it."""

from __future__ import annotations

import contextlib
import random
import sqlite3
from pathlib import Path

import pytest

from storage_agent.host.volume.keeping import hold
from storage_agent.host.volume.reserve import make_room
from storage_agent.nfs_server.reclaims import describe_waiting, waiting_clients


def database_folder(volume: Path) -> Path:
    hold(str(volume))[0].close()
    return volume / ".storage-agent/nfs/nfsdcld"


def make_database(volume: Path, *, recovery: int, before: list[bytes], now: list[bytes]) -> None:
    """Schema 4 of nfs-utils 2.6.2."""
    folder = database_folder(volume)
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


def test_what_is_still_in_the_write_ahead_log_counts(tmp_path: Path) -> None:
    """As nfsdcld leaves it while it runs: most of it is not in the database yet."""
    folder = database_folder(tmp_path)
    make_room(str(tmp_path), str(folder))
    with contextlib.closing(sqlite3.connect(folder / "main.sqlite")) as database:
        database.execute("CREATE TABLE grace (current INTEGER, recovery INTEGER)")
        database.execute("INSERT INTO grace VALUES (3, 2)")
        for epoch, names in ((2, range(900)), (3, range(1, 900))):
            database.execute(f'CREATE TABLE "rec-{epoch:016x}" (id BLOB PRIMARY KEY)')
            rows = [(b"client %d" % name,) for name in names]
            database.executemany(f'INSERT INTO "rec-{epoch:016x}" VALUES (?)', rows)
            database.commit()
        assert waiting_clients(str(tmp_path)) == ("client 0",)
        # What is not committed does not count.
        database.execute("INSERT INTO 'rec-0000000000000003' VALUES (?)", (b"client 0",))
        assert waiting_clients(str(tmp_path)) == ("client 0",)


@pytest.mark.parametrize("seed", range(30))
def test_a_garbage_log_is_no_more_than_a_damaged_database(tmp_path: Path, seed: int) -> None:
    make_database(tmp_path, recovery=2, before=[b"b"], now=[])
    noise = random.Random(seed)
    header = bytes(8) + noise.choice([512, 4096, 65536, 7]).to_bytes(4, "big") + bytes(20)
    frames = b"".join(
        noise.choice([0, 1, 2, 9, 1 << 31]).to_bytes(4, "big")
        + noise.choice([0, 1, 5]).to_bytes(4, "big")
        + bytes(16)
        + noise.randbytes(noise.choice([0, 512, 4096]))
        for _ in range(20)
    )
    log = tmp_path / ".storage-agent/nfs/nfsdcld/main.sqlite-wal"
    log.write_bytes(header + frames)
    log.chmod(0o600)
    assert describe_waiting(str(tmp_path)).startswith("waiting for")


def test_out_of_grace_nobody(tmp_path: Path) -> None:
    make_database(tmp_path, recovery=0, before=[b"b"], now=[b"a"])
    assert waiting_clients(str(tmp_path)) == ()
    assert describe_waiting(str(tmp_path)) == "waiting for 0 clients to reclaim"


def test_many_are_not_all_named(tmp_path: Path) -> None:
    make_database(tmp_path, recovery=2, before=[b"%d" % n for n in range(9)], now=[])
    assert describe_waiting(str(tmp_path)).startswith("waiting for 9 clients to reclaim: '0', '1'")
    assert describe_waiting(str(tmp_path)).endswith(", …")


def test_no_database(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"\.storage-agent"):
        waiting_clients(str(tmp_path))
    assert "who: unknown" in describe_waiting(str(tmp_path))


FORGED = {
    "no tables": "CREATE TABLE other (a)",
    "no row": "CREATE TABLE grace (current INTEGER, recovery INTEGER)",
    "words": "CREATE TABLE grace (current, recovery); INSERT INTO grace VALUES ('a', 'b')",
    "huge": "CREATE TABLE grace (current, recovery); INSERT INTO grace VALUES (1, 1e300)",
    "endless": "CREATE VIEW grace AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n) "
    "SELECT count(*) AS current, 1 AS recovery FROM n",
    "vast": "CREATE VIEW grace AS SELECT zeroblob(999999999) AS current, 1 AS recovery",
}


@pytest.mark.parametrize("statements", FORGED.values(), ids=FORGED.keys())
def test_a_forged_database_is_an_error_soon(tmp_path: Path, statements: str) -> None:
    with sqlite3.connect(database_folder(tmp_path) / "main.sqlite") as database:
        database.executescript(statements)
    database.close()
    assert "who: unknown" in describe_waiting(str(tmp_path))


def test_names_that_are_no_names(tmp_path: Path) -> None:
    """A number would be as many zero bytes, a text has no bytes."""
    make_database(tmp_path, recovery=2, before=[], now=[])
    with sqlite3.connect(tmp_path / ".storage-agent/nfs/nfsdcld/main.sqlite") as database:
        database.execute(
            f'INSERT INTO "rec-{2:016x}" (id) VALUES (1000000000000), (?)', ("x" * 9999,)
        )
    database.close()
    assert [len(name) for name in waiting_clients(str(tmp_path))] == [13, 1024]


def test_garbage_is_an_error(tmp_path: Path) -> None:
    (database_folder(tmp_path) / "main.sqlite").write_bytes(b"SQLite format 3\0" + b"\xff" * 65536)
    assert "who: unknown" in describe_waiting(str(tmp_path))
