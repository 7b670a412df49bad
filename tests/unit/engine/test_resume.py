"""Killed at every record: what the next start makes of the journal."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from storage_agent.model.errors import OperationFailed
from storage_agent.model.operation import OperationState
from storage_agent.model.plan import OperationKind, StepKind
from storage_agent.model.replica import DiskState, Role
from storage_agent.model.snapshot import Attachment, Facet
from tests.unit.engine.parts import (
    DEMOTION,
    PASSING,
    is_secondary,
    is_serving,
    make_engine,
    request,
    run,
    serving_host,
)
from tests.unit.fakes import (
    Crash,
    FakeHost,
    MemoryStore,
)
from tests.unit.replicas import in_sync_replica, lost_peer


def crash_points(kind: OperationKind, make_host: Callable[[], FakeHost]) -> int:
    store = MemoryStore()
    run(make_engine(make_host(), store), request(kind))
    return store.writes


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    ("kind", "make_host", "reached"),
    [
        (OperationKind.PROMOTE, FakeHost, is_serving),
        (OperationKind.DEMOTE, serving_host, is_secondary),
    ],
)
def test_killed_at_every_record_it_is_resumed_to_its_goal(
    kind: OperationKind,
    make_host: Callable[[], FakeHost],
    reached: Callable[[FakeHost], bool],
    after: bool,
) -> None:
    points = crash_points(kind, make_host)
    # accepted, planned, one a step, ended
    assert points >= 2 + len(DEMOTION)
    for point in range(1, points + 1):
        host, store = make_host(), MemoryStore()
        engine = make_engine(host, store)
        store.crash_at, store.crash_after = point, after
        with pytest.raises(Crash):
            run(engine, request(kind))
        store.crash_at = None
        restarted = make_engine(host, store)
        for operation_id in restarted.resume():
            restarted.run(operation_id)
        final = run(restarted, request(kind))
        assert final.state is OperationState.SUCCEEDED, (point, final.message)
        assert reached(host), point
        acted = [k for k in host.performed if k not in PASSING]
        assert len(acted) == len(set(acted)), f"point {point}: a step acted twice"


def test_killed_while_undoing_it_goes_on_undoing() -> None:
    host, store = FakeHost(), MemoryStore()
    engine = make_engine(host, store)

    def fail() -> None:
        raise OperationFailed("no link")

    def kill() -> None:
        del host.faults[StepKind.UNMOUNT]
        raise Crash

    host.faults = {StepKind.LINK_UP: fail, StepKind.UNMOUNT: kill}
    with pytest.raises(Crash):
        run(engine, request(OperationKind.PROMOTE))
    restarted = make_engine(host, store)
    (operation_id,) = restarted.resume()
    record = restarted.run(operation_id)
    assert record.state is OperationState.ROLLED_BACK
    assert is_secondary(host)


def test_a_promote_does_not_go_on_after_the_host_was_restarted() -> None:
    host, store = FakeHost(), MemoryStore()
    engine = make_engine(host, store)

    def kill() -> None:
        raise Crash

    host.faults[StepKind.MOUNT] = kill
    with pytest.raises(Crash):
        run(engine, request(OperationKind.PROMOTE))
    after = FakeHost(boot="boot-2")
    restarted = make_engine(after, store)
    (operation_id,) = restarted.resume()
    record = restarted.run(operation_id)
    assert record.state is OperationState.FAILED
    assert "interrupted by a restart of the host; now: secondary on alpha" in record.message
    assert after.performed == []


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_no_promote_goes_on_after_the_host_was_restarted_wherever_it_was(after: bool) -> None:
    """Also one that was only accepted: the volume of then may be another by now."""
    for point in range(1, crash_points(OperationKind.PROMOTE, FakeHost) + 1):
        store = MemoryStore()
        engine = make_engine(FakeHost(), store)
        store.crash_at, store.crash_after = point, after
        with pytest.raises(Crash):
            run(engine, request(OperationKind.PROMOTE))
        store.crash_at = None
        host = FakeHost(boot="boot-2")
        restarted = make_engine(host, store)
        for operation_id in restarted.resume():
            record = restarted.run(operation_id)
            assert record.state in (OperationState.REFUSED, OperationState.FAILED), point
            assert "interrupted by a restart of the host" in record.message
        assert host.performed == [], point


def test_what_was_only_accepted_is_refused_after_a_restart_of_the_host() -> None:
    store = MemoryStore()
    make_engine(serving_host(), store).begin(request(OperationKind.DEMOTE))
    host = FakeHost(boot="boot-2")
    restarted = make_engine(host, store)
    (operation_id,) = restarted.resume()
    record = restarted.run(operation_id)
    assert (record.state, record.changed) == (OperationState.REFUSED, False)
    assert record.message.endswith("before it began; now: secondary on alpha")
    assert host.performed == []


def test_an_assemble_goes_on_after_the_host_was_restarted() -> None:
    host, store = FakeHost(array=None), MemoryStore()
    host.replica = None

    def kill() -> None:
        raise Crash

    host.faults[StepKind.REPLICA_UP] = kill
    with pytest.raises(Crash):
        run(make_engine(host, store), request(OperationKind.ASSEMBLE))
    after = FakeHost(boot="boot-2", array=None)
    after.replica = None
    restarted = make_engine(after, store)
    (operation_id,) = restarted.resume()
    record = restarted.run(operation_id)
    assert (record.state, record.message) == (OperationState.SUCCEEDED, "secondary on alpha")
    kinds = [StepKind.ASSEMBLE_ARRAY, StepKind.REPLICA_UP]
    assert [kind for kind in after.performed if kind is not StepKind.TAKE_OPTIONS] == kinds


def test_a_resumed_assemble_is_decided_again_before_it_attaches() -> None:
    host, store = FakeHost(array=None), MemoryStore()
    host.replica = None

    def kill() -> None:
        raise Crash

    host.faults[StepKind.REPLICA_UP] = kill
    with pytest.raises(Crash):
        run(make_engine(host, store), request(OperationKind.ASSEMBLE))
    del host.faults[StepKind.REPLICA_UP]
    lone = lost_peer(in_sync_replica(role=Role.PRIMARY))
    host.replica = dataclasses.replace(lone, disk=DiskState.DISKLESS)
    host.performed.clear()
    restarted = make_engine(host, store)
    (operation_id,) = restarted.resume()
    record = restarted.run(operation_id)
    assert [finding.code for finding in record.findings] == ["ATTACH_ALONE"]
    assert StepKind.REPLICA_UP not in host.performed


def test_nothing_is_attached_while_the_replica_cannot_be_looked_at() -> None:
    host = FakeHost(array=None, blind={Facet.REPLICA: "no answer"})
    host.replica = None
    record = run(make_engine(host, MemoryStore()), request(OperationKind.ASSEMBLE))
    assert record.state is not OperationState.SUCCEEDED
    assert "could not be looked at" in record.message
    assert StepKind.REPLICA_UP not in host.performed


def test_a_resumed_promote_is_decided_again() -> None:
    host, store = FakeHost(), MemoryStore()
    engine = make_engine(host, store)
    store.crash_at = 4
    with pytest.raises(Crash):
        run(engine, request(OperationKind.PROMOTE))
    store.crash_at = None
    host.replica = lost_peer(in_sync_replica())
    restarted = make_engine(host, store)
    (operation_id,) = restarted.resume()
    record = restarted.run(operation_id)
    assert record.state is OperationState.ROLLED_BACK
    assert "PEER_NOT_PROVEN_OFF" in {finding.code for finding in record.findings}
    assert StepKind.PRIMARY not in host.performed


def test_what_was_warned_of_is_in_the_answer_of_a_resumed_promote() -> None:
    proven = Attachment(in_sync_until_loss=True)
    for point in range(2, crash_points(OperationKind.PROMOTE, FakeHost)):
        host = FakeHost(replica=lost_peer(in_sync_replica()), attachment=proven)
        store = MemoryStore()
        engine = make_engine(host, store)
        store.crash_at, store.crash_after = point, True
        asked = request(OperationKind.PROMOTE, peer_is_off="beta")
        with pytest.raises(Crash):
            run(engine, asked)
        store.crash_at = None
        restarted = make_engine(host, store)
        for operation_id in restarted.resume():
            restarted.run(operation_id)
        final = run(restarted, asked)
        assert final.state is OperationState.SUCCEEDED, (point, final.message)
        assert [f.code for f in final.findings] == ["PEER_MAY_HAVE_WRITTEN"], point


def test_a_torn_last_line_is_an_act_that_did_not_begin() -> None:
    host, store = FakeHost(), MemoryStore()
    engine = make_engine(host, store)
    engine.begin(request(OperationKind.PROMOTE))
    store.files["operation-op-1"] += b'{"phase": "inte'
    restarted = make_engine(host, store)
    assert restarted.resume() == ("op-1",)
    assert restarted.run("op-1").state is OperationState.SUCCEEDED
    assert make_engine(host, store).begin(request(OperationKind.PROMOTE)).state is (
        OperationState.SUCCEEDED
    )


def test_a_damaged_journal_does_not_keep_the_others_from_being_read() -> None:
    store = MemoryStore()
    engine = make_engine(FakeHost(), store)
    store.files["operation-bad"] = b"garbage\n"
    run(engine, request(OperationKind.PROMOTE))
    assert [record.request.operation_id for record in engine.history(10)] == ["op-1"]
    with pytest.raises(OperationFailed, match="damaged"):
        engine.show("bad")
