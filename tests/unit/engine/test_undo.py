"""Steps that fail, or that nothing is seen of: taken back to where the volume was."""

from __future__ import annotations

import pytest

from storage_agent.engine.epoch import EpochStore
from storage_agent.model.errors import CommandStuck, OperationFailed
from storage_agent.model.operation import Marker, OperationState, StepOutcome
from storage_agent.model.plan import OperationKind, StepKind
from storage_agent.model.snapshot import Attachment
from tests.unit.engine.parts import (
    DEMOTION,
    PASSING,
    PROMOTION,
    is_secondary,
    is_serving,
    make_engine,
    request,
    run,
    served_marker,
    serving_host,
)
from tests.unit.fakes import FakeHost, MemoryStore
from tests.unit.replicas import in_sync_replica, lost_peer


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


@pytest.mark.parametrize("before", [None, served_marker(1)])
def test_a_marker_is_noted_only_as_it_was_written(before: Marker | None) -> None:
    host, store = FakeHost(deaf={StepKind.WRITE_MARKER}, marker=before), MemoryStore()
    record = run(make_engine(host, store), request(OperationKind.PROMOTE))
    assert record.state is OperationState.ROLLED_BACK
    assert "is not read back" in record.message
    assert is_secondary(host)
    assert EpochStore(store).last_marker("data") is None


def test_a_command_that_was_given_up_is_undone_although_nothing_is_seen_of_it() -> None:
    host = FakeHost()

    def hang() -> None:
        raise CommandStuck("drbdadm primary data does not end")

    host.faults[StepKind.PRIMARY] = hang
    record = run(make_engine(host, MemoryStore()), request(OperationKind.PROMOTE))
    assert record.state is OperationState.ROLLED_BACK
    assert host.performed == [StepKind.SECONDARY]


def test_a_goal_that_is_lost_again_while_later_steps_run_is_no_success() -> None:
    host = FakeHost()

    def lose_the_mount() -> None:
        host.mounted = False

    host.faults[StepKind.PROVE_EXPORT] = lose_the_mount
    record = run(make_engine(host, MemoryStore()), request(OperationKind.PROMOTE))
    assert record.state is OperationState.ROLLED_BACK
    assert "no longer so at the end" in record.message
    assert record.message.endswith("; now: secondary on alpha")
    assert is_secondary(host)


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


def test_an_undo_that_fails_leaves_no_grant_behind() -> None:
    host = FakeHost(
        replica=lost_peer(in_sync_replica()),
        attachment=Attachment(in_sync_until_loss=True),
    )

    def hang() -> None:
        raise CommandStuck("it waits")

    host.faults[StepKind.PRIMARY] = host.faults[StepKind.SECONDARY] = hang
    record = run(
        make_engine(host, MemoryStore()), request(OperationKind.PROMOTE, peer_is_off="beta")
    )
    assert record.state is OperationState.FAILED
    assert host.performed[-1] is StepKind.WITHDRAW_GRANT


def test_a_state_folder_that_fills_half_way_does_not_keep_the_undo_from_running() -> None:
    host, store = FakeHost(), MemoryStore()
    engine = make_engine(host, store)

    def fill() -> None:
        store.full = True

    host.faults[StepKind.MOUNT] = fill
    record = run(engine, request(OperationKind.PROMOTE))
    assert record.state is OperationState.ROLLED_BACK
    assert is_secondary(host)
