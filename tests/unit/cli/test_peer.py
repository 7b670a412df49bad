"""standalone, rejoin, split-brain: what is asked, what must be confirmed, what is shown."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from storage_agent.model.configuration import Arbitration
from storage_agent.model.operation import Marker, OperationRequest, OperationState
from storage_agent.model.plan import OperationKind
from storage_agent.model.replica import DiskState, Replica, ReplicationState
from storage_agent.model.snapshot import VolumeSnapshot
from storage_agent.operations.planners import make_plan
from storage_agent.policy.standalone import standing_alone
from tests.unit.cli import snapshots
from tests.unit.cli.answers import record, status_result
from tests.unit.cli.golden import assert_golden
from tests.unit.cli.snapshots import peer_view, replica_view
from tests.unit.cli.worlds import World
from tests.unit.fakes import FakeHost, agent_config, volume_config

ID = "00000000000000aa"
MARKER = Marker(
    epoch=7, counter=41, operation_id="aa", host="alpha", boot_id="b", wall_s=1_700_000_000.0
)


def plan_of(kind: OperationKind, *findings: Any, **options: str) -> dict[str, Any]:
    volume = volume_config()
    request = OperationRequest(kind=kind, volume="data", operation_id="plan", options=options)
    plan = make_plan(volume, FakeHost().observe(volume), request)
    return {"plan": plan, "digest": plan.digest(), "findings": findings}


def ended(kind: OperationKind, message: str, *findings: Any) -> Any:
    return record(
        OperationState.SUCCEEDED, kind=kind, message=message, findings=findings, epoch=None
    )


def asked(world: World) -> list[str]:
    return [method for method, _ in world.asked]


# -- standalone -----------------------------------------------------------------------------------


def test_standalone_is_one_command_and_ends_loudly() -> None:
    replica = snapshots.standing_alone().replica
    assert isinstance(replica, Replica)
    warning = standing_alone(volume_config(), replica, "beta")
    message = "serving on alpha, standing alone: NO FALLBACK"
    world = World()
    world.answers["standalone"] = ended(OperationKind.STANDALONE, message, warning)
    assert world.run("standalone", "data") == 0
    assert_golden("standalone", world.out)
    assert world.asked == [("standalone", {"volume": "data", "operation_id": ID})]


def arbitrated(typed: str = "", *, tty: bool = False) -> World:
    world = World(tty=tty, typed=typed)
    volume = dataclasses.replace(volume_config(), arbitration=Arbitration.COORDINATOR)
    local: Any = world.context.local
    local.loaded = agent_config(volume)
    world.answers = {
        "plan": plan_of(OperationKind.STANDALONE),
        "standalone": ended(OperationKind.STANDALONE, "serving on alpha"),
    }
    return world


def test_with_a_coordinator_it_must_be_confirmed() -> None:
    world = arbitrated()
    assert world.run("standalone", "data") == 3
    digest = world.answers["plan"]["digest"]
    assert f"storage-agent standalone data --confirm {digest}" in world.err
    assert asked(world) == ["plan"]


@pytest.mark.parametrize(("typed", "expected"), [("data\n", 0), ("yes\n", 3), ("", 3)])
def test_with_a_coordinator_the_name_is_typed(typed: str, expected: int) -> None:
    world = arbitrated(typed, tty=True)
    assert world.run("standalone", "data") == expected
    assert ("standalone" in asked(world)) == (expected == 0)
    if expected == 0:
        assert world.asked[-1][1]["confirm"] == world.answers["plan"]["digest"]


# -- rejoin ---------------------------------------------------------------------------------------


def syncing(behind: int) -> dict[str, Any]:
    return status_result(
        snapshots.serving(
            replica=replica_view(
                peer=peer_view(
                    disk=DiskState.INCONSISTENT,
                    replication=ReplicationState.SYNC_SOURCE,
                    out_of_sync_bytes=behind,
                )
            )
        )
    )


def rejoining(*statuses: dict[str, Any]) -> World:
    world = World()
    left = iter(statuses)
    world.answers = {
        "rejoin": ended(OperationKind.REJOIN, "serving on alpha"),
        "status": lambda _: next(left),
    }
    return world


def test_rejoin_does_not_wait_by_itself() -> None:
    world = rejoining()
    assert world.run("rejoin", "data") == 0
    assert asked(world) == ["rejoin"]


def test_rejoin_shows_the_resync_to_its_end() -> None:
    world = rejoining(syncing(20 << 30), syncing(10 << 30), status_result(snapshots.serving()))
    assert world.run("rejoin", "data", "--wait") == 0
    assert "data  resync to beta  [" in world.out
    assert asked(world) == ["rejoin", "status", "status", "status"]


def test_rejoin_stops_watching_in_time() -> None:
    world = rejoining(*[syncing(20 << 30)] * 5)
    assert world.run("rejoin", "data", "--wait", "3") == 6
    assert "not in sync after 3 s; DRBD goes on by itself" in world.err


@pytest.mark.parametrize(
    ("snapshot", "words"),
    [
        (snapshots.split_brain(), "SPLIT BRAIN"),
        (snapshots.standing_alone(), "dropped the connection"),
    ],
)
def test_rejoin_tells_when_drbd_drops_it_again(snapshot: VolumeSnapshot, words: str) -> None:
    world = rejoining(syncing(20 << 30), status_result(snapshot))
    assert world.run("rejoin", "data", "--wait") == 3
    assert words in world.err


# -- split-brain ----------------------------------------------------------------------------------


def test_without_a_choice_it_only_shows() -> None:
    world = World()
    snapshot = dataclasses.replace(snapshots.split_brain(), marker=MARKER)
    world.answers["status"] = status_result(snapshot)
    assert world.run("split-brain", "data") == 0
    assert_golden("split-brain", world.out)
    assert asked(world) == ["status"]


def test_without_a_split_brain_it_says_so() -> None:
    world = World()
    world.answers["status"] = status_result(snapshots.serving())
    assert world.run("split-brain", "data") == 0
    assert "no split brain of data is known on alpha" in world.out


def splitting(choice: str, typed: str = "", *, tty: bool = False) -> World:
    world = World(tty=tty, typed=typed)
    world.answers = {
        "status": status_result(snapshots.split_brain()),
        "plan": plan_of(OperationKind.SPLIT_BRAIN, choice=choice),
        "split-brain": ended(OperationKind.SPLIT_BRAIN, "secondary on alpha"),
    }
    return world


@pytest.mark.parametrize(("typed", "expected"), [("data\n", 0), ("y\n", 3), ("", 3)])
def test_discard_shows_what_is_lost_and_wants_the_name(typed: str, expected: int) -> None:
    world = splitting("discard", typed, tty=True)
    assert world.run("split-brain", "data", "--discard") == expected
    assert "64.0 KiB (65536 bytes) that were written on alpha" in world.out
    assert "drbdadm connect --discard-my-data data" in world.out
    assert ("split-brain" in asked(world)) == (expected == 0)


def test_discard_without_a_terminal_wants_the_plans_digest() -> None:
    world = splitting("discard")
    assert world.run("split-brain", "data", "--discard") == 3
    digest = world.answers["plan"]["digest"]
    assert f"storage-agent split-brain data --discard --confirm {digest}" in world.err
    again = splitting("discard")
    assert again.run("split-brain", "data", "--discard", "--confirm", digest) == 0
    params = {"volume": "data", "operation_id": ID, "choice": "discard", "confirm": digest}
    assert again.asked[-1] == ("split-brain", params)


def test_a_digest_of_keep_is_none_of_discard() -> None:
    world = splitting("discard")
    digest = plan_of(OperationKind.SPLIT_BRAIN, choice="keep")["digest"]
    assert world.run("split-brain", "data", "--discard", "--confirm", digest) == 3
    assert "split-brain" not in asked(world)


def test_keep_gives_nothing_up_and_asks_nothing() -> None:
    world = splitting("keep")
    assert world.run("split-brain", "data", "--keep") == 0
    assert world.asked[-1][1]["choice"] == "keep"


def test_both_choices_are_a_mistake() -> None:
    assert World().run("split-brain", "data", "--keep", "--discard") == 2
