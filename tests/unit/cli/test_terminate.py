"""safe-to-terminate: 0 only where nobody loses anything, 3 with every reason, also for the
unknown."""

from __future__ import annotations

import json
from typing import Any

import pytest

from storage_agent.cli.client import Silent
from storage_agent.model.errors import AgentError, ConfigurationError, OperationFailed
from storage_agent.model.operation import OperationState
from storage_agent.model.replica import DiskState, Role
from storage_agent.model.wire import to_wire
from tests.unit.cli import snapshots
from tests.unit.cli.answers import record, status_result
from tests.unit.cli.golden import assert_golden
from tests.unit.cli.worlds import World


def world_of(*volumes: Any, **more: Any) -> World:
    world = World()
    world.local.snapshot = status_result(*volumes, agent_version="", **more)
    world.answers["status"] = status_result(*volumes)
    return world


def codes(world: World) -> list[str]:
    assert world.run("safe-to-terminate", "--json") == 3
    answer = json.loads(world.out)
    assert answer["ok"] is False
    assert answer["data"] == {"safe": False}
    return [finding["code"] for finding in answer["findings"]]


def test_a_secondary_with_a_good_peer_may_go() -> None:
    world = world_of(snapshots.secondary())
    assert world.run("safe-to-terminate") == 0
    assert_golden("terminate-safe", world.out)
    assert world.err == ""


def test_a_serving_host_may_not() -> None:
    world = world_of(snapshots.serving())
    assert world.run("safe-to-terminate") == 3
    assert_golden("terminate-serving", world.out)
    assert world.err.startswith("storage-agent: this host must not be terminated: alpha is Primary")


def test_the_only_good_copy_may_not_even_as_a_secondary() -> None:
    peer = snapshots.peer_view(disk=DiskState.INCONSISTENT)
    replica = snapshots.replica_view(role=Role.SECONDARY, peer=peer)
    assert codes(world_of(snapshots.secondary(replica=replica))) == ["ONLY_GOOD_COPY"]


def test_with_the_daemon_down_it_looks_all_the_same() -> None:
    world = world_of(snapshots.secondary())
    world.down = FileNotFoundError(2, "No such file or directory")
    assert world.run("safe-to-terminate") == 0
    assert "looked directly" in world.err


def test_what_a_dead_daemon_left_unfinished() -> None:
    unfinished = to_wire([record(OperationState.RUNNING)])
    world = world_of(snapshots.secondary(), operations=unfinished)
    world.down = ConnectionRefusedError(111, "Connection refused")
    assert codes(world) == ["OPERATION_RUNNING"]


def test_what_a_living_daemon_is_at() -> None:
    world = world_of(snapshots.secondary())
    running = to_wire([record(OperationState.RUNNING)])
    world.answers["status"] = status_result(snapshots.secondary(), operations=running)
    assert codes(world) == ["OPERATION_RUNNING"]


def test_a_daemon_that_does_not_answer_is_unknown() -> None:
    world = world_of(snapshots.secondary())
    world.answers["status"] = Silent("no answer within 15 s")
    assert codes(world) == ["UNOBSERVED"]


@pytest.mark.parametrize(
    "problem", [OperationFailed("/proc is not there"), ConfigurationError("agent.toml:3: wrong")]
)
def test_what_cannot_be_looked_at_is_unknown(problem: AgentError) -> None:
    world = world_of(snapshots.secondary())
    if isinstance(problem, ConfigurationError):
        world.local.loaded = problem
    else:
        world.local.snapshot = problem
    assert codes(world) == ["UNOBSERVED"]


@pytest.mark.parametrize(
    "problem",
    [
        {"problems": [{"code": "X", "message": "/var/lib/storage-agent: Input/output error"}]},
        {"unseen": ("/proc/drbd: not a version",)},
    ],
)
def test_what_was_not_all_seen_is_unknown(problem: dict[str, Any]) -> None:
    assert codes(world_of(snapshots.secondary(), **problem)) == ["UNOBSERVED"]


def test_a_host_without_configuration_may_go_unless_it_has_a_replica() -> None:
    world = World()
    world.local.has_files, world.local.devices = False, ()
    assert world.run("safe-to-terminate") == 0
    lost = World()
    lost.local.has_files = False
    assert codes(lost) == ["REPLICA_UNKNOWN"]


def test_whether_it_serves_is_asked_apart_from_what_its_copy_is_worth() -> None:
    """What the package's removal wants to know."""
    peer = snapshots.peer_view(disk=DiskState.INCONSISTENT)
    replica = snapshots.replica_view(role=Role.SECONDARY, peer=peer)
    alone = world_of(snapshots.secondary(replica=replica))
    assert alone.run("safe-to-terminate", "--serving") == 0
    assert alone.out.startswith("nobody is served from this host\n")
    serving = world_of(snapshots.serving())
    assert serving.run("safe-to-terminate", "--serving") == 3
    assert "VOLUME_EXPORTED" in serving.out
    blind = world_of(snapshots.unknown())
    assert blind.run("safe-to-terminate", "--serving") == 3
    assert "UNOBSERVED" in blind.out


def test_only_root_can_tell() -> None:
    assert World(root=False).run("safe-to-terminate") == 4
