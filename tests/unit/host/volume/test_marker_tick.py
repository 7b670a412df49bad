"""The marker rewritten by the real dd, on a folder."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from storage_agent.host.system.runner import Runner
from storage_agent.host.volume.marker import FOLDER, NAME, SLOT_BYTES, read_marker, write_marker
from storage_agent.host.volume.marker_tick import read_apart, write_apart
from storage_agent.model.configuration import VolumeConfig
from storage_agent.model.errors import CommandFailed
from storage_agent.model.operation import Marker
from tests.unit.fakes import volume_config

pytestmark = pytest.mark.processes

FIRST = Marker(epoch=7, counter=3, operation_id="op", host="alpha", boot_id="b", wall_s=1.0)


def volume(tmp_path: Path) -> VolumeConfig:
    return dataclasses.replace(volume_config(), mount_point=str(tmp_path))


def test_each_tick_counts_on_in_the_other_slot(tmp_path: Path) -> None:
    served, runner = volume(tmp_path), Runner()
    write_marker(tmp_path, FIRST)
    marker = FIRST
    for counter in (4, 5, 6):
        before = marker
        marker = write_apart(runner, served, before, timeout_s=10)
        assert marker.age() == (7, counter)
        assert marker.wall_s > before.wall_s
        assert read_marker(tmp_path) == read_apart(runner, served, timeout_s=10) == marker
    content = (tmp_path / FOLDER / NAME).read_bytes()
    assert len(content) == 2 * SLOT_BYTES
    # The one before is there still, for the case that the newest was torn.
    torn = content[:0] + b"\0" * SLOT_BYTES + content[SLOT_BYTES:]
    (tmp_path / FOLDER / NAME).write_bytes(torn)
    found = read_apart(runner, served, timeout_s=10)
    assert found is not None
    assert found.age() == (7, 5)


def test_nothing_is_made_where_no_marker_lies(tmp_path: Path) -> None:
    """The mount point below a volume that was just unmounted."""
    served = volume(tmp_path)
    with pytest.raises(CommandFailed):
        read_apart(Runner(), served, timeout_s=10)
    (tmp_path / FOLDER).mkdir()
    with pytest.raises(CommandFailed):
        write_apart(Runner(), served, FIRST, timeout_s=10)
    assert list((tmp_path / FOLDER).iterdir()) == []


def test_a_symlink_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / FOLDER).mkdir()
    target = tmp_path / "target"
    target.write_text("untouched")
    (tmp_path / FOLDER / NAME).symlink_to(target)
    with pytest.raises(CommandFailed):
        write_apart(Runner(), volume(tmp_path), FIRST, timeout_s=10)
    assert target.read_text() == "untouched"
