"""The record of each attachment, and the host that carries it."""

from __future__ import annotations

import dataclasses
import threading
import time

from storage_agent.model.clock import Deadline
from storage_agent.model.plan import Step, StepKind
from storage_agent.model.replica import DiskState
from storage_agent.model.snapshot import Facet, VolumeSnapshot
from storage_agent.policy.evidence import NEVER_SEEN, SETTLE_S
from storage_agent.service.observing.attachments import Attachments, WatchedHost
from tests.unit.fakes import FakeHost, volume_config
from tests.unit.replicas import in_sync_replica, lost_peer
from tests.unit.service.parts import request_of


def long_in_sync(records: Attachments, *volumes: str) -> None:
    for volume in volumes:
        records.follow(volume, in_sync_replica())
    for moment_s in range(int(SETTLE_S) + 2):
        records.pass_time(float(moment_s))


def unheard(seen: VolumeSnapshot, facets: frozenset[Facet]) -> None:
    pass


def test_nothing_is_known_before_anything_was_seen() -> None:
    assert Attachments().of("data") == NEVER_SEEN


def test_in_sync_and_then_nothing_but_the_loss_of_the_link() -> None:
    records = Attachments()
    long_in_sync(records, "data")
    records.follow("data", lost_peer(in_sync_replica()))
    assert records.of("data").in_sync_until_loss
    assert not records.of("home").in_sync_until_loss


def test_time_counts_only_while_somebody_watches() -> None:
    records = Attachments()
    records.follow("data", in_sync_replica())
    assert records.is_settling()
    # The host stands still, and goes on an hour later.
    for moment_s in (0.0, 20.0, 3600.0, 3620.0):
        records.pass_time(moment_s)
    assert not records.of("data").in_sync_until_loss
    for moment_s in range(3621, 3652):
        records.pass_time(float(moment_s))
    assert records.of("data").in_sync_until_loss
    assert not records.is_settling()


def test_what_ends_while_it_settles_begins_anew() -> None:
    records = Attachments()
    records.follow("data", in_sync_replica())
    records.lose_sight(["data"], "the stream ended")
    assert (records.of("data").broken_by, records.is_settling()) == ("the stream ended", False)
    records.follow("data", in_sync_replica())
    records.follow("data", lost_peer(in_sync_replica()))
    assert "too short" in records.of("data").broken_by
    assert not records.is_settling()


def test_a_gap_in_the_watch_breaks_it_and_keeps_the_first_reason() -> None:
    records = Attachments()
    long_in_sync(records, "data", "home")
    records.follow("data", in_sync_replica(disk=DiskState.DISKLESS))
    records.lose_sight(["data", "home"], "the stream ended")
    assert "Diskless" in records.of("data").broken_by
    assert records.of("home").broken_by == "the stream ended"


def test_a_wait_for_news_ends_with_the_next_state_and_not_before_its_bound_without() -> None:
    records = Attachments()
    records.follow("data", in_sync_replica())
    begin_s = time.monotonic()
    records.wait_for_news("data", 60.0)  # told already, before the call
    speaker = threading.Timer(0.02, records.follow, ("data", lost_peer(in_sync_replica())))
    speaker.start()
    records.wait_for_news("data", 60.0)
    assert time.monotonic() - begin_s < 30.0
    records.follow("home", in_sync_replica())
    begin_s = time.monotonic()
    records.wait_for_news("data", 0.05)
    assert time.monotonic() - begin_s >= 0.05


def test_every_look_carries_the_record() -> None:
    records = Attachments()
    long_in_sync(records, "data")
    host = WatchedHost(FakeHost(), records, lambda: True, unheard)
    seen = host.observe(volume_config()).attachment
    assert seen is not None
    assert seen.in_sync_until_loss


def test_every_look_is_told_with_what_was_looked_at() -> None:
    told: list[tuple[VolumeSnapshot, frozenset[Facet]]] = []
    host = WatchedHost(FakeHost(), Attachments(), lambda: True, lambda *look: told.append(look))
    host.observe(volume_config(), frozenset({Facet.ARRAY}))
    ((seen, facets),) = told
    assert (seen.volume, facets) == ("data", frozenset({Facet.ARRAY}))


def test_only_a_look_at_the_replica_waits_for_the_watch() -> None:
    def catch_up() -> bool:
        raise AssertionError("the link's record is not asked for")

    host = WatchedHost(FakeHost(), Attachments(), catch_up, unheard)
    assert host.observe(volume_config(), frozenset({Facet.NFS})).attachment == NEVER_SEEN


def test_where_the_watch_lags_nothing_is_known() -> None:
    records = Attachments()
    long_in_sync(records, "data")
    host = WatchedHost(FakeHost(), records, lambda: False, unheard)
    seen = host.observe(volume_config()).attachment
    assert seen is not None
    assert not seen.in_sync_until_loss
    assert "keep up" in seen.broken_by


def test_a_volume_without_a_replica_has_no_record() -> None:
    local = dataclasses.replace(volume_config(), replica=None)

    def catch_up() -> bool:
        raise AssertionError("nothing to catch up with")

    host = WatchedHost(FakeHost(), Attachments(), catch_up, unheard)
    assert host.observe(local).attachment is None


def test_all_else_is_the_hosts_own() -> None:
    inner = FakeHost()
    host = WatchedHost(inner, Attachments(), lambda: True, unheard)
    assert host.boot_id() == "boot-1"
    assert host.disks(("x",)) == ()
    step = Step(kind=StepKind.MOUNT, title="mount", commands=(), check="", undo=None, timeout_s=1)
    host.perform(step, volume_config(), request_of(), Deadline(1.0), lambda _: None)
    assert inner.performed == [StepKind.MOUNT]
