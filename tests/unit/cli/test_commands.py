"""events, operation, config, explain, and the command line itself."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterator

import pytest

from storage_agent.model.errors import ConfigurationError
from storage_agent.model.operation import OperationState, StepOutcome
from tests.unit.cli import answers, snapshots
from tests.unit.cli.answers import record
from tests.unit.cli.golden import assert_golden
from tests.unit.cli.worlds import World
from tests.unit.fakes import agent_config


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


EVENTS = [
    {"wall_s": 1_700_000_000.0, "volume": "data", "text": "data: replica yes"},
    {"wall_s": 1_700_000_001.5, "volume": None, "text": "configuration read again"},
    {"wall_s": 1_700_000_002.0, "volume": "data", "text": "promote succeeded",
     "operation_id": "00aa"},
]  # fmt: skip


def test_events() -> None:
    world = World()
    world.answers["events"] = {"events": EVENTS}
    assert world.run("events", "--limit", "3") == 0
    assert_golden("events", world.out)
    assert world.asked == [("events", {"limit": 3})]


def test_follow_shows_each_event_once() -> None:
    world = World()
    looks = iter([EVENTS[:1], EVENTS[:2], EVENTS])

    def answer(_: object) -> object:
        found = next(looks, None)
        if found is None:
            raise KeyboardInterrupt
        return {"events": found}

    world.answers["events"] = answer
    assert world.run("events", "--follow", "--json") == 0
    assert [json.loads(line) for line in world.out.splitlines()] == EVENTS


def test_a_limit_below_one_is_a_mistake() -> None:
    assert World().run("events", "--limit", "0") == 2


def test_one_operation_with_its_steps() -> None:
    world = World()
    world.answers["operation.show"] = record(
        OperationState.FAILED,
        StepOutcome.UNDO_FAILED,
        StepOutcome.FAILED,
        message="data: primary on alpha, not mounted",
        remedy="storage-agent demote data",
    )
    assert world.run("operation", "00000000000000aa") == 0
    assert_golden("operation", world.out)


def test_the_last_operations() -> None:
    world = World()
    world.answers["operation.list"] = {"operations": [record()]}
    assert world.run("operation") == 0
    assert world.out == (
        "2023-11-14 22:29:50  data  promote 00000000000000aa: succeeded, data: serving on alpha\n"
    )


def test_no_operation_yet() -> None:
    world = World()
    world.answers["operation.list"] = {"operations": []}
    world.run("operation")
    assert world.out == "no operation is recorded\n"


# -- config ---------------------------------------------------------------------------------------


def test_a_good_configuration() -> None:
    world = World()
    world.answers["config.show"] = {"config": agent_config(), "digest": "", "note": ""}
    assert world.run("config", "check") == 0
    assert world.out == "ok: host alpha, 1 volume: data\n"


def test_a_configuration_that_the_daemon_has_not_read() -> None:
    world = World()
    empty = dataclasses.replace(agent_config(), volumes={})
    world.answers["config.show"] = {"config": empty, "digest": "", "note": ""}
    assert world.run("config", "check") == 0
    assert world.out == (
        "ok: host alpha, 1 volume: data\n"
        "the daemon has not read it yet: systemctl reload storage-agentd\n"
    )


def test_where_no_daemon_can_be_asked_the_files_alone_are_checked() -> None:
    world = World()
    world.down = FileNotFoundError("no such socket")
    assert world.run("config", "check") == 0
    assert world.out == "ok: host alpha, 1 volume: data\n"


def test_one_problem_is_one_line_with_file_and_line() -> None:
    world = World()
    world.local.problems = ("/etc/storage-agent/agent.toml:7: error: unknown key 'adress'",)
    assert world.run("config", "check") == 8
    assert world.err == (
        "storage-agent: /etc/storage-agent/agent.toml:7: error: unknown key 'adress'\n"
        "  try: correct the file, then: storage-agent config check\n"
    )


def test_several_problems_are_all_listed() -> None:
    world = World()
    world.local.problems = ("a.toml:1: error: x", "a.toml:2: error: y")
    assert world.run("config", "check", "--json") == 8
    assert world.err.startswith("a.toml:1: error: x\na.toml:2: error: y\nstorage-agent: 2 problems")
    assert json.loads(world.out)["data"]["problems"] == list(world.local.problems)


def test_show_with_origins() -> None:
    world = World()
    assert world.run("config", "show", "--origin") == 0
    assert world.out == (
        'host = "alpha"\nhosts.beta.address = "10.8.0.2"   # /etc/storage-agent/agent.toml:5\n'
    )


# -- explain --------------------------------------------------------------------------------------


def test_explain() -> None:
    world = World()
    assert world.run("explain", "daemon_down") == 0
    assert_golden("explain", world.out)


def test_explain_of_an_unknown_code_names_the_nearest() -> None:
    world = World()
    assert world.run("explain", "DAEMON_DWON") == 2
    assert world.err.endswith("try: did you mean DAEMON_DOWN?\n")


# -- the command line -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("foo",),
        ("status", "a", "b"),
        ("status", "--watch", "never"),
        ("promote",),
        ("promote", "data", "--force"),
        ("promote", "data", "--epoch", "seven"),
        ("config",),
        ("config", "edit"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(arguments: tuple[str, ...]) -> None:
    world = World()
    assert world.run(*arguments) == 2
    what, remedy = world.err.splitlines()
    assert what.startswith("storage-agent: ")
    assert remedy.startswith("  try: storage-agent")
    assert world.asked == []


def test_a_mistake_with_json_is_json() -> None:
    world = World()
    assert world.run("promote", "--json") == 2
    assert json.loads(world.out)["error"]["code"] == "USAGE"


def test_a_fault_of_our_own_is_one_line() -> None:
    world = World()
    world.answers["status"] = RuntimeError("oops")
    assert world.run("status") == 1
    assert world.err == (
        "storage-agent: internal error: RuntimeError: oops\n  try: please report it\n"
    )


def test_options_are_not_guessed_from_their_beginning() -> None:
    assert World().run("promote", "data", "--peer", "beta") == 2


def test_a_wrong_configuration_does_not_keep_status_from_working() -> None:
    world = World()
    world.local.loaded = ConfigurationError("agent.toml:1: not TOML")
    world.answers["status"] = answers.status_result(snapshots.serving())
    assert world.run("status") == 0
    assert "ready to move to the peer" in world.out
