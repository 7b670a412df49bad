"""promote, demote, assemble, create and plan: what is asked of the daemon, what is shown, what must
be confirmed, and the exit status of every way it can end."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import pytest

from storage_agent.cli.client import Disconnected, Silent
from storage_agent.cli.render_operation import ProgressPrinter
from storage_agent.cli.terminal import Screen
from storage_agent.model import errors
from storage_agent.model.operation import OperationRecord, OperationState, StepOutcome
from storage_agent.model.plan import OperationKind, Plan, Step, StepKind
from storage_agent.model.wire import to_wire
from tests.unit.cli import worlds
from tests.unit.cli.golden import assert_golden
from tests.unit.cli.worlds import World, record, status_result
from tests.unit.fakes import SERIALS

RUNNING, DONE = StepOutcome.RUNNING, StepOutcome.DONE
FAILED, UNDONE, ALREADY = StepOutcome.FAILED, StepOutcome.UNDONE, StepOutcome.ALREADY


def plan_of(kind: OperationKind, *findings: Any, **options: str) -> dict[str, Any]:
    steps = (
        Step(
            kind=StepKind.PRIMARY,
            title="make DRBD primary",
            commands=("drbdadm primary data",),
            check="role: Primary",
            undo=StepKind.SECONDARY,
            timeout_s=30,
        ),
        Step(
            kind=StepKind.MOUNT,
            title="mount /srv/data",
            commands=("mount -t ext4 /dev/drbd0 /srv/data",),
            check="mounted, read-write",
            undo=None,
            timeout_s=60,
        ),
    )
    plan = Plan(operation=kind, volume="data", host="alpha", steps=steps, options=options)
    return {"plan": plan, "digest": plan.digest(), "findings": findings}


def moving() -> list[Any]:
    """A promotion as the daemon tells it."""
    state = OperationState.RUNNING
    return [
        record(state, RUNNING),
        record(state, DONE, RUNNING),
        record(state, DONE, ALREADY, RUNNING),
        record(OperationState.SUCCEEDED, DONE, ALREADY, DONE),
    ]


# -- the good case --------------------------------------------------------------------------------


def test_promote_prints_a_line_a_step() -> None:
    world = World()
    world.answers["promote"] = moving()
    assert world.run("promote", "data") == 0
    assert_golden("promote", world.out)
    assert world.err == ""
    assert world.asked == [("promote", {"volume": "data", "operation_id": "00000000000000aa"})]


def test_on_a_terminal_the_running_step_is_replaced_in_place() -> None:
    world = World(tty=True)
    world.answers = {
        "status": status_result(worlds.ready()),
        "plan": plan_of(OperationKind.PROMOTE),
        "promote": moving(),
    }
    assert world.run("promote", "data") == 0
    assert "alpha (Secondary, UpToDate)  <== in sync ==>  beta (Secondary, UpToDate)" in world.out
    assert "on alpha: make DRBD primary; mount /srv/data" in world.out
    assert (
        "\r\x1b[K  … mount /srv/data  0.0 s\r\x1b[K  ✓ mount /srv/data  already so\n" in world.out
    )


def test_a_terminal_without_utf8_gets_words() -> None:
    world = World()
    world.context.out.unicode = False
    world.answers["promote"] = moving()
    world.run("promote", "data")
    assert "  ok make DRBD primary  0.3 s\n" in world.out


def test_with_json_stdout_has_the_answer_alone() -> None:
    world = World()
    world.answers["promote"] = moving()
    assert world.run("promote", "data", "--json", "--epoch", "7", "--operation-id", "aa") == 0
    shown = json.loads(world.out)
    assert (shown["ok"], shown["changed"]) == (True, True)
    assert shown["data"]["state"] == "succeeded"
    assert world.asked[0][1] == {"volume": "data", "operation_id": "aa", "epoch": 7}


def test_waiting_for_late_devices_is_told() -> None:
    def waiting(left_s: int) -> OperationRecord:
        text = f"waiting for 1 disk, {left_s} s left: disk alpha-3 of data is not attached"
        return record(OperationState.RUNNING, kind=OperationKind.ASSEMBLE, message=text)

    screen = Screen(stream=io.StringIO())
    printer = ProgressPrinter(screen)
    for second in range(25):
        printer.update(waiting(60 - second), 100.0 + second)
    assert isinstance(screen.stream, io.StringIO)
    assert [line.split(",")[1] for line in screen.stream.getvalue().splitlines()] == [
        " 50 s left: disk alpha-3 of data is not attached",
        " 40 s left: disk alpha-3 of data is not attached",
    ]
    terminal = Screen(stream=io.StringIO(), is_terminal=True)
    ProgressPrinter(terminal).update(waiting(60), 100.0)
    assert isinstance(terminal.stream, io.StringIO)
    assert "\r\x1b[K  waiting for 1 disk, 60 s left" in terminal.stream.getvalue()


# -- every other end ------------------------------------------------------------------------------


def test_a_failed_step_that_was_rolled_back() -> None:
    world = World()
    world.answers["promote"] = [
        record(OperationState.RUNNING, DONE, FAILED),
        record(
            OperationState.ROLLED_BACK,
            DONE,
            FAILED,
            UNDONE,
            message="data: mount failed, everything was undone: secondary on alpha",
            remedy="findmnt /srv/data",
        ),
    ]
    assert world.run("promote", "data") == 1
    assert_golden("promote-rolled-back", world.out + world.err)


def test_a_refusal_shows_its_reasons() -> None:
    world = World()
    world.answers["promote"] = record(
        OperationState.REFUSED,
        message="promote data: refused",
        remedy="on beta: storage-agent demote data",
        findings=(worlds.blocked(),),
    )
    assert world.run("promote", "data") == 3
    assert_golden("promote-refused", world.out + world.err)


def raised(kind: type[errors.AgentError]) -> errors.AgentError:
    return kind("it did not work", remedy="look")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (raised(errors.OperationFailed), 1),
        (raised(errors.UsageError), 2),
        (raised(errors.Refused), 3),
        (raised(errors.NotPermitted), 4),
        (raised(errors.Busy), 5),
        (raised(errors.OutcomeUnknown), 6),
        (raised(errors.Missing), 7),
        (raised(errors.ConfigurationError), 8),
    ],
)
def test_the_daemons_errors_keep_their_exit_status(
    error: errors.AgentError, expected: int
) -> None:  # fmt: skip
    world = World()
    world.answers["demote"] = error
    assert world.run("demote", "data") == expected
    assert world.err == "storage-agent: it did not work\n  try: look\n"
    again = World()
    again.answers["demote"] = error
    assert again.run("demote", "data", "--json") == expected
    shown = json.loads(again.out)
    assert shown["ok"] is False
    assert shown["error"]["exit_status"] == expected


def test_a_step_that_says_nothing_for_too_long_is_an_unknown_outcome() -> None:
    world = World()
    world.answers["promote"] = Silent("no answer within 660 s")
    assert world.run("promote", "data") == 6
    assert "storage-agent operation 00000000000000aa" in world.err


def test_ctrl_c_leaves_the_operation_running_and_says_how_to_find_it() -> None:
    world = World()
    world.answers["promote"] = KeyboardInterrupt()
    assert world.run("promote", "data") == 6
    assert "no longer watching; promote data goes on in the daemon" in world.err
    assert "try: storage-agent operation 00000000000000aa" in world.err


def test_a_restarted_daemon_is_asked_again_until_the_operation_has_ended() -> None:
    world = World()
    world.answers["promote"] = Disconnected("the connection ended")
    shows: Iterator[Any] = iter(
        [
            Disconnected("not yet"),
            record(OperationState.RUNNING, DONE, RUNNING),
            record(OperationState.SUCCEEDED, DONE, DONE, DONE),
        ]
    )
    world.answers["operation.show"] = lambda _: next(shows)
    assert world.run("promote", "data") == 0
    assert "✓ start the NFS server" in world.out


def test_a_daemon_that_stays_away_is_an_unknown_outcome() -> None:
    world = World()
    world.answers["promote"] = Disconnected("the connection ended")
    world.answers["operation.show"] = Disconnected("still down")
    before_s = world.clock.now_s
    assert world.run("promote", "data") == 6
    assert 60 <= world.clock.now_s - before_s < 65


def test_an_operation_that_the_daemon_does_not_know_afterwards_is_unknown_too() -> None:
    world = World()
    world.answers["promote"] = Disconnected("the connection ended")
    world.answers["operation.show"] = errors.UsageError("there is no operation")
    assert world.run("promote", "data") == 6


# -- the peer is off ------------------------------------------------------------------------------


def off(*more: str) -> tuple[str, ...]:
    return ("promote", "data", "--peer-is-off", "beta", *more)


def test_without_a_terminal_the_host_must_be_named_twice() -> None:
    world = World()
    assert world.run(*off()) == 3
    assert "try: make sure that it is, then add: --confirm beta" in world.err
    assert world.asked == []
    world = World()
    assert world.run(*off("--confirm", "alpha")) == 3
    assert world.asked == []


def test_confirmed_it_is_sent() -> None:
    world = World()
    world.answers["promote"] = moving()
    assert world.run(*off("--confirm", "beta")) == 0
    assert world.asked[0][1]["peer_is_off"] == "beta"


@pytest.mark.parametrize(("typed", "expected"), [("beta\n", 0), ("y\n", 3), ("", 3)])
def test_on_a_terminal_the_name_is_typed(typed: str, expected: int) -> None:
    world = World(tty=True, typed=typed)
    world.answers = {
        "status": status_result(worlds.split_brain()),
        "plan": plan_of(OperationKind.PROMOTE),
        "promote": moving(),
    }
    assert world.run(*off()) == expected
    assert ("promote" in [method for method, _ in world.asked]) == (expected == 0)


def test_confirm_alone_is_a_mistake() -> None:
    assert World().run("promote", "data", "--confirm", "beta") == 2


# -- create ---------------------------------------------------------------------------------------


def creating(**more: Any) -> dict[str, Any]:
    return {
        "plan": plan_of(OperationKind.CREATE, role="first"),
        "create": [
            record(
                OperationState.SUCCEEDED,
                kind=OperationKind.CREATE,
                message="data: made on alpha",
            )
        ],
        **more,
    }


def test_create_needs_a_role() -> None:
    world = World()
    assert world.run("create", "data") == 2
    assert "--first" in world.err


def test_create_without_a_terminal_names_the_option_and_the_digest() -> None:
    world = World()
    world.answers = creating()
    assert world.run("create", "data", "--first") == 3
    digest = world.answers["plan"]["digest"]
    assert f"then: storage-agent create data --first --confirm {digest}" in world.err
    assert [method for method, _ in world.asked] == ["plan"]


def test_create_with_the_plans_digest() -> None:
    world = World()
    world.answers = creating()
    digest = world.answers["plan"]["digest"]
    assert world.run("create", "data", "--first", "--confirm", digest) == 0
    assert world.asked[-1] == (
        "create",
        {"volume": "data", "operation_id": "00000000000000aa", "role": "first", "confirm": digest},
    )


def test_create_with_an_old_digest_is_refused() -> None:
    world = World()
    world.answers = creating()
    assert world.run("create", "data", "--first", "--confirm", "0" * 12) == 3
    assert [method for method, _ in world.asked] == ["plan"]


@pytest.mark.parametrize(("typed", "expected"), [("data\n", 0), ("yes\n", 3)])
def test_create_on_a_terminal_shows_every_disk_and_wants_the_name(
    typed: str, expected: int
) -> None:
    world = World(tty=True, typed=typed)
    world.answers = creating(status=status_result(worlds.serving()))
    assert world.run("create", "data", "--first") == expected
    for serial, path in (("alpha-0", "/dev/vdb"), ("alpha-3", "/dev/vde")):
        assert f"  {serial:<24}    20.0 GiB  {path}\n" in world.out
    assert ("create" in [method for method, _ in world.asked]) == (expected == 0)


def test_create_that_would_be_refused_is_not_even_asked_for() -> None:
    world = World(tty=True, typed="data\n")
    world.answers = creating()
    world.answers["plan"] = plan_of(OperationKind.CREATE, worlds.blocked("DISK_IN_USE"))
    assert world.run("create", "data", "--first") == 3
    assert "DISK_IN_USE" in world.err
    assert [method for method, _ in world.asked] == ["plan"]


def test_after_join_on_a_terminal_the_first_sync_is_shown_to_its_end() -> None:
    world = World(tty=True, typed="data\n")
    left = iter([20, 10])

    def status(_: object) -> object:
        gib = next(left, None)
        at_s = world.clock.now_s
        if gib is None:
            return status_result(worlds.serving())
        return status_result(worlds.syncing(left_bytes=gib * worlds.GIB, at_s=at_s))

    world.answers = creating(status=status)
    assert world.run("create", "data", "--join") == 0
    assert "86.0 %  61.9/71.9 GiB" in world.out
    # The bar is gone at the end.
    assert world.out.rstrip().endswith("made on alpha, 3.2 s, epoch 7")


# -- plan and --dry-run ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments", [("plan", "promote", "data"), ("promote", "data", "--dry-run")]
)
def test_a_plan_can_be_read_and_run_by_hand(arguments: tuple[str, ...]) -> None:
    world = World()
    world.answers["plan"] = plan_of(OperationKind.PROMOTE)
    assert world.run(*arguments) == 0
    assert_golden("plan-promote", world.out)
    assert world.asked == [("plan", {"operation": "promote", "volume": "data"})]


def test_a_plan_that_would_be_refused_exits_3_and_is_shown_all_the_same() -> None:
    world = World()
    world.answers["plan"] = plan_of(OperationKind.PROMOTE, worlds.blocked())
    assert world.run("plan", "promote", "data") == 3
    assert_golden("plan-refused", world.out + world.err)


def test_a_plan_of_create_lists_the_disks() -> None:
    world = World()
    world.answers["plan"] = plan_of(OperationKind.CREATE, role="join")
    assert world.run("create", "data", "--join", "--dry-run", "--json") == 0
    shown = json.loads(world.out)["data"]
    assert [disk["serial"] for disk in shown["disks"]] == list(SERIALS)
    assert shown["digest"] == world.answers["plan"]["digest"]


@pytest.mark.parametrize(
    "arguments", [("plan", "create", "data"), ("plan", "demote", "data", "--first")]
)
def test_the_role_belongs_to_create(arguments: tuple[str, ...]) -> None:
    assert World().run(*arguments) == 2


def test_a_plan_as_json_is_the_daemons() -> None:
    world = World()
    world.answers["plan"] = plan_of(OperationKind.DEMOTE)
    assert world.run("plan", "demote", "data", "--json") == 0
    shown = json.loads(world.out)["data"]
    assert shown["plan"] == to_wire(world.answers["plan"]["plan"])
