"""A degraded start and a replica made anew, run to their ends and broken off."""

from __future__ import annotations

import dataclasses

import pytest

from storage_agent.model.array import ArrayState, SeenMembers
from storage_agent.model.errors import OperationFailed
from storage_agent.model.operation import OperationState
from storage_agent.model.plan import OperationKind, StepKind
from tests.unit.engine.parts import make_engine, request, run
from tests.unit.fakes import Crash, FakeHost, MemoryStore
from tests.unit.policy.test_assembly import WHOLE

K = OperationKind
NOTE = SeenMembers(in_sync=("alpha-0", "alpha-1", "alpha-2", "alpha-3"), rebuilding=(),
                   since_wall_s=1.0)  # fmt: skip


def three_of_four() -> FakeHost:
    host = FakeHost(array=None, attached=WHOLE[:3], missing=("alpha-3",), seen_members=NOTE)
    host.replica = None
    return host


def without_metadata(array: ArrayState | None = ArrayState.CLEAN) -> FakeHost:
    host = FakeHost(array=array, has_metadata=False, attached=WHOLE)
    host.replica = None
    return host


def test_a_degraded_start_names_its_members_and_brings_the_replica_up() -> None:
    host = three_of_four()
    engine = make_engine(host, MemoryStore())
    plan, findings = engine.plan(request(K.ASSEMBLE_DEGRADED))
    assert [finding.code for finding in findings] == ["DEGRADED_START"]
    (command,) = plan.steps[0].commands
    assert command.startswith("mdadm --assemble --run /dev/md/data --config=none")
    assert command.endswith("SERIAL=alpha-0 SERIAL=alpha-1 SERIAL=alpha-2")
    wanted = request(K.ASSEMBLE_DEGRADED, options={"confirm": plan.digest()})
    assert run(engine, wanted).state is OperationState.SUCCEEDED
    assert host.performed[:2] == [StepKind.START_DEGRADED, StepKind.REPLICA_UP]


def test_other_members_than_those_confirmed_are_not_started() -> None:
    host = three_of_four()
    engine = make_engine(host, MemoryStore())
    plan, _ = engine.plan(request(K.ASSEMBLE_DEGRADED))
    host.attached = (*WHOLE[:2], WHOLE[3])
    wanted = request(K.ASSEMBLE_DEGRADED, options={"confirm": plan.digest()})
    record = run(engine, wanted)
    assert (record.state, host.performed) == (OperationState.REFUSED, [])
    assert "storage-agent assemble data --degraded --dry-run" in record.remedy


def test_once_all_are_there_it_is_assembled_as_ever() -> None:
    host = three_of_four()
    host.attached, host.missing = WHOLE, ()
    record = run(make_engine(host, MemoryStore()), request(K.ASSEMBLE_DEGRADED))
    assert record.state is OperationState.SUCCEEDED
    assert host.performed[0] is StepKind.ASSEMBLE_ARRAY


def test_a_disk_taken_over_is_assembled_in_the_old_ones_place() -> None:
    host = three_of_four()
    new = dataclasses.replace(WHOLE[3], serial="new-3")
    host.attached, host.seen_members = (
        (*WHOLE[:3], new),
        dataclasses.replace(NOTE, in_sync=("new-3",)),
    )
    engine = make_engine(host, MemoryStore())
    plan, findings = engine.plan(request(K.ASSEMBLE))
    assert [finding.code for finding in findings] == ["MEMBER_REPLACED"]
    assert plan.steps[0].commands[0].endswith("SERIAL=alpha-2 SERIAL=new-3")
    begun_s = host.clock.now_s
    assert run(engine, request(K.ASSEMBLE)).state is OperationState.SUCCEEDED
    # The one that is gone is not waited for.
    assert host.clock.now_s - begun_s < 10


def test_never_at_boot() -> None:
    host = three_of_four()
    record = run(make_engine(host, MemoryStore()), request(K.ASSEMBLE, options={"wait_s": "1"}))
    assert (record.state, host.performed) == (OperationState.REFUSED, [])
    assert record.remedy.endswith("storage-agent assemble data --degraded")


@pytest.mark.parametrize(
    ("kind", "host"),
    [(K.ASSEMBLE_DEGRADED, three_of_four()), (K.REMAKE, without_metadata())],
)
def test_a_restart_of_the_host_does_not_go_on_with_it(kind: K, host: FakeHost) -> None:
    store = MemoryStore()
    engine = make_engine(host, store)
    store.crash_at = store.writes + 4
    with pytest.raises(Crash):
        run(engine, request(kind))
    store.crash_at = 0
    host.boot, host.array = "boot-2", None
    before = list(host.performed)
    again = make_engine(host, store)
    for operation_id in again.resume():
        again.run(operation_id)
    record = again.show("op-1")
    assert record is not None
    assert record.state is OperationState.FAILED
    assert host.performed == before


def test_lost_metadata_leave_the_array_for_what_makes_them_anew() -> None:
    host = without_metadata(array=None)
    engine = make_engine(host, MemoryStore())
    record = run(engine, request(K.ASSEMBLE))
    assert (record.state, host.performed) == (OperationState.FAILED, [StepKind.ASSEMBLE_ARRAY])
    assert "storage-agent create data --join; " in record.remedy
    assert host.array is ArrayState.ACTIVE
    # And so does the next one, which finds it running.
    again = run(engine, request(K.ASSEMBLE, "op-2"))
    assert (again.state, again.remedy) == (OperationState.REFUSED, record.remedy)
    made = run(engine, request(K.REMAKE, "op-3"))
    assert made.state is OperationState.SUCCEEDED, made.message
    assert host.performed[1:5] == [
        StepKind.SEE_GOOD_COPY,
        StepKind.GIVE_UP_COPY,
        StepKind.MAKE_METADATA,
        StepKind.REPLICA_UP,
    ]


def test_without_the_good_copy_nothing_is_erased() -> None:
    host = without_metadata()

    def gone() -> None:
        raise OperationFailed("cannot connect")

    host.faults[StepKind.SEE_GOOD_COPY] = gone
    record = run(make_engine(host, MemoryStore()), request(K.REMAKE))
    assert record.state is OperationState.ROLLED_BACK
    assert StepKind.GIVE_UP_COPY not in host.performed
    host.faults.clear()
    host.deaf = {StepKind.SEE_GOOD_COPY}
    record = run(make_engine(host, MemoryStore()), request(K.REMAKE, "op-2"))
    assert record.state is OperationState.ROLLED_BACK
    assert StepKind.GIVE_UP_COPY not in host.performed


@pytest.mark.parametrize("kind", [K.ASSEMBLE_DEGRADED, K.REMAKE])
def test_killed_before_each_record_it_goes_on(kind: K) -> None:
    points = 0
    for point in range(1, 40):
        host = three_of_four() if kind is K.ASSEMBLE_DEGRADED else without_metadata()
        store = MemoryStore()
        engine = make_engine(host, store)
        store.crash_at = store.writes + point
        try:
            run(engine, request(kind))
        except Crash:
            points += 1
        else:
            break
        store.crash_at = 0
        again = make_engine(host, store)
        for operation_id in again.resume():
            again.run(operation_id)
        record = again.history(1)
        # Not even accepted, or gone on with to its end.
        assert not record or record[0].state is OperationState.SUCCEEDED, (point, record)
        assert bool(record) or host.performed == []
        assert host.performed.count(StepKind.MAKE_METADATA) <= 2
    assert points > 5
