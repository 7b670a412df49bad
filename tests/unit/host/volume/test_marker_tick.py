"""The marker rewritten in a child, on a folder."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import zlib
from pathlib import Path

import pytest

from storage_agent.host.volume.door import Folder
from storage_agent.host.volume.marker import (
    NAME,
    SLOT_BYTES,
    parse_slot,
    read_marker,
    render_slot,
    write_marker,
    write_next_marker,
)
from storage_agent.host.volume.marker_tick import read_apart, write_apart
from storage_agent.host.volume.own import FOLDER
from storage_agent.model.configuration import VolumeConfig
from storage_agent.model.errors import OperationFailed
from storage_agent.model.operation import Marker
from storage_agent.model.wire import to_wire
from tests.unit.fakes import volume_config

pytestmark = pytest.mark.processes

FIRST = Marker(epoch=7, counter=3, operation_id="op", host="alpha", boot_id="b", wall_s=1.0)


@pytest.fixture
def mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> VolumeConfig:
    """A folder that passes for the root of a mounted volume."""
    monkeypatch.setattr(Folder, "is_mounted", lambda self: True)
    return volume(tmp_path)


def volume(tmp_path: Path) -> VolumeConfig:
    return dataclasses.replace(volume_config(), mount_point=str(tmp_path), nfs=None)


def slot_of(body: bytes) -> bytes:
    return (body + b"\n%08x\n" % zlib.crc32(body)).ljust(SLOT_BYTES, b"\0")


def test_each_tick_counts_on_in_the_other_slot(tmp_path: Path, mounted: VolumeConfig) -> None:
    write_marker(tmp_path, FIRST)
    marker = FIRST
    for counter in (4, 5, 6):
        before = marker
        marker, told = write_apart(mounted, before, timeout_s=10)
        assert told == ""
        assert marker.age() == (7, counter)
        assert marker.wall_s > before.wall_s
        assert read_marker(tmp_path) == read_apart(mounted, timeout_s=10) == marker
    content = (tmp_path / FOLDER / NAME).read_bytes()
    assert len(content) == 2 * SLOT_BYTES
    # The one before is there still, for the case that the newest was torn.
    assert parse_slot(content[SLOT_BYTES:]) == dataclasses.replace(
        marker, counter=5, wall_s=before.wall_s
    )


def test_nothing_is_made_where_nothing_is_mounted(tmp_path: Path) -> None:
    """The mount point below a volume that was just unmounted."""
    served = volume(tmp_path)
    assert read_apart(served, timeout_s=10) is None
    with pytest.raises(OperationFailed, match="nothing is mounted"):
        write_apart(served, FIRST, timeout_s=10)
    assert list(tmp_path.iterdir()) == []


def test_a_marker_that_is_gone_is_put_back(tmp_path: Path, mounted: VolumeConfig) -> None:
    marker, told = write_apart(mounted, FIRST, timeout_s=10)
    assert f"{FOLDER} was missing" in told
    assert read_marker(tmp_path) == marker


def test_what_an_nfs_server_holds_is_its_to_put_back(tmp_path: Path, mounted: VolumeConfig) -> None:
    served = dataclasses.replace(volume_config(), mount_point=str(tmp_path))
    with pytest.raises(OperationFailed, match="NFS server puts it back"):
        write_apart(served, FIRST, timeout_s=10)
    assert list(tmp_path.iterdir()) == []
    write_marker(tmp_path, FIRST)
    assert write_apart(served, FIRST, timeout_s=10)[0].counter == 4


@pytest.mark.parametrize("what", ["link", "fifo", "hard link", "folder", "sparse", "short"])
def test_what_lies_in_its_place_is_not_touched(
    tmp_path: Path, mounted: VolumeConfig, what: str
) -> None:
    own = tmp_path / FOLDER
    own.mkdir(mode=0o711)
    target = tmp_path / "target"
    target.write_text("untouched")
    path = own / NAME
    if what == "link":
        path.symlink_to(target)
    elif what == "fifo":
        os.mkfifo(path)
    elif what == "hard link":
        path.hardlink_to(target)
    elif what == "folder":
        (path / "inner").mkdir(parents=True)
    else:
        path.touch(0o600)
        os.truncate(path, 4 << 40 if what == "sparse" else 10)
    marker, told = write_apart(mounted, FIRST, timeout_s=10)
    assert target.read_text() == "untouched"
    assert read_marker(tmp_path) == marker
    assert path.stat().st_size == 2 * SLOT_BYTES
    assert bool(told) == (what not in ("sparse", "short"))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("epoch", 1 << 53),
        ("epoch", -1),
        ("epoch", "7"),
        ("epoch", True),
        ("counter", 10**400),
        ("counter", 1.5),
        ("wall_s", math.nan),
        ("wall_s", math.inf),
        ("wall_s", None),
        ("host", "\x1b[2J"),
        ("host", "x" * 129),
        ("operation_id", ["x"]),
        ("more", 1),
    ],
)
def test_a_slot_that_no_agent_can_have_written_is_none(key: str, value: object) -> None:
    body = json.dumps({**to_wire(FIRST), key: value}).encode()
    assert parse_slot(slot_of(body)) is None


@pytest.mark.parametrize("body", [b"[" * 4000, b"{" * 4000, b"\xff", b"7", b"null", b""])
def test_a_slot_of_anything_is_none(body: bytes) -> None:
    assert parse_slot(slot_of(body)) is None
    assert parse_slot(body) is None


def test_a_forged_slot_is_overwritten_once_it_does_not_count(tmp_path: Path) -> None:
    served = volume(tmp_path)
    write_marker(tmp_path, FIRST)
    forged = dataclasses.replace(FIRST, epoch=10**9, counter=10**9)
    write_marker(tmp_path, forged)
    assert write_next_marker(served, 8, "next", "alpha", afresh=True).age() == (8, 1)
    assert render_slot(forged) not in (tmp_path / FOLDER / NAME).read_bytes()
    found = read_marker(tmp_path)
    assert found is not None
    assert found.age() == (8, 1)


def test_the_count_begins_anew_with_each_epoch(tmp_path: Path) -> None:
    """A forged one does not live on in the next owner's."""
    served = volume(tmp_path)
    write_marker(tmp_path, dataclasses.replace(FIRST, counter=1 << 52))
    assert write_next_marker(served, 8, "next", "alpha").age() == (8, 1)
    assert write_next_marker(served, 8, "next", "alpha").age() == (8, 2)
