"""Looked at often only while a primary may ask."""

from __future__ import annotations

import dataclasses

from storage_agent.model.snapshot import Facet, HostSnapshot
from storage_agent.service.observing.incident_source import FAST_S, SLOW_S, IncidentSource
from storage_agent.service.observing.sources import Hint
from tests.unit.fakes import (
    FakeHost,
    agent_config,
    volume_config,
)
from tests.unit.incidents import CONFIG, PRIMARY, VOLUME, frozen_host, serving_host
from tests.unit.replicas import in_sync_replica, lost_peer

INCIDENT = (Hint(frozenset({Facet.INCIDENT}), "data", 0.0),)


class Folder:
    def __init__(self) -> None:
        self.state = (0, 0)
        self.reads = 0

    def __call__(self) -> tuple[int, ...]:
        self.reads += 1
        return self.state


def snapshot(host: FakeHost) -> HostSnapshot:
    return HostSnapshot(
        host="alpha",
        boot_id="b",
        taken_monotonic_s=0,
        taken_wall_s=0,
        volumes={"data": host.observe(VOLUME)},
        drbd_version=None,
    )


def source_of(folder: Folder) -> IncidentSource:
    source = IncidentSource(folder)
    source.configure(CONFIG)
    return source


def test_a_change_is_a_hint_and_nothing_else_is() -> None:
    folder = Folder()
    source = source_of(folder)
    assert source.tick(100.0) == INCIDENT
    assert source.tick(100.0 + SLOW_S) == ()
    folder.state = (1, 0)
    assert source.tick(100.1 + SLOW_S) == ()
    assert source.tick(100.0 + 2 * SLOW_S) == INCIDENT


def test_often_while_a_primary_may_ask() -> None:
    source = source_of(Folder())
    source.tick(100.0)
    for host, period_s in (
        (serving_host(), SLOW_S),
        (frozen_host(), FAST_S),
        (serving_host(replica=lost_peer(PRIMARY)), FAST_S),
        (serving_host(blind={Facet.REPLICA: "stuck"}), FAST_S),
        (FakeHost(replica=lost_peer(in_sync_replica())), SLOW_S),
    ):
        source.follow(snapshot(host))
        assert source.wake_s() == 100.0 + period_s


def test_without_a_replica_it_never_wakes() -> None:
    folder = Folder()
    source = IncidentSource(folder)
    source.configure(agent_config(dataclasses.replace(volume_config(), replica=None)))
    assert source.wake_s() == float("inf")
    assert source.tick(100.0) == ()
    assert folder.reads == 0
