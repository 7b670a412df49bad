"""A replica of which something could not be read is shown, and nothing is decided on it."""

from __future__ import annotations

import dataclasses

import pytest

from storage_agent.engine.decide import findings_for
from storage_agent.model.array import ArrayState, ArrayView
from storage_agent.model.configuration import Arbitration
from storage_agent.model.finding import Severity
from storage_agent.model.guards import waits_for_word
from storage_agent.model.nfs import ServerState
from storage_agent.model.observed import Unobserved
from storage_agent.model.operation import OperationRequest
from storage_agent.model.plan import OperationKind
from storage_agent.model.replica import (
    ConnectionState,
    DiskState,
    Replica,
    ReplicationState,
    Role,
)
from storage_agent.operations.goals import connecting, replica_up
from storage_agent.policy.arbitration import has_lost_newer_copy
from storage_agent.policy.evidence import NEVER_SEEN, follow, settled
from storage_agent.policy.legible import named
from storage_agent.policy.readiness import Verdict, assess
from tests.unit.fakes import FakeHost, agent_config
from tests.unit.replicas import guards_as, in_sync_replica, with_peer

CONFIG = agent_config()
VOLUME = CONFIG.volumes["data"]
DREAMING = with_peer(
    in_sync_replica(unread=("connection 'Dreaming'",)), connection=ConnectionState.UNKNOWN
)
THIRD = in_sync_replica(others=("peer gamma", "volume 1"))


def refusals(replica: Replica, kind: OperationKind) -> list[str]:
    host = FakeHost(replica=replica)
    request = OperationRequest(
        kind=kind, volume="data", operation_id="x", peer_is_off="beta", stop_serving="alpha/data"
    )
    found = findings_for(
        CONFIG, VOLUME, host.observe(VOLUME), request, host, is_granted=True, creation=None
    )
    return [f.code for f in found if f.severity is Severity.BLOCKER]


@pytest.mark.parametrize(
    ("replica", "code"), [(DREAMING, "REPLICA_UNREAD"), (THIRD, "REPLICA_NOT_A_PAIR")]
)
@pytest.mark.parametrize(
    "kind",
    [
        OperationKind.PROMOTE,
        OperationKind.DEMOTE,
        OperationKind.STANDALONE,
        OperationKind.REJOIN,
        OperationKind.LEAVE,
    ],
)
def test_nothing_is_decided_on_it(replica: Replica, code: str, kind: OperationKind) -> None:
    found = refusals(replica, kind)
    assert code in found
    assert "UNOBSERVED" not in found
    assert code not in refusals(in_sync_replica(), kind)


def test_clients_are_shut_out_all_the_same() -> None:
    assert refusals(DREAMING, OperationKind.CLOSE_LINK) == []


def test_readiness_names_the_word() -> None:
    readiness = assess(CONFIG, VOLUME, FakeHost(replica=DREAMING).observe(VOLUME))
    assert readiness.verdict is Verdict.BLOCKED
    assert [f.measured for f in readiness.findings] == ["connection 'Dreaming'"]


def test_a_third_host_does_not_hide_who_serves() -> None:
    replica = in_sync_replica(role=Role.PRIMARY, others=("peer gamma",))
    host = FakeHost(replica=replica, mounted=True, server=ServerState.SERVING)
    readiness = assess(CONFIG, VOLUME, host.observe(VOLUME))
    assert readiness.verdict is Verdict.DEGRADED
    assert [f.measured for f in readiness.findings] == ["peer gamma"]


def test_what_was_not_looked_at_keeps_its_name() -> None:
    seen = FakeHost().observe(VOLUME)
    snapshot = dataclasses.replace(seen, replica=Unobserved(reason="stuck"))
    found = assess(CONFIG, VOLUME, snapshot).findings
    assert [f.code for f in found] == ["UNOBSERVED"]
    assert named(snapshot, found) == found
    both = FakeHost(replica=DREAMING).observe(VOLUME)
    assert named(both, found) == found


def test_a_copy_is_not_known_to_be_whole_after_it() -> None:
    whole = settled(NEVER_SEEN)
    assert follow(whole, DREAMING).broken_by == DREAMING.why_undecidable()
    assert not follow(whole, DREAMING).in_sync_until_loss


def test_no_promise_rests_on_it() -> None:
    guards = guards_as(Arbitration.COORDINATOR)
    assert waits_for_word(in_sync_replica(), guards)
    assert not waits_for_word(in_sync_replica(unread=("role 'Tertiary'",)), guards)


def test_nobody_leaves_the_peer_for_it() -> None:
    lost = with_peer(
        in_sync_replica(disk=DiskState.DISKLESS),
        connection=ConnectionState.CONNECTING,
        disk=DiskState.OUTDATED,
    )
    odd = with_peer(lost, connection=ConnectionState.UNKNOWN)
    assert has_lost_newer_copy(FakeHost(replica=lost).observe(VOLUME))
    unread = in_sync_replica(disk=odd.disk, peer=odd.peer, unread=("connection 'Dreaming'",))
    assert not has_lost_newer_copy(FakeHost(replica=unread).observe(VOLUME))


def test_no_step_has_reached_its_goal_by_it() -> None:
    odd = FakeHost(replica=DREAMING).observe(VOLUME)
    assert connecting(VOLUME, odd) == "connection is Unknown"
    assert connecting(VOLUME, FakeHost().observe(VOLUME)) == ""
    disk = in_sync_replica(disk=DiskState.DUNKNOWN, unread=("disk 'Shiny'",))
    assert replica_up(VOLUME, FakeHost(replica=disk).observe(VOLUME)) == "disk is DUnknown"


def test_a_handshake_that_is_not_known_to_be_over_is_not() -> None:
    odd = with_peer(in_sync_replica(role=Role.PRIMARY, disk=DiskState.DISKLESS),
                    replication=ReplicationState.UNKNOWN)  # fmt: skip
    assert not odd.has_agreed()
    assert not odd.peer_has_all()
    assert in_sync_replica().has_agreed()


def test_nothing_is_decided_on_an_array_in_a_state_that_is_not_known() -> None:
    snapshot = FakeHost().observe(VOLUME)
    assert isinstance(snapshot.array, ArrayView)
    assert snapshot.array.array is not None
    odd = dataclasses.replace(snapshot.array.array, state=ArrayState.UNKNOWN)
    view = dataclasses.replace(snapshot.array, array=odd)
    found = assess(CONFIG, VOLUME, dataclasses.replace(snapshot, array=view))
    assert found.verdict is Verdict.BLOCKED
    assert [f.code for f in found.findings] == ["UNOBSERVED"]
    assert f"md says of {odd.name}" in found.findings[0].measured
