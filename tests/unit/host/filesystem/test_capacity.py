"""Free space, and calls that hang."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from storage_agent.host.filesystem.capacity import CapacityReader
from storage_agent.host.system.bounded import BoundedCalls
from storage_agent.host.volume.reserve import make_room
from storage_agent.model.errors import CommandStuck, Missing


def test_capacity_is_what_statvfs_says(tmp_path: Path) -> None:
    (tmp_path / "srv").mkdir()
    found = CapacityReader(tmp_path).read("/srv", is_exported=False)
    now = os.statvfs(tmp_path)
    assert found.size_bytes == now.f_blocks * now.f_frsize
    assert found.inodes == now.f_files
    assert 0 <= found.free_bytes <= found.size_bytes
    assert 0 <= found.free_inodes <= found.inodes


def test_what_a_server_would_lack_is_looked_for_where_there_is_one(tmp_path: Path) -> None:
    for folder in ("nfs/nfsdcld", "canary"):
        (tmp_path / "srv/.storage-agent" / folder).mkdir(parents=True, mode=0o700)
    reader = CapacityReader(tmp_path)
    found = reader.read("/srv", is_exported=True)
    assert (found.lacking_inodes, found.has_room_for_server()) == (4, True)
    assert reader.read("/srv", is_exported=False).lacking_inodes == 0
    make_room(f"{tmp_path}/srv", f"{tmp_path}/srv/.storage-agent/nfs/nfsdcld")
    found = reader.read("/srv", is_exported=True)
    assert (found.lacking_inodes, found.lacking_bytes) == (0, 0)


def test_what_lies_in_our_places_and_is_not_ours_is_no_lack_of_room(tmp_path: Path) -> None:
    (tmp_path / "srv").mkdir()
    (tmp_path / "srv/.storage-agent").symlink_to("/etc")
    assert CapacityReader(tmp_path).read("/srv", is_exported=True).lacking_inodes == 0


def test_capacity_of_nothing(tmp_path: Path) -> None:
    with pytest.raises(Missing, match="srv"):
        CapacityReader(tmp_path).read("/srv", is_exported=False)


def test_a_call_returns_and_raises_as_if_called() -> None:
    calls = BoundedCalls()
    assert calls.run("x", lambda: 7, timeout_s=5) == 7
    with pytest.raises(FileNotFoundError):
        calls.run("x", Path("/nothing/here").read_text, timeout_s=5)


def test_a_call_that_hangs_is_left_behind_and_not_started_again() -> None:
    calls, freed, started = BoundedCalls(), threading.Event(), []

    def hang() -> bool:
        started.append(1)
        return freed.wait(10)

    for _ in range(3):
        with pytest.raises(CommandStuck) as caught:
            calls.run("disk", hang, timeout_s=0.05)
        assert caught.value.code == "CALL_STUCK"
        assert "disk" in caught.value.message
    assert started == [1]
    assert calls.run("other", lambda: 1, timeout_s=5) == 1
    freed.set()
    assert calls.run("disk", lambda: 2, timeout_s=5) == 2, "as soon as the kernel lets go"


def test_a_caller_waits_for_another_ones_call_with_the_same_key() -> None:
    calls, freed = BoundedCalls(), threading.Event()
    first = threading.Thread(target=calls.run, args=("k", freed.wait), kwargs={"timeout_s": 10})
    first.start()
    threading.Timer(0.05, freed.set).start()
    assert calls.run("k", lambda: "second", timeout_s=5) == "second"
    first.join(5)
