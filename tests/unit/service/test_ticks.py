"""The marker's ticks: when one is written, that one that hangs holds nothing up, and rest."""

from __future__ import annotations

import dataclasses
import threading

import pytest

from storage_agent.model.configuration import VolumeConfig
from storage_agent.model.errors import CommandStuck, OperationFailed
from storage_agent.model.operation import Marker
from storage_agent.model.plan import StepKind
from storage_agent.model.replica import Role
from storage_agent.model.snapshot import CHEAP_FACETS, HostSnapshot
from storage_agent.policy.currency import UNNOTED, count_on
from storage_agent.service.observing.ticks import KEEP_EVERY, Ticks
from tests.unit.fakes import FakeHost, volume_config
from tests.unit.replicas import in_sync_replica
from tests.unit.service.parts import wait_until

VOLUME = volume_config()
FIRST = Marker(epoch=7, counter=3, operation_id="op", host="alpha", boot_id="boot-1", wall_s=1.0)
PRIMARY = in_sync_replica(role=Role.PRIMARY)


class Disk:
    """Where the marker lies. go: cleared, a write hangs.  fails: what the next write raises."""

    def __init__(self, marker: Marker | None = FIRST) -> None:
        self.marker = marker
        self.reads = 0
        self.go = threading.Event()
        self.go.set()
        self.writing = threading.Event()
        self.fails: Exception | None = None
        self.seen: list[Marker] = []
        self.kept: list[int] = []
        self.noted: Marker | None = None
        self.put_back = ""
        self.unreadable: OperationFailed | None = None
        self.tried: list[str] = []
        self.ticks = Ticks(
            read=self.read,
            write=self.write,
            base=self.base,
            seen=lambda _, marker: self.seen.append(marker),
            keep=lambda _, marker: self.kept.append(marker.counter),
            tried=lambda _, problem: self.tried.append(problem),
        )

    def read(self, volume: VolumeConfig) -> Marker | None:
        self.reads += 1
        if self.unreadable is not None:
            raise self.unreadable
        return self.marker

    def base(self, name: str, found: Marker | None) -> Marker | None:
        return count_on(found, self.noted, FIRST.epoch)

    def write(self, volume: VolumeConfig, before: Marker) -> tuple[Marker, str]:
        self.writing.set()
        assert self.go.wait(10)
        if self.fails:
            failure, self.fails = self.fails, None
            raise failure
        self.marker = dataclasses.replace(before, counter=before.counter + 1)
        return self.marker, self.put_back

    def turn(self, host: FakeHost | None = None) -> None:
        self.ticks.turn({"data": VOLUME}, snapshot(host or serving()))

    def idle(self) -> None:
        wait_until(lambda: not any(t.name == "marker data" for t in threading.enumerate()))

    def marker_counter(self) -> int:
        assert self.marker is not None
        return self.marker.counter

    def tick(self, host: FakeHost | None = None) -> None:
        self.turn(host)
        self.idle()


def serving() -> FakeHost:
    return FakeHost(replica=PRIMARY, mounted=True)


def snapshot(host: FakeHost) -> HostSnapshot:
    return HostSnapshot(
        host="alpha",
        boot_id="boot-1",
        taken_monotonic_s=0.0,
        taken_wall_s=0.0,
        volumes={"data": host.observe(VOLUME, CHEAP_FACETS)},
        drbd_version="8.4.11",
    )


def test_it_counts_while_it_serves_and_is_read_once() -> None:
    disk = Disk()
    for _ in range(3):
        disk.tick()
    assert [marker.age() for marker in disk.seen] == [(7, 4), (7, 5), (7, 6)]
    assert disk.reads == 1


@pytest.mark.parametrize(
    "host",
    [
        FakeHost(),
        FakeHost(mounted=True),
        FakeHost(replica=PRIMARY),
        FakeHost(replica=dataclasses.replace(PRIMARY, suspended=("fencing",)), mounted=True),
    ],
)
def test_nothing_is_written_where_it_does_not_serve_or_is_frozen(host: FakeHost) -> None:
    disk = Disk()
    disk.tick(host)
    assert (disk.reads, disk.seen) == (0, [])


@pytest.mark.parametrize(
    "marker",
    [
        None,
        dataclasses.replace(FIRST, host="beta"),
        dataclasses.replace(FIRST, boot_id="boot-0"),
    ],
)
def test_only_the_marker_of_this_hosts_own_promotion_is_counted_on(marker: Marker | None) -> None:
    disk = Disk(marker)
    disk.tick()
    assert (disk.seen, disk.marker) == ([], marker)


def test_a_write_that_hangs_is_alone_and_holds_nothing_up() -> None:
    disk = Disk()
    disk.go.clear()
    disk.turn()
    assert disk.writing.wait(5)
    disk.writing.clear()
    for _ in range(3):
        disk.turn()
    assert not disk.writing.is_set()
    disk.go.set()
    disk.idle()
    disk.tick()
    assert [marker.counter for marker in disk.seen] == [4, 5]


def test_a_child_that_was_left_behind_counts_as_under_way() -> None:
    disk, runs = Disk(), [True]
    stuck = CommandStuck("dd does not end")
    stuck.still_runs = lambda: runs[0]  # type: ignore[method-assign]
    disk.fails = stuck
    disk.tick()
    disk.tick()
    assert disk.seen == []
    runs[0] = False
    disk.tick()
    # What it has written in the end is not known: it is read again.
    assert (disk.reads, len(disk.seen)) == (2, 1)


def test_few_are_kept_on_disk_and_the_last_before_an_unmount() -> None:
    disk = Disk()
    for _ in range(KEEP_EVERY + 2):
        disk.tick()
    assert disk.kept == [4, 4 + KEEP_EVERY]
    with disk.ticks.resting(StepKind.UNMOUNT, VOLUME):
        assert disk.kept[-1] == disk.marker_counter()
        disk.turn()
    disk.idle()
    assert len(disk.seen) == KEEP_EVERY + 2


def test_rest_waits_for_the_write_under_way() -> None:
    disk, order = Disk(), list[str]()
    disk.go.clear()
    disk.turn()
    assert disk.writing.wait(5)

    def unmount() -> None:
        with disk.ticks.resting(StepKind.UNMOUNT, VOLUME):
            order.append(f"unmount at {disk.marker_counter()}")

    thread = threading.Thread(target=unmount)
    thread.start()
    disk.go.set()
    thread.join(10)
    assert order == ["unmount at 4"]


def test_after_a_step_that_writes_it_the_marker_is_read_again() -> None:
    disk = Disk()
    disk.tick()
    with disk.ticks.resting(StepKind.WRITE_MARKER, VOLUME):
        disk.marker = dataclasses.replace(FIRST, counter=9, operation_id="next")
    disk.tick()
    assert disk.seen[-1].age() == (7, 10)


def test_other_steps_are_not_waited_for() -> None:
    disk = Disk()
    disk.go.clear()
    disk.turn()
    with disk.ticks.resting(StepKind.LINK_DOWN, VOLUME):
        assert disk.seen == []
    disk.go.set()
    disk.idle()


def test_a_failure_is_survived() -> None:
    disk = Disk()
    disk.fails = OperationFailed("Input/output error")
    disk.tick()
    disk.tick()
    assert len(disk.seen) == 1


def test_what_a_user_has_made_of_the_marker_is_not_counted_on() -> None:
    """Removed, damaged or forged: this host goes on from its own note."""
    for lies in (None, dataclasses.replace(FIRST, epoch=10**9), OperationFailed("damaged")):
        disk = Disk(lies if not isinstance(lies, OperationFailed) else None)
        disk.unreadable = lies if isinstance(lies, OperationFailed) else None
        disk.noted = FIRST
        disk.put_back = "marker was missing"
        disk.tick()
        assert [marker.age() for marker in disk.seen] == [(7, 3 + UNNOTED + 1)]


def test_why_it_could_not_be_written_is_told_and_tried_again_with_each_look() -> None:
    disk = Disk()
    disk.tick()
    disk.fails = OperationFailed("Operation not permitted")
    disk.tick()
    disk.ticks.turn({"data": VOLUME}, snapshot(serving()), only_disturbed=True)
    disk.idle()
    disk.ticks.turn({"data": VOLUME}, snapshot(serving()), only_disturbed=True)
    disk.idle()
    assert disk.tried == ["", "Operation not permitted", ""]
    disk.fails = OperationFailed("Read-only file system")
    disk.tick()
    disk.tick(FakeHost())
    assert disk.tried[-2:] == ["Read-only file system", ""]


def test_a_disk_that_does_not_answer_is_no_refusal() -> None:
    disk = Disk()
    disk.fails = CommandStuck("the write does not end")
    disk.tick()
    assert disk.tried == []
