"""The observer with a host in memory: fresh parts, stuck parts, hints, events. Its threads are
real, so these tests wait for what must come and never for a while."""

from __future__ import annotations

import dataclasses
import os
import select
import threading
import time
from collections.abc import Iterator

import pytest

from storage_agent.model.array import ArrayState, ArrayView
from storage_agent.model.configuration import AgentConfig, VolumeConfig
from storage_agent.model.nfs import NfsView, ServerState
from storage_agent.model.observed import Unobserved
from storage_agent.model.replica import DiskState, Replica, ReplicationState, Role
from storage_agent.model.snapshot import (
    CHEAP_FACETS,
    JUDGED_FACETS,
    Facet,
    HostSnapshot,
    ServiceView,
    VolumeSnapshot,
)
from storage_agent.policy.evidence import NEVER_SEEN
from storage_agent.service.observing import agenda, looks, observer
from storage_agent.service.observing.attachments import Attachments
from storage_agent.service.observing.changes import Event
from storage_agent.service.observing.looks import looked_at, period_s
from storage_agent.service.observing.observer import TURN_S, Observer
from storage_agent.service.observing.sources import Hint, Source
from tests.unit.fakes import (
    FakeHost,
    agent_config,
    volume_config,
)
from tests.unit.replicas import in_sync_replica, with_peer
from tests.unit.service.parts import make_observer, wait_until


class SlowHost(FakeHost):
    """Counts looks; those at `stuck` hang until it is set free."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.looks: list[Facet] = []
        self.stuck: Facet | None = None
        self.free = threading.Event()
        self.fails: Exception | None = None

    def observe(
        self, volume: VolumeConfig, facets: frozenset[Facet] = CHEAP_FACETS
    ) -> VolumeSnapshot:
        (facet,) = facets
        self.looks.append(facet)
        if facet is self.stuck:
            assert self.free.wait(10)
        if self.fails:
            raise self.fails
        return super().observe(volume, facets)


class PipeSource(Source):
    """A hint for each byte in a pipe."""

    def __init__(self, hint: Hint) -> None:
        self.read_fd, self.write_fd = os.pipe()
        os.set_blocking(self.read_fd, False)
        self.hint = hint
        self.configured: list[AgentConfig] = []
        self.followed = 0
        self.is_closed = False
        self.fails: Exception | None = None

    def configure(self, config: AgentConfig) -> None:
        self.configured.append(config)

    def descriptors(self) -> dict[int, int]:
        return {self.read_fd: select.POLLIN}

    def ready(self, descriptor: int, now_s: float) -> tuple[Hint, ...]:
        os.read(descriptor, 1)
        if self.fails:
            raise self.fails
        return (self.hint,)

    def follow(self, snapshot: HostSnapshot) -> None:
        self.followed += 1

    def close(self) -> None:
        if not self.is_closed:
            self.is_closed = True
            os.close(self.read_fd)
            os.close(self.write_fd)

    def speak(self) -> None:
        os.write(self.write_fd, b".")


class Bench:
    def __init__(self) -> None:
        self.host = SlowHost()
        self.attachments = Attachments()
        self.source = PipeSource(Hint(frozenset({Facet.REPLICA}), "data"))
        self.published: list[tuple[str, tuple[Event, ...]]] = []
        self.observer: Observer = make_observer(
            agent_config(), self.host, sources=(self.source,), attachments=self.attachments
        )

    def start(self) -> None:
        self.observer.start(lambda _, volume, events: self.published.append((volume, events)))

    def volume(self) -> VolumeSnapshot:
        return self.observer.snapshot.volumes["data"]

    def is_known(self) -> bool:
        v = self.volume()
        return not any(isinstance(p, Unobserved) for p in (v.array, v.replica, v.filesystem, v.nfs))

    def texts(self) -> list[str]:
        return [event.text for _, events in self.published for event in events]


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.host.free.set()
    made.observer.stop()
    made.source.close()


def test_before_the_first_look_all_is_unknown(bench: Bench) -> None:
    assert isinstance(bench.volume().array, Unobserved)
    assert bench.volume().services == ()
    assert bench.observer.snapshot.boot_id == "boot-1"


def test_every_part_is_looked_at_soon_and_once(bench: Bench) -> None:
    bench.start()
    wait_until(bench.is_known)
    assert sorted(bench.host.looks) == [
        "agreement",
        "array",
        "content",
        "filesystem",
        "guards",
        "incident",
        "nfs",
        "replica",
    ]
    assert bench.observer.snapshot.drbd_version == "8.4.11"
    assert bench.texts() == []
    assert bench.published


def test_an_event_is_in_the_snapshot_before_the_next_turn(bench: Bench) -> None:
    bench.start()
    wait_until(bench.is_known)
    bench.host.replica = in_sync_replica(role=Role.PRIMARY)
    begun_s = time.monotonic()
    bench.source.speak()
    wait_until(lambda: bench.texts())
    assert time.monotonic() - begun_s < TURN_S
    assert bench.texts() == ["data: replica role Secondary → Primary"]


def test_a_hint_from_outside_looks_at_everything_again(bench: Bench) -> None:
    bench.start()
    wait_until(bench.is_known)
    bench.host.looks.clear()
    bench.host.mounted = True
    bench.observer.hint("data")
    wait_until(lambda: len(bench.host.looks) == 6)
    wait_until(lambda: bench.texts())
    assert "mounted at /srv/data" in bench.texts()[0]


def test_an_operation_that_waits_hides_nothing_that_it_does_not_look_at_itself(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A promotion that waits for its peer looks at the replica every second, for minutes."""
    monkeypatch.setattr(observer, "RESCAN_S", 0.2)
    monkeypatch.setattr(looks, "RESCAN_S", 0.2)
    bench.start()
    seen, facets = bench.observer.snapshot.volumes["data"], frozenset({Facet.REPLICA})
    before = bench.host.looks.count(Facet.FILESYSTEM)
    end_s = time.monotonic() + 10
    while bench.host.looks.count(Facet.FILESYSTEM) < before + 2 and time.monotonic() < end_s:
        bench.observer.looked(seen, facets)
        time.sleep(0.02)
    assert bench.host.looks.count(Facet.FILESYSTEM) >= before + 2


def test_a_hint_at_an_unknown_volume_is_nothing(bench: Bench) -> None:
    bench.start()
    wait_until(bench.is_known)
    bench.observer.hint("home")
    assert bench.observer.catch_up()


def test_a_stuck_part_becomes_unknown_and_the_others_stay_fresh(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agenda, "STUCK_S", 0.1)
    monkeypatch.setattr(observer, "STUCK_S", 0.1)
    bench.start()
    wait_until(bench.is_known)
    bench.host.stuck = Facet.FILESYSTEM
    bench.observer.hint("data")
    wait_until(lambda: isinstance(bench.volume().filesystem, Unobserved))
    assert "not returned" in str(bench.volume().filesystem)
    bench.host.replica = in_sync_replica(role=Role.PRIMARY)
    bench.observer.hint("data")
    wait_until(lambda: "data: replica role Secondary → Primary" in bench.texts())
    assert bench.host.looks.count(Facet.FILESYSTEM) == 2
    # What the hung look brings in the end is too old: it is looked at once more.
    bench.host.stuck = None
    bench.host.free.set()
    wait_until(lambda: not isinstance(bench.volume().filesystem, Unobserved))
    assert bench.host.looks.count(Facet.FILESYSTEM) == 3


def test_a_look_that_raises_makes_its_part_unknown(bench: Bench) -> None:
    bench.host.fails = ZeroDivisionError("oh")
    bench.start()
    wait_until(lambda: "ZeroDivisionError: oh" in str(bench.volume().array))


def test_a_source_that_raises_does_not_end_the_observing(bench: Bench) -> None:
    bench.start()
    wait_until(bench.is_known)
    bench.source.fails = ZeroDivisionError()
    bench.source.speak()
    bench.host.mounted = True
    bench.observer.hint("data")
    wait_until(lambda: bench.texts())


def test_the_stream_is_believed_at_once_and_over_an_older_look(bench: Bench) -> None:
    bench.start()
    wait_until(bench.is_known)
    bench.host.stuck = Facet.REPLICA
    bench.host.looks.clear()
    bench.source.speak()
    wait_until(lambda: bench.host.looks)
    primary = in_sync_replica(role=Role.PRIMARY)
    bench.observer._post(lambda: bench.observer.replica_seen("data", primary))
    wait_until(lambda: bench.volume().replica == primary)
    # The look began before and read the role of then.
    bench.host.free.set()
    assert bench.observer.catch_up()
    wait_until(lambda: len(bench.texts()) == 1)
    assert bench.volume().replica == primary


def test_the_snapshot_carries_the_attachment(bench: Bench) -> None:
    bench.attachments.follow("data", in_sync_replica())
    bench.start()
    wait_until(bench.is_known)
    assert bench.volume().attachment == bench.attachments.of("data") != NEVER_SEEN


def test_catching_up_means_that_all_earlier_events_were_taken(bench: Bench) -> None:
    bench.start()
    wait_until(bench.is_known)
    for _ in range(5):
        bench.source.speak()
    assert bench.observer.catch_up()
    poll = select.poll()
    poll.register(bench.source.read_fd, select.POLLIN)
    assert poll.poll(0) == []


def test_without_its_loop_it_does_not_claim_to_have_caught_up(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observer, "CATCH_UP_TIMEOUT_S", 0.02)
    assert not bench.observer.catch_up()


def test_another_configuration_keeps_what_is_still_configured(bench: Bench) -> None:
    bench.start()
    wait_until(bench.is_known)
    before = bench.volume().array
    bench.observer.reconfigure(agent_config(volume_config(), volume_config("home")))
    wait_until(lambda: "home" in bench.observer.snapshot.volumes)
    assert bench.volume().array == before
    wait_until(lambda: isinstance(bench.observer.snapshot.volumes["home"].array, ArrayView))
    bench.observer.reconfigure(agent_config(volume_config("home")))
    wait_until(lambda: list(bench.observer.snapshot.volumes) == ["home"])
    assert bench.texts() == []
    assert len(bench.source.configured) == 3


def test_parts_that_come_and_go_with_the_configuration(bench: Bench) -> None:
    bench.start()
    wait_until(bench.is_known)
    bare = dataclasses.replace(volume_config(), replica=None, nfs=None)
    bench.observer.reconfigure(agent_config(bare))
    wait_until(lambda: bench.volume().replica is None)
    assert bench.volume().nfs is None
    assert isinstance(bench.volume().array, ArrayView)
    bench.host.stuck = Facet.NFS
    bench.observer.reconfigure(agent_config())
    wait_until(lambda: isinstance(bench.volume().replica, Replica))
    assert isinstance(bench.volume().nfs, Unobserved)
    assert bench.texts() == []


def test_the_age_is_that_of_the_oldest_part(bench: Bench) -> None:
    bench.start()
    wait_until(bench.is_known)
    first_s = bench.observer.snapshot.taken_monotonic_s
    bench.source.speak()
    wait_until(lambda: bench.host.looks.count(Facet.REPLICA) == 2)
    assert bench.observer.catch_up()
    assert bench.observer.snapshot.taken_monotonic_s == pytest.approx(first_s, abs=0.5)
    assert bench.observer.age_s() < 5


def test_stopping_ends_the_thread_and_closes_the_sources(bench: Bench) -> None:
    bench.start()
    wait_until(bench.is_known)
    bench.observer.stop()
    assert bench.source.is_closed
    assert not bench.observer._thread.is_alive()


def test_parts_that_a_volume_does_not_have_are_not_looked_at() -> None:
    local = dataclasses.replace(volume_config(), replica=None, nfs=None)
    assert looked_at(local) == {Facet.ARRAY, Facet.FILESYSTEM, Facet.CONTENT, Facet.RECORDS}
    whole = volume_config(services=("a.service",))
    assert looked_at(whole) == JUDGED_FACETS | {Facet.RECORDS}


def array_view(sync_action: str) -> ArrayView:
    view = FakeHost(array=ArrayState.ACTIVE).observe(volume_config()).array
    assert isinstance(view, ArrayView)
    assert view.array is not None
    return dataclasses.replace(view, array=dataclasses.replace(view.array, sync_action=sync_action))


def replica(replication: ReplicationState) -> Replica:
    return with_peer(in_sync_replica(), replication=replication, disk=DiskState.INCONSISTENT)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, agenda.RESCAN_S),
        (Unobserved(reason="?"), agenda.RESCAN_S),
        ((ServiceView(unit="a", active="active", sub="", enabled=""),), agenda.RESCAN_S),
        (array_view("idle"), agenda.RESCAN_S),
        (array_view("recover"), looks.ARRAY_SYNC_PERIOD_S),
        (replica(ReplicationState.ESTABLISHED), looks.REPLICA_REST_PERIOD_S),
        (replica(ReplicationState.PAUSED_SYNC_T), agenda.RESCAN_S),
        (replica(ReplicationState.SYNC_TARGET), looks.REPLICA_SYNC_PERIOD_S),
        (replica(ReplicationState.VERIFY_S), looks.REPLICA_SYNC_PERIOD_S),
        (NfsView(state=ServerState.ABSENT, address="a"), agenda.RESCAN_S),
        (NfsView(state=ServerState.SERVING, address="a"), looks.SERVER_PERIOD_S),
    ],
)
def test_what_moves_without_events_is_looked_at_more_often(value: object, expected: float) -> None:
    assert period_s(value) == expected
