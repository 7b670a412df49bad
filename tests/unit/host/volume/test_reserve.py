"""What a volume holds for the day when nothing is free on it."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

import pytest

from storage_agent.host.volume import reserve
from storage_agent.host.volume.door import NotOurs
from storage_agent.host.volume.reserve import Lack, lack, make_room, open_probe

TRACKING = ".storage-agent/nfs/nfsdcld"
CANARY = ".storage-agent/canary"


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    for folder in (TRACKING, CANARY):
        (tmp_path / folder).mkdir(parents=True, mode=0o700)
    return tmp_path


def opened(volume: Path) -> sqlite3.Connection:
    """As nfsdcld opens it."""
    return sqlite3.connect(volume / TRACKING / "main.sqlite", isolation_level=None)


def test_a_new_volume_lacks_all_of_it_and_a_held_one_nothing(volume: Path) -> None:
    wanted = reserve.DATABASE_BYTES + reserve.LOG_BYTES + reserve.INDEX_BYTES + reserve.PROBE_BYTES
    assert lack(os.fspath(volume)) == Lack(inodes=4, size_bytes=wanted)
    make_room(os.fspath(volume), os.fspath(volume / TRACKING))
    assert lack(os.fspath(volume)) == Lack()


def test_holding_again_changes_nothing(volume: Path) -> None:
    make_room(os.fspath(volume), os.fspath(volume / TRACKING))
    files = sorted((volume / TRACKING).iterdir())
    before = [(file, file.stat().st_mtime_ns, file.stat().st_ino) for file in files]
    make_room(os.fspath(volume), os.fspath(volume / TRACKING))
    assert [(file, file.stat().st_mtime_ns, file.stat().st_ino) for file in files] == before


def test_the_database_is_nfsdclds_own_and_needs_no_journal_file(volume: Path) -> None:
    make_room(os.fspath(volume), os.fspath(volume / TRACKING))
    with contextlib.closing(opened(volume)) as database:
        assert database.execute("SELECT name FROM sqlite_master").fetchall() == []
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        (free_pages,) = database.execute("PRAGMA freelist_count").fetchone()
        assert free_pages * 4096 >= reserve.DATABASE_BYTES


def test_an_earlier_versions_database_keeps_its_records(volume: Path) -> None:
    with contextlib.closing(opened(volume)) as database:
        database.execute("CREATE TABLE grace (current INTEGER, recovery INTEGER)")
        database.execute("INSERT INTO grace VALUES (7, 0)")
    assert lack(os.fspath(volume)).inodes == 3
    make_room(os.fspath(volume), os.fspath(volume / TRACKING))
    assert lack(os.fspath(volume)) == Lack()
    with contextlib.closing(opened(volume)) as database:
        assert database.execute("SELECT * FROM grace").fetchall() == [(7, 0)]


def test_a_thousand_clients_come_and_go_within_what_is_held(volume: Path) -> None:
    make_room(os.fspath(volume), os.fspath(volume / TRACKING))
    files = [volume / TRACKING / f"main.sqlite{end}" for end in ("", "-wal")]
    held = [file.stat().st_blocks for file in files]
    with contextlib.closing(opened(volume)) as database:
        # As many transactions, without waiting for the disk.
        database.execute("PRAGMA synchronous = OFF")
        for epoch in (1, 2, 3):
            database.execute(f"CREATE TABLE 'rec-{epoch}' (id BLOB PRIMARY KEY)")
            for _ in range(1000):
                database.execute(f"INSERT INTO 'rec-{epoch}' VALUES (?)", (os.urandom(100),))
            database.execute(f"DROP TABLE IF EXISTS 'rec-{epoch - 1}'")
        assert [file.stat().st_blocks for file in files] == held


def test_garbage_in_the_databases_place_is_told(volume: Path) -> None:
    (volume / TRACKING / "main.sqlite").write_bytes(b"garbage" * 1000)
    with pytest.raises(OSError, match="not a database"):
        make_room(os.fspath(volume), os.fspath(volume / TRACKING))
    assert lack(os.fspath(volume)).inodes == 0, "the rest is held all the same"


def test_a_link_is_not_followed(volume: Path, tmp_path: Path) -> None:
    victim = tmp_path / "shadow"
    victim.write_bytes(b"root:x")
    for name in ("main.sqlite", "main.sqlite-wal"):
        (volume / TRACKING / name).symlink_to(victim)
    (volume / CANARY / "probe").symlink_to(victim)
    with pytest.raises(NotOurs):
        make_room(os.fspath(volume), os.fspath(volume / TRACKING))
    with pytest.raises(NotOurs):
        open_probe(os.fspath(volume))
    assert victim.read_bytes() == b"root:x"


def test_a_probe_that_is_gone_or_cut_short_is_made_anew(volume: Path) -> None:
    for _ in range(2):
        descriptor = open_probe(os.fspath(volume))
        assert os.fstat(descriptor).st_size == reserve.PROBE_BYTES
        os.ftruncate(descriptor, 3)
        os.close(descriptor)
