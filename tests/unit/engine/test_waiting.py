"""A promotion that is asked for before the other host has let go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from storage_agent.model.configuration import VolumeConfig
from storage_agent.model.nfs import ServerState
from storage_agent.model.operation import OperationRecord, OperationRequest, OperationState
from storage_agent.model.plan import OperationKind, StepKind
from storage_agent.model.replica import ConnectionState, DiskState, ReplicationState, Role
from storage_agent.model.snapshot import CHEAP_FACETS, Facet, VolumeSnapshot
from tests.unit.engine.parts import make_engine, run
from tests.unit.fakes import FakeHost, MemoryStore
from tests.unit.replicas import (
    in_sync_replica,
    lost_peer,
    with_peer,
)

WAIT_S = 30


@dataclass
class Beside(FakeHost):
    """after_looks: what happens on the other host once this one has looked so often."""

    after_looks: dict[int, Callable[[], None]] = field(default_factory=dict)
    looks: int = 0

    def observe(
        self, volume: VolumeConfig, facets: frozenset[Facet] = CHEAP_FACETS
    ) -> VolumeSnapshot:
        self.looks += 1
        if happens := self.after_looks.get(self.looks):
            happens()
        return super().observe(volume, facets)


def host_of_secondary() -> Beside:
    return Beside(replica=with_peer(in_sync_replica(), role=Role.PRIMARY))


def promote(host: Beside, **options: str) -> OperationRecord:
    wanted = OperationRequest(
        kind=OperationKind.PROMOTE, volume="data", operation_id="op-1", options=options
    )
    return run(make_engine(host, MemoryStore()), wanted)


def test_it_goes_on_when_the_peer_has_let_go() -> None:
    host = host_of_secondary()
    host.after_looks[5] = lambda: setattr(host, "replica", in_sync_replica())
    record = promote(host, wait_s=str(WAIT_S))
    assert record.state is OperationState.SUCCEEDED
    assert host.performed[:2] == [StepKind.WAIT_FOR_PEER, StepKind.PRIMARY]
    assert record.findings == ()


def test_without_waiting_it_is_refused() -> None:
    host = host_of_secondary()
    record = promote(host)
    assert record.state is OperationState.REFUSED
    assert [finding.code for finding in record.findings] == ["PEER_IS_PRIMARY"]
    assert host.performed == []


@pytest.mark.parametrize(
    ("takes_s", "state"), [(5.0, OperationState.ROLLED_BACK), (0.1, OperationState.SUCCEEDED)]
)
def test_what_was_seen_before_a_slow_step_is_looked_at_again(
    takes_s: float, state: OperationState
) -> None:
    host = Beside(server=ServerState.ABSENT)

    def prepare() -> None:
        host.clock.now_s += takes_s
        host.replica = with_peer(in_sync_replica(), role=Role.PRIMARY)

    host.faults[StepKind.PREPARE_SERVER] = prepare
    record = promote(host)
    assert record.state is state
    assert (StepKind.PRIMARY in host.performed) == (state is OperationState.SUCCEEDED)


def test_nothing_is_waited_for_where_the_peer_is_secondary_already() -> None:
    host = Beside()
    assert promote(host, wait_s=str(WAIT_S)).state is OperationState.SUCCEEDED
    assert StepKind.WAIT_FOR_PEER not in host.performed


@pytest.mark.parametrize(
    "happens",
    [
        lambda host: None,
        lambda host: setattr(host, "replica", lost_peer(in_sync_replica())),
        lambda host: setattr(
            host,
            "replica",
            with_peer(in_sync_replica(), role=Role.UNKNOWN, connection=ConnectionState.TIMEOUT),
        ),
    ],
    ids=["goes-on-serving", "is-lost", "is-being-lost"],
)
def test_a_peer_that_does_not_let_go_ends_the_waiting(happens: Callable[[Beside], None]) -> None:
    host = host_of_secondary()
    host.after_looks[5] = lambda: happens(host)
    record = promote(host, wait_s=str(WAIT_S))
    assert record.state is OperationState.ROLLED_BACK
    assert "let go: not seen within 30 s" in record.message
    assert host.replica is not None
    assert host.replica.role is Role.SECONDARY
    assert StepKind.PRIMARY not in host.performed


def test_what_is_true_only_after_the_waiting_decides() -> None:
    host = host_of_secondary()
    out_of_sync = with_peer(
        in_sync_replica(disk=DiskState.INCONSISTENT), replication=ReplicationState.SYNC_TARGET
    )
    host.after_looks[5] = lambda: setattr(host, "replica", out_of_sync)
    record = promote(host, wait_s=str(WAIT_S))
    assert record.state is OperationState.ROLLED_BACK
    assert "DISK_NOT_UPTODATE" in {finding.code for finding in record.findings}
    assert StepKind.PRIMARY not in host.performed
