"""Operations from request to record: order, refusal, idempotence; what waits, what is created."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from storage_agent.engine.engine import NOT_RECORDED
from storage_agent.engine.epoch import EpochStore
from storage_agent.model.agreement import Agreement
from storage_agent.model.array import Disk
from storage_agent.model.configuration import AgentConfig, Arbitration
from storage_agent.model.errors import Busy, OperationFailed, UsageError
from storage_agent.model.operation import Epoch, OperationRequest, OperationState
from storage_agent.model.plan import OperationKind, StepKind
from storage_agent.model.snapshot import CHEAP_FACETS, Facet
from tests.unit.engine.parts import (
    DEMOTION,
    PROMOTION,
    make_engine,
    request,
    run,
    serving_host,
)
from tests.unit.fakes import (
    COORDINATOR,
    FILESYSTEM_UUID,
    SERIALS,
    FakeClock,
    FakeHost,
    MemoryStore,
    agent_config,
    volume_config,
)
from tests.unit.replicas import guards_as


def test_promote_runs_the_sequence_and_raises_the_epoch() -> None:
    host, store = FakeHost(), MemoryStore()
    record = run(make_engine(host, store), request(OperationKind.PROMOTE))
    assert record.state is OperationState.SUCCEEDED
    assert record.message == "serving on alpha"
    assert host.performed == PROMOTION
    assert record.epoch == 6
    assert EpochStore(store).read("data") == Epoch(
        number=6, operation_id="op-1", coordinator=COORDINATOR
    )


def test_demote_runs_the_sequence_and_keeps_the_epoch() -> None:
    host, store = serving_host(), MemoryStore()
    record = run(make_engine(host, store), request(OperationKind.DEMOTE))
    assert (record.state, record.message) == (OperationState.SUCCEEDED, "secondary on alpha")
    assert host.performed == DEMOTION
    assert EpochStore(store).read("data").number == 5


@pytest.mark.parametrize(
    ("kind", "make_host"),
    [(OperationKind.PROMOTE, serving_host), (OperationKind.DEMOTE, FakeHost)],
)
def test_a_second_time_says_already_so_and_changes_nothing(
    kind: OperationKind, make_host: Callable[[], FakeHost]
) -> None:
    host = make_host()
    record = run(make_engine(host, MemoryStore()), request(kind))
    assert (record.state, record.message, record.changed) == (
        OperationState.SUCCEEDED,
        "already so",
        False,
    )
    assert host.performed == []


def test_the_same_id_gives_the_same_answer_without_acting_again() -> None:
    host, store = FakeHost(), MemoryStore()
    engine = make_engine(host, store)
    first = run(engine, request(OperationKind.PROMOTE))
    count = len(host.performed)
    again = run(make_engine(host, store), request(OperationKind.PROMOTE))
    assert again == first
    assert len(host.performed) == count


def test_the_same_id_joins_the_operation_while_it_runs() -> None:
    host, store = FakeHost(), MemoryStore()
    engine = make_engine(host, store)
    first = engine.begin(request(OperationKind.PROMOTE))
    assert engine.begin(request(OperationKind.PROMOTE)) == first == engine.show("op-1")
    # The account of the volume, and the operation's own journal.
    assert (first.state, store.writes) == (OperationState.RUNNING, 2)
    with pytest.raises(UsageError, match="was used for promote data"):
        engine.begin(request(OperationKind.PROMOTE, epoch=9))


def test_an_id_cannot_be_used_for_something_else() -> None:
    engine = make_engine(FakeHost(), MemoryStore())
    run(engine, request(OperationKind.PROMOTE))
    with pytest.raises(UsageError, match="was used for promote data"):
        engine.begin(request(OperationKind.DEMOTE))


@pytest.mark.parametrize("operation_id", ["", "a/b", "../x", "-a", "a" * 65, "a\n", "ä"])
def test_ids_that_could_be_paths_or_lines_are_refused(operation_id: str) -> None:
    store = MemoryStore()
    engine = make_engine(FakeHost(), store)
    with pytest.raises(UsageError, match="is not an operation id"):
        engine.begin(request(OperationKind.PROMOTE, operation_id))
    assert store.names("operation-") == ()


def test_one_operation_a_volume() -> None:
    engine = make_engine(FakeHost(), MemoryStore())
    engine.begin(request(OperationKind.PROMOTE))
    with pytest.raises(Busy, match="busy with promote op-1"):
        engine.begin(request(OperationKind.DEMOTE, "op-2"))
    engine.run("op-1")
    assert engine.begin(request(OperationKind.DEMOTE, "op-2")).state is OperationState.RUNNING


def test_an_unknown_volume_is_named_with_the_known_ones() -> None:
    engine = make_engine(FakeHost(), MemoryStore())
    with pytest.raises(UsageError) as caught:
        engine.begin(OperationRequest(kind=OperationKind.PROMOTE, volume="home", operation_id="x"))
    assert caught.value.remedy.startswith("configured are: data; ")


def test_an_operation_that_was_never_accepted() -> None:
    engine = make_engine(FakeHost(), MemoryStore())
    assert engine.show("op-9") is None
    assert engine.show("../epoch-data") is None
    with pytest.raises(UsageError, match="there is no operation op-9"):
        engine.run("op-9")


def test_a_changed_configuration_counts_from_the_next_operation_on() -> None:
    host, store = FakeHost(), MemoryStore()
    engine = make_engine(host, store)
    engine.reconfigure(agent_config(volume_config("other")))
    with pytest.raises(UsageError) as caught:
        engine.begin(request(OperationKind.PROMOTE))
    assert caught.value.remedy.startswith("configured are: other; ")
    engine.reconfigure(agent_config(volume_config(services=())))
    assert run(engine, request(OperationKind.PROMOTE)).state is OperationState.SUCCEEDED
    assert StepKind.START_SERVICES not in host.performed


def test_a_full_state_folder_refuses_before_the_first_step() -> None:
    host, store = FakeHost(), MemoryStore()
    engine = make_engine(host, store)
    store.full = True
    with pytest.raises(OperationFailed, match="No space left"):
        engine.begin(request(OperationKind.PROMOTE))
    assert host.performed == []


def test_an_end_that_cannot_be_written_holds_up_what_comes_after_it() -> None:
    """Else the next start would take up a demote that a promote has long overtaken."""
    host, store = serving_host(), MemoryStore()
    engine = make_engine(host, store)
    engine.begin(request(OperationKind.DEMOTE))
    host.faults = {DEMOTION[-1]: lambda: setattr(store, "full", True)}
    record = engine.run("op-1")
    assert record.state is OperationState.SUCCEEDED
    assert f"secondary on alpha; {NOT_RECORDED}: " in record.message
    assert (engine.show("op-1"), engine.history(9)) == (record, (record,))
    with pytest.raises(OperationFailed, match="No space left"):
        engine.begin(request(OperationKind.PROMOTE, operation_id="op-2"))
    store.full = False
    assert run(engine, request(OperationKind.PROMOTE, operation_id="op-2")).changed
    assert make_engine(host, store).resume() == ()


@pytest.mark.parametrize(
    ("kind", "facet"),
    [
        (kind, facet)
        for kind in (OperationKind.PROMOTE, OperationKind.DEMOTE)
        for facet in sorted(CHEAP_FACETS - {Facet.INCIDENT})
        # Whoever lets go promises nothing any more.
        if (kind, facet) != (OperationKind.DEMOTE, Facet.GUARDS)
    ],
)
def test_unknown_means_no(facet: Facet, kind: OperationKind) -> None:
    host = FakeHost(blind={facet: "no answer"})
    record = run(make_engine(host, MemoryStore()), request(kind))
    assert record.state is OperationState.REFUSED
    assert "UNOBSERVED" in {finding.code for finding in record.findings}
    assert host.performed == []


def test_create_gives_the_volume_its_first_epoch() -> None:
    host, store = FakeHost(array=None), MemoryStore()
    config = _uncreated()
    host.replica = None
    host.disk_list = _blank_disks()
    engine = make_engine(host, store, config, has_epoch=False)
    plan, findings = engine.plan(request(OperationKind.CREATE, options={"role": "join"}))
    assert findings == ()
    options = {"role": "join", "confirm": plan.digest()}
    record = run(engine, request(OperationKind.CREATE, options=options))
    assert record.state is OperationState.SUCCEEDED, record.message
    assert StepKind.MAKE_FILESYSTEM not in host.performed
    assert EpochStore(store).read("data").number == 0


def test_the_first_host_makes_the_filesystem_and_gives_the_role_back() -> None:
    host, store = FakeHost(array=None), MemoryStore()
    host.replica, host.disk_list, host.content = None, _blank_disks(), None
    engine = make_engine(host, store, _uncreated(FILESYSTEM_UUID), has_epoch=False)
    record = run(engine, request(OperationKind.CREATE, options={"role": "first"}))
    assert record.state is OperationState.SUCCEEDED, record.message
    assert host.performed == [
        StepKind.WRITE_CONFIGURATION,
        StepKind.MAKE_ARRAY,
        StepKind.MAKE_METADATA,
        StepKind.REPLICA_UP,
        StepKind.FIRST_PRIMARY,
        StepKind.MAKE_FILESYSTEM,
        StepKind.SECONDARY,
    ]
    assert record.message == "secondary on alpha"


def test_create_refuses_a_plan_that_has_changed() -> None:
    host, store = FakeHost(array=None), MemoryStore()
    host.disk_list = _blank_disks()
    config = _uncreated()
    engine = make_engine(host, store, config, has_epoch=False)
    options = {"role": "first", "confirm": "000000000000"}
    record = run(engine, request(OperationKind.CREATE, options=options))
    assert record.state is OperationState.REFUSED
    assert host.performed == []
    (changed,) = record.findings
    assert (changed.code, changed.limit) == ("PLAN_CHANGED", "plan 000000000000")
    assert changed.remedy.endswith(": storage-agent create data --first --dry-run")


def test_assemble_waits_for_late_disks_up_to_its_bound() -> None:
    clock = FakeClock()
    host = FakeHost(clock=clock, array=None, missing=("alpha-3",))
    told: list[str] = []
    store = MemoryStore()
    engine = make_engine(host, store, on_change=lambda record: told.append(record.message))
    record = run(engine, request(OperationKind.ASSEMBLE, options={"wait_s": "5"}))
    assert record.state is OperationState.REFUSED
    assert "disk alpha-3 of data is not attached" in record.message
    assert sum("waiting for 1 disk(s)" in message for message in told) == 5
    assert host.performed == []


def test_assemble_is_not_already_so_while_the_kernel_does_something_else() -> None:
    """A change of the configuration is taken up while the volume is served, and seen."""
    host, store = serving_host(), MemoryStore()
    engine = make_engine(host, store)
    assert run(engine, request(OperationKind.ASSEMBLE)).message == "already so"
    host.guards = guards_as(Arbitration.COORDINATOR)
    record = run(engine, request(OperationKind.ASSEMBLE, operation_id="op-0"))
    assert [finding.code for finding in record.findings] == ["FREEZE_STILL_PROMISED"]
    host.agreement = Agreement(has_secret=True)
    plan, findings = engine.plan(request(OperationKind.ASSEMBLE))
    assert StepKind.TAKE_OPTIONS in [step.kind for step in plan.steps]
    assert findings == ()
    record = run(engine, request(OperationKind.ASSEMBLE, operation_id="op-2"))
    assert (record.state, record.changed) == (OperationState.SUCCEEDED, True)
    assert host.performed == [StepKind.TAKE_OPTIONS]
    host.guards = guards_as(Arbitration.NONE, is_file_current=False)
    host.deaf = {StepKind.TAKE_OPTIONS}
    record = run(engine, request(OperationKind.ASSEMBLE, operation_id="op-3"))
    assert record.state is OperationState.ROLLED_BACK
    assert "the resource file is another one" in record.message
    assert (host.replica is not None, host.mounted) == (True, True)


def _uncreated(filesystem_uuid: str | None = None) -> AgentConfig:
    volume = volume_config()
    return agent_config(
        dataclasses.replace(
            volume,
            array=dataclasses.replace(volume.array, uuid={}),
            filesystem=dataclasses.replace(volume.filesystem, uuid=filesystem_uuid),
        )
    )


def _blank_disks() -> tuple[Disk, ...]:
    return tuple(
        Disk(name=f"vd{i}", path=f"/dev/vd{i}", serial=serial, size_bytes=256 << 20)
        for i, serial in enumerate(SERIALS)
    )


def test_another_filesystem_is_refused_before_the_role_is_taken() -> None:
    host = FakeHost(content=None)
    engine = make_engine(host, MemoryStore())
    wanted = OperationRequest(kind=OperationKind.PROMOTE, volume="data", operation_id="wrong")
    assert "WRONG_FILESYSTEM" in {finding.code for finding in engine.plan(wanted)[1]}
    record = engine.run(engine.begin(wanted).request.operation_id)
    assert record.state is OperationState.REFUSED
    assert "WRONG_FILESYSTEM" in {finding.code for finding in record.findings}
    assert host.performed == []
