"""Operations from request to record: order, refusal, undo, idempotence, resume at every record."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from storage_agent.engine.engine import Engine
from storage_agent.engine.epoch import EpochStore
from storage_agent.model.array import Disk
from storage_agent.model.configuration import AgentConfig
from storage_agent.model.errors import Busy, CommandStuck, OperationFailed, Refused, UsageError
from storage_agent.model.nfs import ServerState
from storage_agent.model.operation import (
    Epoch,
    Marker,
    OperationRecord,
    OperationRequest,
    OperationState,
    StepOutcome,
)
from storage_agent.model.plan import OperationKind, StepKind
from storage_agent.model.replica import Role
from storage_agent.model.snapshot import CHEAP_FACETS, Facet
from tests.unit.fakes import (
    SERIALS,
    Crash,
    FakeClock,
    FakeHost,
    MemoryStore,
    agent_config,
    in_sync_replica,
    lost_peer,
    volume_config,
)

SERVICE = ("backup.service",)
CONFIG = agent_config(volume_config(services=SERVICE))

PROMOTION = [
    StepKind.PRIMARY,
    StepKind.READ_MARKER,
    StepKind.MOUNT,
    StepKind.WRITE_MARKER,
    StepKind.START_SERVER,
    StepKind.START_SERVICES,
    StepKind.LINK_UP,
    StepKind.PROVE_EXPORT,
]
# Proved by the act itself, and done again when a plan is walked again.
PASSING = {StepKind.READ_MARKER, StepKind.WRITE_MARKER, StepKind.PROVE_EXPORT}
DEMOTION = [
    StepKind.LINK_DOWN,
    StepKind.STOP_SERVICES,
    StepKind.STOP_SERVER,
    StepKind.UNMOUNT,
    StepKind.SECONDARY,
]


def request(kind: OperationKind, operation_id: str = "op-1", **more: object) -> OperationRequest:
    return OperationRequest(kind=kind, volume="data", operation_id=operation_id, **more)  # type: ignore[arg-type]


def make_engine(host: FakeHost, store: MemoryStore) -> Engine:
    if "epoch-data" not in store.files:
        EpochStore(store).write("data", Epoch(number=5, operation_id="before"))
        store.writes = 0
    return Engine(
        config=CONFIG, host=host, store=store, clock=host.clock, on_change=lambda record: None
    )


def run(engine: Engine, wanted: OperationRequest) -> OperationRecord:
    return engine.run(engine.begin(wanted).request.operation_id)


def serving_host() -> FakeHost:
    host = FakeHost(mounted=True, server=ServerState.SERVING, services_active=True)
    host._act(StepKind.PRIMARY)
    return host


def is_serving(host: FakeHost) -> bool:
    assert host.replica is not None
    return (
        host.replica.role is Role.PRIMARY
        and host.mounted
        and host.server is ServerState.SERVING
        and host.services_active
    )


def is_secondary(host: FakeHost) -> bool:
    assert host.replica is not None
    stopped = host.server in (ServerState.STANDBY, ServerState.ABSENT)
    return (
        host.replica.role is Role.SECONDARY
        and not host.mounted
        and not host.services_active
        and stopped
    )


def test_promote_runs_the_sequence_and_raises_the_epoch() -> None:
    host, store = FakeHost(), MemoryStore()
    record = run(make_engine(host, store), request(OperationKind.PROMOTE))
    assert record.state is OperationState.SUCCEEDED
    assert record.message == "serving on alpha"
    assert host.performed == PROMOTION
    assert record.epoch == 6
    assert EpochStore(store).read("data") == Epoch(number=6, operation_id="op-1")


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


def served_marker(epoch: int, counter: int = 3, operation_id: str = "other") -> Marker:
    return Marker(
        epoch=epoch,
        counter=counter,
        operation_id=operation_id,
        host="beta",
        boot_id="b",
        wall_s=0.0,
    )


def test_an_admins_epoch_follows_the_filesystem() -> None:
    host, store = FakeHost(marker=served_marker(9)), MemoryStore()
    record = run(make_engine(host, store), request(OperationKind.PROMOTE))
    assert (record.state, record.epoch) == (OperationState.SUCCEEDED, 10)
    assert host.marker is not None
    assert host.marker.age() == (10, 4)
    assert EpochStore(store).read("data").number == 10
    assert EpochStore(store).last_marker("data") == (10, 4)


def test_a_coordinators_old_epoch_is_refused_by_the_filesystem() -> None:
    host = FakeHost(marker=served_marker(9))
    record = run(make_engine(host, MemoryStore()), request(OperationKind.PROMOTE, epoch=7))
    assert record.state is OperationState.ROLLED_BACK
    assert [finding.code for finding in record.findings] == ["STALE_EPOCH"]
    assert StepKind.MOUNT not in host.performed
    assert is_secondary(host)


@pytest.mark.parametrize("found", [None, served_marker(4), served_marker(5, 2)])
def test_a_copy_older_than_what_this_host_has_seen_is_given_back(found: Marker | None) -> None:
    host, store = FakeHost(marker=found), MemoryStore()
    engine = make_engine(host, store)
    EpochStore(store).note_marker("data", served_marker(5, 3))
    record = run(engine, request(OperationKind.PROMOTE))
    assert record.state is OperationState.ROLLED_BACK
    assert [finding.code for finding in record.findings] == ["MARKER_OLD"]
    assert StepKind.MOUNT not in host.performed
    assert is_secondary(host)


def test_a_copy_older_than_what_the_caller_has_seen_is_given_back() -> None:
    host = FakeHost(marker=served_marker(5, 3))
    wanted = request(OperationKind.PROMOTE, epoch=6, marker_at_least=(5, 4))
    record = run(make_engine(host, MemoryStore()), wanted)
    assert [finding.code for finding in record.findings] == ["MARKER_OLD"]
    assert is_secondary(host)


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
        engine.begin(OperationRequest(kind=OperationKind.PROMOTE, volume="dta", operation_id="x"))
    assert caught.value.remedy == "configured volumes: data"


@pytest.mark.parametrize("failing", PROMOTION)
def test_a_failing_promote_is_taken_back_to_secondary(failing: StepKind) -> None:
    host = FakeHost()

    def fail() -> None:
        raise OperationFailed("the tool said no")

    host.faults[failing] = fail
    record = run(make_engine(host, MemoryStore()), request(OperationKind.PROMOTE))
    assert record.state is OperationState.ROLLED_BACK
    assert record.message == "the tool said no; now: secondary on alpha"
    assert is_secondary(host)


@pytest.mark.parametrize("failing", DEMOTION)
def test_a_failing_demote_is_taken_back_to_serving(failing: StepKind) -> None:
    host = serving_host()

    def fail() -> None:
        raise OperationFailed("busy: editor (pid 7)")

    host.faults[failing] = fail
    record = run(make_engine(host, MemoryStore()), request(OperationKind.DEMOTE))
    assert record.state is OperationState.ROLLED_BACK
    assert record.message == "busy: editor (pid 7); now: serving on alpha"
    assert is_serving(host)


@pytest.mark.parametrize("deaf", [k for k in PROMOTION if k not in PASSING])
def test_an_exit_status_is_not_believed(deaf: StepKind) -> None:
    host = FakeHost(deaf={deaf})
    record = run(make_engine(host, MemoryStore()), request(OperationKind.PROMOTE))
    assert record.state is OperationState.ROLLED_BACK
    assert "not seen within" in record.message
    assert is_secondary(host)


def test_a_command_that_was_given_up_is_undone_although_nothing_is_seen_of_it() -> None:
    host = FakeHost()

    def hang() -> None:
        raise CommandStuck("drbdadm primary data does not end")

    host.faults[StepKind.PRIMARY] = hang
    record = run(make_engine(host, MemoryStore()), request(OperationKind.PROMOTE))
    assert record.state is OperationState.ROLLED_BACK
    assert host.performed == [StepKind.SECONDARY]


def test_an_undo_that_fails_names_the_state() -> None:
    host = FakeHost()

    def fail() -> None:
        raise OperationFailed("no")

    host.faults[StepKind.START_SERVER] = fail
    host.faults[StepKind.UNMOUNT] = fail
    record = run(make_engine(host, MemoryStore()), request(OperationKind.PROMOTE))
    assert record.state is OperationState.FAILED
    assert record.message.endswith("now: primary on alpha, mounted, NFS server standby")
    assert record.steps[-1].outcome is StepOutcome.UNDO_FAILED


def test_a_full_state_folder_refuses_before_the_first_step() -> None:
    host, store = FakeHost(), MemoryStore()
    engine = make_engine(host, store)
    store.full = True
    with pytest.raises(OperationFailed, match="No space left"):
        engine.begin(request(OperationKind.PROMOTE))
    assert host.performed == []


def test_a_state_folder_that_fills_half_way_does_not_keep_the_undo_from_running() -> None:
    host, store = FakeHost(), MemoryStore()
    engine = make_engine(host, store)

    def fill() -> None:
        store.full = True

    host.faults[StepKind.MOUNT] = fill
    record = run(engine, request(OperationKind.PROMOTE))
    assert record.state is OperationState.ROLLED_BACK
    assert is_secondary(host)


@pytest.mark.parametrize("facet", sorted(CHEAP_FACETS))
@pytest.mark.parametrize("kind", [OperationKind.PROMOTE, OperationKind.DEMOTE])
def test_unknown_means_no(facet: Facet, kind: OperationKind) -> None:
    host = FakeHost(blind={facet: "no answer"})
    record = run(make_engine(host, MemoryStore()), request(kind))
    assert record.state is OperationState.REFUSED
    assert "UNOBSERVED" in {finding.code for finding in record.findings}
    assert host.performed == []


@pytest.mark.parametrize(
    ("epoch", "code"), [(4, "STALE_EPOCH"), (5, "STALE_EPOCH"), (5 + 20_001, "EPOCH_JUMP")]
)
def test_wrong_epochs_are_refused(epoch: int, code: str) -> None:
    host, store = FakeHost(), MemoryStore()
    record = run(make_engine(host, store), request(OperationKind.PROMOTE, epoch=epoch))
    assert [finding.code for finding in record.findings] == [code]
    assert host.performed == []
    assert EpochStore(store).read("data").number == 5


@pytest.mark.parametrize(
    ("content", "code"),
    [(None, "EPOCH_MISSING"), (b"", "EPOCH_DAMAGED"), (b"{}\n00000000\n", "EPOCH_DAMAGED")],
)
def test_an_unusable_epoch_file_refuses_changes(content: bytes | None, code: str) -> None:
    host, store = FakeHost(), MemoryStore()
    engine = make_engine(host, store)
    if content is None:
        del store.files["epoch-data"]
    else:
        store.files["epoch-data"] = content
    record = run(engine, request(OperationKind.PROMOTE))
    assert record.state is OperationState.REFUSED
    assert [finding.code for finding in record.findings] == [code]
    assert "epoch restore data" in record.remedy
    assert host.performed == []


def test_an_admin_restores_a_lost_epoch_but_never_lowers_one() -> None:
    host, store = FakeHost(marker=served_marker(7)), MemoryStore()
    engine = make_engine(host, store)
    with pytest.raises(Refused, match="would be older"):
        engine.restore_epoch("data", 4)
    del store.files["epoch-data"]
    assert engine.epoch("data") is None
    EpochStore(store).note_marker("data", served_marker(7))
    with pytest.raises(Refused, match="would be older"):
        engine.restore_epoch("data", 6)
    engine.restore_epoch("data", 8)
    assert engine.epoch("data") == 8
    assert run(engine, request(OperationKind.PROMOTE)).state is OperationState.SUCCEEDED


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
    assert points > 8
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


def test_create_gives_the_volume_its_first_epoch() -> None:
    host, store = FakeHost(array=None), MemoryStore()
    config = _uncreated()
    host.replica = None
    host.disk_list = _blank_disks()
    engine = Engine(
        config=config, host=host, store=store, clock=host.clock, on_change=lambda record: None
    )
    plan, findings = engine.plan(request(OperationKind.CREATE, options={"role": "join"}))
    assert findings == ()
    options = {"role": "join", "confirm": plan.digest()}
    record = run(engine, request(OperationKind.CREATE, options=options))
    assert record.state is OperationState.SUCCEEDED, record.message
    assert StepKind.MAKE_FILESYSTEM not in host.performed
    assert EpochStore(store).read("data").number == 0


def test_create_refuses_a_plan_that_has_changed() -> None:
    host, store = FakeHost(array=None), MemoryStore()
    host.disk_list = _blank_disks()
    config = _uncreated()
    engine = Engine(
        config=config, host=host, store=store, clock=host.clock, on_change=lambda record: None
    )
    options = {"role": "first", "confirm": "000000000000"}
    record = run(engine, request(OperationKind.CREATE, options=options))
    assert record.state is OperationState.REFUSED
    assert host.performed == []


def test_assemble_waits_for_late_disks_up_to_its_bound() -> None:
    clock = FakeClock()
    host = FakeHost(clock=clock, array=None, missing=("alpha-3",))
    told: list[str] = []
    store = MemoryStore()
    engine = Engine(
        config=CONFIG,
        host=host,
        store=store,
        clock=clock,
        on_change=lambda record: told.append(record.message),
    )
    record = run(engine, request(OperationKind.ASSEMBLE, options={"wait_s": "5"}))
    assert record.state is OperationState.REFUSED
    assert "disk alpha-3 of data is not attached" in record.message
    assert sum("waiting for 1 disk(s)" in message for message in told) == 5
    assert host.performed == []


def _uncreated() -> AgentConfig:
    volume = volume_config()
    return agent_config(
        dataclasses.replace(
            volume,
            array=dataclasses.replace(volume.array, uuid={}),
            filesystem=dataclasses.replace(volume.filesystem, uuid=None),
        )
    )


def _blank_disks() -> tuple[Disk, ...]:
    return tuple(
        Disk(name=f"vd{i}", path=f"/dev/vd{i}", serial=serial, size_bytes=256 << 20)
        for i, serial in enumerate(SERIALS)
    )
