"""Going on alone and coming back, run by the engine."""

from __future__ import annotations

import dataclasses

import pytest

from storage_agent.engine.epoch import EpochStore
from storage_agent.model.errors import OperationFailed
from storage_agent.model.operation import OperationState, StepOutcome
from storage_agent.model.plan import OperationKind, StepKind
from storage_agent.model.replica import DiskState
from tests.unit.engine.parts import make_engine, request, run, served_marker, serving_host
from tests.unit.fakes import (
    Crash,
    FakeHost,
    MemoryStore,
)
from tests.unit.replicas import with_peer

STANDALONE, REJOIN = OperationKind.STANDALONE, OperationKind.REJOIN


def alone() -> FakeHost:
    host = serving_host()
    host._act(StepKind.DISCONNECT)
    return host


def test_the_primary_goes_on_alone_and_says_so() -> None:
    host = serving_host()
    record = run(make_engine(host, MemoryStore()), request(STANDALONE))
    assert record.state is OperationState.SUCCEEDED
    assert host.performed == [StepKind.DISCONNECT]
    assert record.message == "serving on alpha, standing alone: NO FALLBACK"
    assert [finding.code for finding in record.findings] == ["STANDING_ALONE"]


def test_and_comes_back() -> None:
    host = alone()
    record = run(make_engine(host, MemoryStore()), request(REJOIN))
    assert (record.state, record.message) == (OperationState.SUCCEEDED, "serving on alpha")
    assert host.performed == [StepKind.CONNECT]


@pytest.mark.parametrize(("kind", "host"), [(STANDALONE, alone()), (REJOIN, serving_host())])
def test_the_second_time_it_is_already_so(kind: OperationKind, host: FakeHost) -> None:
    record = run(make_engine(host, MemoryStore()), request(kind))
    assert (record.state, record.message) == (OperationState.SUCCEEDED, "already so")
    assert (record.changed, host.performed) == (False, [])


def test_a_secondary_is_refused() -> None:
    host = FakeHost()
    record = run(make_engine(host, MemoryStore()), request(STANDALONE))
    assert record.state is OperationState.REFUSED
    assert record.findings[0].code == "NOT_PRIMARY"
    assert host.performed == []


def test_what_does_not_leave_the_peer_connects_again() -> None:
    def fail() -> None:
        raise OperationFailed("the kernel says no")

    host = serving_host()
    host.faults[StepKind.DISCONNECT] = fail
    record = run(make_engine(host, MemoryStore()), request(STANDALONE))
    assert record.state is OperationState.ROLLED_BACK
    assert record.message == "the kernel says no; now: serving on alpha"
    assert host.replica is not None
    assert host.replica.in_sync()


def test_frozen_while_it_leaves_is_not_success() -> None:
    def freeze() -> None:
        assert host.replica is not None
        host._act(StepKind.DISCONNECT)
        host.replica = dataclasses.replace(host.replica, suspended=("fencing",))

    host = serving_host()
    host.faults[StepKind.DISCONNECT] = freeze
    record = run(make_engine(host, MemoryStore()), request(STANDALONE))
    assert record.state is OperationState.ROLLED_BACK
    assert "writes are frozen: fencing" in record.message
    assert host.performed == [StepKind.DISCONNECT, StepKind.CONNECT]


@pytest.mark.parametrize(
    ("kind", "step"), [(STANDALONE, StepKind.DISCONNECT), (REJOIN, StepKind.CONNECT)]
)
def test_neither_goes_on_after_a_restart_of_the_host(kind: OperationKind, step: StepKind) -> None:
    def cut() -> None:
        raise Crash

    host = serving_host() if kind is STANDALONE else alone()
    store = MemoryStore()
    host.faults[step] = cut
    with pytest.raises(Crash):
        run(make_engine(host, store), request(kind))
    after = FakeHost(clock=host.clock, boot="boot-2")
    engine = make_engine(after, store)
    (operation_id,) = engine.resume()
    assert engine.run(operation_id).state is OperationState.FAILED
    assert after.performed == []


def discarding() -> tuple[FakeHost, dict[str, str]]:
    host = FakeHost()
    host._act(StepKind.DISCONNECT)
    assert host.replica is not None
    host.replica = dataclasses.replace(host.replica, split_brain=True)
    asked = request(OperationKind.SPLIT_BRAIN, options={"choice": "discard"})
    plan, findings = make_engine(host, MemoryStore()).plan(asked)
    assert [finding.code for finding in findings] == []
    assert [step.kind for step in plan.steps] == [StepKind.CONNECT_DISCARDING]
    return host, {"choice": "discard", "confirm": plan.digest()}


def test_a_copy_is_discarded_as_it_was_confirmed() -> None:
    host, options = discarding()
    wanted = request(OperationKind.SPLIT_BRAIN, options=options)
    store = MemoryStore()
    EpochStore(store).note_marker("data", served_marker(5))
    record = run(make_engine(host, store), wanted)
    assert record.state is OperationState.SUCCEEDED
    assert [step.outcome for step in record.steps] == [StepOutcome.DONE]
    assert host.performed == [StepKind.CONNECT_DISCARDING]
    # The copy that comes instead may be older, and that was chosen.
    assert EpochStore(store).last_marker("data") is None


def test_a_confirmed_discard_is_not_done_once_the_split_brain_is_over() -> None:
    host, options = discarding()
    assert host.replica is not None
    host.replica = with_peer(dataclasses.replace(host.replica, split_brain=False))
    wanted = request(OperationKind.SPLIT_BRAIN, options=options)
    record = run(make_engine(host, MemoryStore()), wanted)
    assert record.state is OperationState.REFUSED
    assert record.findings[0].code == "NO_SPLIT_BRAIN"
    assert host.performed == []


def test_another_digest_discards_nothing() -> None:
    host, options = discarding()
    wanted = request(OperationKind.SPLIT_BRAIN, options={**options, "confirm": "0" * 12})
    record = run(make_engine(host, MemoryStore()), wanted)
    assert record.state is OperationState.REFUSED
    assert host.performed == []
    assert record.findings[-1].code == "PLAN_CHANGED"
    assert record.remedy.endswith(": storage-agent split-brain data --discard --dry-run")


def test_a_peer_that_was_lost_on_the_way_was_not_told() -> None:
    def lose() -> None:
        assert host.replica is not None
        host._act(StepKind.DISCONNECT)
        host.replica = with_peer(host.replica, disk=DiskState.DUNKNOWN)

    host = serving_host()
    host.faults[StepKind.DISCONNECT] = lose
    host.deaf.add(StepKind.DISCONNECT)
    record = run(make_engine(host, MemoryStore()), request(STANDALONE))
    assert record.state is OperationState.SUCCEEDED
    assert {finding.code for finding in record.findings} == {"STANDING_ALONE", "PEER_NOT_TOLD"}
