"""What nfsdcld must not open is set aside before it starts."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from storage_agent.host.volume.keeping import hold
from storage_agent.host.volume.own import tracking_folder
from storage_agent.host.volume.reserve import DATABASE
from storage_agent.nfs_server.tracking import LIMIT_BYTES, clean


def make_database(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE grace (current INTEGER, recovery INTEGER)")
    database.close()
    path.chmod(0o600)


def folder_of(volume: Path) -> Path:
    hold(str(volume))[0].close()
    return volume / ".storage-agent/nfs/nfsdcld"


def cleaned(volume: Path) -> tuple[str, ...]:
    with tracking_folder(str(volume)) as folder:
        return clean(folder)


@pytest.mark.parametrize("beside", ["", "-journal", "-wal", "-shm"])
@pytest.mark.parametrize("what", ["link", "hard link", "fifo", "folder", "vast", "everybody's"])
def test_what_is_no_file_of_ours_is_set_aside(tmp_path: Path, beside: str, what: str) -> None:
    folder = folder_of(tmp_path)
    target = tmp_path / "target"
    make_database(target)
    before = target.read_bytes()
    path = folder / f"{DATABASE}{beside}"
    if what == "link":
        path.symlink_to(target)
    elif what == "hard link":
        path.hardlink_to(target)
    elif what == "fifo":
        os.mkfifo(path)
    elif what == "folder":
        path.mkdir()
    elif what == "vast":
        make_database(path)
        os.truncate(path, 4 << 40)
    else:
        make_database(path)
        path.chmod(0o666)
    (aside,) = cleaned(tmp_path)
    assert aside.startswith(f"{path}.aside-")
    assert not os.path.lexists(path)
    assert target.read_bytes() == before
    assert cleaned(tmp_path) == ()


@pytest.mark.parametrize("content", [b"garbage" * 9999, b"\0" * 4096, b"SQLite format 2"])
def test_what_is_no_database_is_set_aside(tmp_path: Path, content: bytes) -> None:
    path = folder_of(tmp_path) / DATABASE
    path.write_bytes(content)
    path.chmod(0o600)
    (aside,) = cleaned(tmp_path)
    assert aside.endswith("which is no database")


def test_a_database_and_an_empty_one_are_kept(tmp_path: Path) -> None:
    path = folder_of(tmp_path) / DATABASE
    assert cleaned(tmp_path) == ()
    path.touch(0o600)
    assert cleaned(tmp_path) == ()
    make_database(path)
    (path.parent / "other").symlink_to("/etc/shadow")
    assert cleaned(tmp_path) == ()
    assert path.stat().st_size < LIMIT_BYTES
