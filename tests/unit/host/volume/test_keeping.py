"""Our folder while clients use the volume: whatever becomes of it, it is put back, with what the
next host needs in it."""

from __future__ import annotations

import dataclasses
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from storage_agent.host.system import syscalls
from storage_agent.host.volume.door import enter
from storage_agent.host.volume.keeping import Held, hold, keep, release
from storage_agent.host.volume.marker import read_marker, write_marker
from storage_agent.host.volume.own import FOLDER
from storage_agent.host.volume.presence import what_is_wrong
from storage_agent.model.operation import Marker
from tests.unit.host.volume.flags import lift_all

MARKER = Marker(epoch=7, counter=3, operation_id="op", host="alpha", boot_id="b", wall_s=1.0)
RECORDS = "nfs/nfsdcld/main.sqlite"


@pytest.fixture
def held(tmp_path: Path) -> Iterator[Held]:
    write_marker(tmp_path, MARKER)
    opened, told = hold(str(tmp_path))
    assert told == ()
    (tmp_path / FOLDER / RECORDS).write_text("records")
    (tmp_path / FOLDER / RECORDS).chmod(0o600)
    yield opened
    opened.close()


def is_as_it_should_be(volume: Path) -> bool:
    assert read_marker(volume) == MARKER
    modes = {"": 0o711, "nfs": 0o700, "nfs/nfsdcld": 0o700, "canary": 0o700, "clients": 0o1733}
    own = volume / FOLDER
    found = {name: os.lstat(own / name).st_mode for name in modes}
    assert {name: stat.S_IMODE(mode) for name, mode in found.items()} == modes
    assert all(stat.S_ISDIR(mode) for mode in found.values())
    with enter(str(volume)) as root, root.folder(FOLDER) as folder:
        assert folder.is_protected()
    return what_is_wrong(str(volume)) == ""


def test_nothing_is_said_or_changed_where_all_is_well(tmp_path: Path, held: Held) -> None:
    before = os.lstat(tmp_path / FOLDER).st_ctime_ns
    for _ in range(3):
        assert keep(str(tmp_path), held) == ()
    assert os.lstat(tmp_path / FOLDER).st_ctime_ns == before
    assert is_as_it_should_be(tmp_path)


def moved(own: Path) -> None:
    own.rename(own.parent / ".trash")


def moved_deep(own: Path) -> None:
    (own.parent / "a/b").mkdir(parents=True)
    own.rename(own.parent / "a/b/c")


def moved_and_replaced(own: Path) -> None:
    """The case that made root of a user."""
    moved(own)
    (own / "canary").mkdir(parents=True)
    (own / "clients").symlink_to("/etc")
    (own / "canary/probe").symlink_to("/etc/shadow")


def a_link(own: Path) -> None:
    moved(own)
    own.symlink_to(".trash")


def opened_to_all(own: Path) -> None:
    own.chmod(0o777)


def unprotected(own: Path) -> None:
    """The flag alone is gone."""


def records_moved(own: Path) -> None:
    (own / "nfs/nfsdcld").rename(own.parent / "x")


def nfs_moved(own: Path) -> None:
    (own / "nfs").rename(own.parent / "x")


def clients_replaced(own: Path) -> None:
    (own / "clients").rmdir()
    (own / "clients").symlink_to("/etc")


def marker_removed(own: Path) -> None:
    (own / "marker").unlink()


def marker_linked(own: Path) -> None:
    (own / "marker").unlink()
    (own / "marker").symlink_to("/etc/shadow")


KEEPS = [moved, moved_deep, moved_and_replaced, a_link, opened_to_all, records_moved, nfs_moved,
         clients_replaced, marker_removed, marker_linked]  # fmt: skip


@pytest.mark.parametrize("change", KEEPS, ids=lambda change: change.__name__)
def test_what_was_moved_or_replaced_is_back_with_the_records(
    tmp_path: Path, held: Held, change: Callable[[Path], None]
) -> None:
    lift_all(tmp_path)
    etc = os.lstat("/etc").st_mode
    change(tmp_path / FOLDER)
    assert keep(str(tmp_path), held) != ()
    assert keep(str(tmp_path), held) == ()
    assert is_as_it_should_be(tmp_path)
    assert (tmp_path / FOLDER / RECORDS).read_text() == "records"
    assert os.lstat("/etc").st_mode == etc


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_lost_flag_is_set_again(tmp_path: Path, held: Held) -> None:
    with enter(str(tmp_path)) as root, root.folder(FOLDER) as own:
        if syscalls.is_immutable(own.descriptor) is None:
            pytest.skip("this filesystem has no flags")
        own.protect(on=False)
    (told,) = keep(str(tmp_path), held)
    assert "had lost its protection" in told
    assert is_as_it_should_be(tmp_path)


def test_what_was_removed_is_made_anew_with_the_marker(tmp_path: Path, held: Held) -> None:
    """nfsdcld's records are then in the hands of nfsdcld alone (nfs_server/tracking.py)."""
    lift_all(tmp_path)
    shutil.rmtree(tmp_path / FOLDER)
    assert f"{FOLDER} is gone" in what_is_wrong(str(tmp_path))
    old = held.tracking.identity()
    assert any("was removed" in text for text in keep(str(tmp_path), held))
    assert is_as_it_should_be(tmp_path)
    assert held.tracking.identity() != old
    assert keep(str(tmp_path), held) == ()


def test_a_marker_that_was_written_meanwhile_is_the_one_that_comes_back(
    tmp_path: Path, held: Held
) -> None:
    newer = dataclasses.replace(MARKER, counter=4)
    write_marker(tmp_path, newer)
    assert keep(str(tmp_path), held) == ()
    lift_all(tmp_path)
    shutil.rmtree(tmp_path / FOLDER)
    keep(str(tmp_path), held)
    assert read_marker(tmp_path) == newer


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_without_clients_an_older_agent_can_write_again(tmp_path: Path, held: Held) -> None:
    release(held)
    own = tmp_path / FOLDER
    own.chmod(0o711)
    with open(own / "marker", "r+b") as file:
        file.write(b"x")
