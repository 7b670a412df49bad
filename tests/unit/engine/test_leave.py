"""What the live guard refuses in the engine, and `leave`, which takes the replica down in order."""

from __future__ import annotations

import pytest

from storage_agent.engine.engine import Engine
from storage_agent.engine.journal import Journal, unfinished
from storage_agent.model.filesystem import Holder
from storage_agent.model.nfs import ServerState
from storage_agent.model.operation import OperationRecord, OperationRequest, OperationState
from storage_agent.model.plan import OperationKind, StepKind
from storage_agent.model.snapshot import Facet, UseView
from tests.unit.engine.parts import make_engine
from tests.unit.fakes import (
    Crash,
    FakeHost,
    MemoryStore,
)
from tests.unit.replicas import lost_peer


def run(engine: Engine, kind: OperationKind, **more: str) -> OperationRecord:
    wanted = OperationRequest(kind=kind, volume="data", operation_id=f"op-{kind}", **more)  # type: ignore[arg-type]
    return engine.run(engine.begin(wanted).request.operation_id)


def serving_host() -> FakeHost:
    host = FakeHost(mounted=True, server=ServerState.SERVING)
    host._act(StepKind.PRIMARY)
    return host


def test_a_serving_volume_is_not_left() -> None:
    host = serving_host()
    record = run(make_engine(host, MemoryStore()), OperationKind.LEAVE, stop_serving="alpha/data")
    assert record.state is OperationState.REFUSED
    assert [f.code for f in record.findings] == [
        "VOLUME_PRIMARY", "VOLUME_MOUNTED", "VOLUME_EXPORTED",
    ]  # fmt: skip
    assert host.performed == []


def test_demoted_it_is() -> None:
    host = serving_host()
    engine = make_engine(host, MemoryStore())
    assert run(engine, OperationKind.DEMOTE).state is OperationState.SUCCEEDED
    record = run(engine, OperationKind.LEAVE)
    assert (record.state, record.message) == (OperationState.SUCCEEDED, "replica down on alpha")
    assert host.replica is None
    assert host.performed[-1] is StepKind.REPLICA_DOWN


def test_a_demote_that_nobody_takes_over_changes_nothing_unless_it_is_meant() -> None:
    host = serving_host()
    assert host.replica is not None
    host.replica = lost_peer(host.replica)
    engine = make_engine(host, MemoryStore())
    assert run(engine, OperationKind.DEMOTE).state is OperationState.REFUSED
    assert host.performed == []
    assert named(engine, "counted-on").state is OperationState.REFUSED
    assert host.performed == []
    assert run(engine, OperationKind.STANDALONE).state is OperationState.SUCCEEDED
    record = named(engine, "given-up")
    assert record.state is OperationState.SUCCEEDED
    assert [f.code for f in record.findings] == ["PEER_CANNOT_TAKE_OVER"]


def named(engine: Engine, operation_id: str) -> OperationRecord:
    meant = OperationRequest(
        kind=OperationKind.DEMOTE,
        volume="data",
        operation_id=operation_id,
        stop_serving="alpha/data",
    )
    return engine.run(engine.begin(meant).request.operation_id)


HELD = UseView(
    holders=(Holder(kind="process", what="process dd (9) has /dev/drbd0 open", pid=9),),
    written_bytes=0,
    watched_s=2,
)


@pytest.mark.parametrize("kind", [OperationKind.LEAVE, OperationKind.CREATE])
def test_what_somebody_holds_open_is_not_taken_from_under_him(kind: OperationKind) -> None:
    host = FakeHost(use=HELD)
    engine = make_engine(host, MemoryStore())
    asked = OperationRequest(kind=kind, volume="data", operation_id="plan")
    assert "VOLUME_HELD" in {finding.code for finding in engine.plan(asked)[1]}
    record = run(engine, kind)
    assert record.state is OperationState.REFUSED
    assert "VOLUME_HELD" in {finding.code for finding in record.findings}
    assert host.performed == []


def test_who_holds_it_is_asked_for_a_demote_that_nobody_takes_over() -> None:
    host = serving_host()
    host.use = HELD
    engine = make_engine(host, MemoryStore())
    assert host.replica is not None
    connected = host.replica
    host.replica = lost_peer(connected)
    (finding,) = run(engine, OperationKind.DEMOTE).findings
    assert "process dd (9) has /dev/drbd0 open" in finding.measured
    host.replica = connected
    moved = OperationRequest(kind=OperationKind.DEMOTE, volume="data", operation_id="moved")
    host.blind[Facet.USE] = "a move must not wait for this look"
    record = engine.run(engine.begin(moved).request.operation_id)
    assert record.state is OperationState.SUCCEEDED


def test_a_host_that_went_down_in_the_middle_of_leave_has_left() -> None:
    host, store = FakeHost(), MemoryStore()

    def power_off() -> None:
        raise Crash

    host.faults[StepKind.REPLICA_DOWN] = power_off
    with pytest.raises(Crash):
        run(make_engine(host, store), OperationKind.LEAVE)
    assert [r.request.operation_id for r in unfinished(Journal(store, "alpha"))] == ["op-leave"]
    after = FakeHost(boot="boot-2")
    after.replica = None
    engine = make_engine(after, store)
    (operation_id,) = engine.resume()
    assert engine.run(operation_id).state is OperationState.SUCCEEDED
    assert after.performed == []


def test_a_volume_that_is_served_is_not_created() -> None:
    record = run(make_engine(serving_host(), MemoryStore()), OperationKind.CREATE)
    assert record.state is OperationState.REFUSED
    assert "VOLUME_MOUNTED" in {finding.code for finding in record.findings}
