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
from storage_agent.model.operation import (
    OperationRecord,
    OperationRequest,
    OperationState,
    StepOutcome,
)
from storage_agent.model.plan import OperationKind
from storage_agent.policy.demotion import demotion_findings
from tests.unit.cli import answers, snapshots
from tests.unit.cli.answers import plan_of, record, status_result
from tests.unit.cli.golden import assert_golden
from tests.unit.cli.worlds import World
from tests.unit.fakes import volume_config

RUNNING, DONE = StepOutcome.RUNNING, StepOutcome.DONE
FAILED, UNDONE, ALREADY = StepOutcome.FAILED, StepOutcome.UNDONE, StepOutcome.ALREADY


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
        "status": status_result(snapshots.ready()),
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
        findings=(answers.blocked(),),
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
        "status": status_result(snapshots.split_brain()),
        "plan": plan_of(OperationKind.PROMOTE),
        "promote": moving(),
    }
    assert world.run(*off()) == expected
    assert ("promote" in [method for method, _ in world.asked]) == (expected == 0)


def test_confirm_alone_is_a_mistake() -> None:
    assert World().run("promote", "data", "--confirm", "beta") == 2


# -- demote ---------------------------------------------------------------------------------------


def test_a_demote_that_nobody_takes_over_names_what_it_takes_away() -> None:
    request = OperationRequest(kind=OperationKind.DEMOTE, volume="data", operation_id="x")
    findings = demotion_findings(volume_config(), snapshots.syncing(), request, "beta")
    world = World()
    world.answers["demote"] = record(
        OperationState.REFUSED,
        kind=OperationKind.DEMOTE,
        message=findings[0].summary,
        remedy=findings[0].remedy,
        findings=findings,
    )
    assert world.run("demote", "data") == 3
    assert_golden("demote-nobody-takes-over", world.err)


@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
def test_host_and_volume_named_are_sent(dry: tuple[str, ...]) -> None:
    world = World()
    world.answers["demote"] = record(kind=OperationKind.DEMOTE)
    world.answers["plan"] = plan_of(OperationKind.DEMOTE)
    assert world.run("demote", "data", "--yes-stop-serving", "alpha/data", *dry) == 0
    assert world.asked[0][1]["stop_serving"] == "alpha/data"
