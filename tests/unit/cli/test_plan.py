"""`plan` and `--dry-run`."""

from __future__ import annotations

import json

import pytest

from storage_agent.model.plan import OperationKind
from storage_agent.model.wire import to_wire
from tests.unit.cli import answers
from tests.unit.cli.answers import plan_of
from tests.unit.cli.golden import assert_golden
from tests.unit.cli.worlds import World
from tests.unit.fakes import SERIALS


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
    world.answers["plan"] = plan_of(OperationKind.PROMOTE, answers.blocked())
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
