"""What each source hints at, and that it watches the right files."""

from __future__ import annotations

import dataclasses
import os
import select
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from storage_agent.model.array import Array, ArrayView
from storage_agent.model.errors import Missing
from storage_agent.model.observed import Unobserved
from storage_agent.model.snapshot import Facet, HostSnapshot
from storage_agent.service.observing.sources import (
    CHANGED,
    ArraySource,
    DeviceSource,
    Hint,
    MountSource,
    Source,
)
from tests.unit.fakes import FakeHost, agent_config, volume_config

ARRAY = frozenset({Facet.ARRAY})


def snapshot(*arrays: str | None) -> HostSnapshot:
    """With a volume for each array name; None: its array could not be looked at."""
    host = FakeHost()
    volumes = {}
    for number, array in enumerate(arrays):
        name = f"v{number}"
        seen = host.observe(volume_config(name))
        view = seen.array
        assert isinstance(view, ArrayView)
        assert isinstance(view.array, Array)
        shown: Any = Unobserved(reason="?")
        if array is not None:
            shown = dataclasses.replace(view, array=dataclasses.replace(view.array, name=array))
        volumes[name] = dataclasses.replace(seen, array=shown)
    return HostSnapshot(
        host="alpha",
        boot_id="b",
        taken_monotonic_s=0,
        taken_wall_s=0,
        volumes=volumes,
        drbd_version=None,
    )


def write(root: Path, array: str, **attributes: str) -> None:
    folder = root / "sys/block" / array / "md"
    folder.mkdir(parents=True, exist_ok=True)
    for name, word in attributes.items():
        (folder / name).write_text(word + "\n")


@pytest.fixture
def source(tmp_path: Path) -> Iterator[ArraySource]:
    write(tmp_path, "md0", array_state="clean", degraded="0", sync_action="idle")
    write(tmp_path, "md1", array_state="clean")
    made = ArraySource(tmp_path)
    yield made
    made.close()
    assert made.descriptors() == {}


def changed(source: ArraySource) -> list[Hint]:
    return [hint for fd in tuple(source.descriptors()) for hint in source.ready(fd, 0.0)]


def test_each_attribute_that_a_level_has_is_watched(source: ArraySource) -> None:
    source.follow(snapshot("md0", "md1"))
    assert list(source.descriptors().values()) == [CHANGED] * 4
    before = source.descriptors()
    source.follow(snapshot("md0", "md1"))
    assert source.descriptors() == before


def test_a_changed_attribute_hints_at_its_volume(source: ArraySource, tmp_path: Path) -> None:
    source.follow(snapshot("md1", "md0"))
    assert changed(source) == []
    write(tmp_path, "md0", degraded="1")
    assert changed(source) == [Hint(ARRAY, "v1")]
    assert changed(source) == []


def test_bursts_of_writes_are_no_change(source: ArraySource, tmp_path: Path) -> None:
    source.follow(snapshot("md0"))
    for word in ("active", "write-pending", "active-idle", "clean"):
        write(tmp_path, "md0", array_state=word)
        assert changed(source) == []
    write(tmp_path, "md0", array_state="readonly")
    assert changed(source) == [Hint(ARRAY, "v0")]


def test_an_array_that_is_gone_is_let_go(source: ArraySource) -> None:
    source.follow(snapshot("md0"))
    source.follow(snapshot(None))
    assert source.descriptors() == {}


def test_another_name_after_assembly_is_watched_instead(source: ArraySource) -> None:
    source.follow(snapshot("md0"))
    source.follow(snapshot("md1"))
    assert len(source.descriptors()) == 1


def test_an_array_that_goes_while_it_is_read_is_looked_for_again(tmp_path: Path) -> None:
    # A folder opens like a file and fails to be read, as an attribute of a stopped array does.
    (tmp_path / "sys/block/md0/md/array_state").mkdir(parents=True)
    source = ArraySource(tmp_path)
    source.follow(snapshot("md0"))
    assert changed(source) == [Hint(ARRAY, "v0")]
    assert source.descriptors() == {}
    write(tmp_path, "md0", degraded="0")
    source.follow(snapshot("md0"))
    assert len(source.descriptors()) == 2
    source.close()


def test_mounts_hint_at_every_filesystem() -> None:
    source = MountSource()
    ((fd, mask),) = source.descriptors().items()
    assert mask == CHANGED
    assert source.ready(fd, 0.0) == (Hint(frozenset({Facet.FILESYSTEM})),)
    # The real file can be polled that way and has nothing to say now.
    poll = select.poll()
    poll.register(fd, mask)
    poll.poll(0)
    assert poll.poll(0) == []
    source.close()


class FakeEvents:
    def __init__(self) -> None:
        self.drained: object = ()
        self.is_closed = False
        self.read_fd, self.write_fd = os.pipe()

    def fileno(self) -> int:
        return self.read_fd

    def drain(self) -> object:
        if isinstance(self.drained, Exception):
            raise self.drained
        return self.drained

    def close(self) -> None:
        self.is_closed = True
        os.close(self.read_fd)
        os.close(self.write_fd)


def test_devices_are_watched_only_where_there_are_volumes() -> None:
    opened: list[FakeEvents] = []

    def open_events() -> FakeEvents:
        opened.append(FakeEvents())
        return opened[-1]

    source = DeviceSource(open_events)
    source.configure(dataclasses.replace(agent_config(), volumes={}))
    assert source.tick(0.0) == ()
    assert source.wake_s() == float("inf")
    assert opened == []
    source.configure(agent_config())
    (hint,) = source.tick(1.0)
    assert hint.volume is None
    assert Facet.ARRAY in hint.facets
    assert source.tick(2.0) == ()
    fd = opened[0].fileno()
    assert source.descriptors() == {fd: select.POLLIN}
    assert source.ready(fd, 0.0) == ()
    opened[0].drained = ("an event",)
    assert len(source.ready(fd, 0.0)) == 1
    opened[0].drained = Missing("udev is gone")
    assert len(source.ready(fd, 0.0)) == 1
    assert opened[0].is_closed
    assert source.descriptors() == {}
    assert len(source.tick(20.0)) == 1
    assert len(opened) == 2
    source.close()


def test_devices_that_cannot_be_watched_are_tried_again_later() -> None:
    tries: list[int] = []

    def open_events() -> FakeEvents:
        tries.append(1)
        raise Missing("no udev")

    source = DeviceSource(open_events)
    source.configure(agent_config())
    for now_s in (0.0, 1.0, 9.0, 10.0):
        source.tick(now_s)
    assert len(tries) == 2
    assert source.wake_s() == 20.0


def test_a_source_says_nothing_by_itself() -> None:
    source = Source()
    assert source.tick(0.0) == ()
    assert source.ready(0, 0.0) == ()
    assert source.descriptors() == {}
    assert source.wake_s() == float("inf")
