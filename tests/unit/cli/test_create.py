"""`create`: what must be named or typed, and what is asked of the daemon."""

from __future__ import annotations

from typing import Any

import pytest

from storage_agent.model.operation import OperationState
from storage_agent.model.plan import OperationKind
from storage_agent.model.wire import to_wire
from tests.unit.cli import answers, snapshots
from tests.unit.cli.answers import plan_of, record, status_result
from tests.unit.cli.worlds import World


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
    assert world.out.endswith(
        "next, on beta: storage-agent create data --join\n"
        "then, so that both hosts' configurations are compared: storage-agent pair-secret data\n"
    )
    assert world.asked[-1] == (
        "create",
        {"volume": "data", "operation_id": "00000000000000aa", "role": "first", "confirm": digest},
    )


def test_the_second_host_is_told_what_serves() -> None:
    world = World()
    world.answers = creating()
    digest = world.answers["plan"]["digest"]
    assert world.run("create", "data", "--join", "--confirm", digest) == 0
    assert world.out.endswith("next, on the host that shall serve: storage-agent promote data\n")


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
    world.answers = creating(status=status_result(snapshots.serving()))
    assert world.run("create", "data", "--first") == expected
    for serial, path in (("alpha-0", "/dev/vdb"), ("alpha-3", "/dev/vde")):
        assert f"  {serial:<24}    20.0 GiB  {path}\n" in world.out
    assert ("create" in [method for method, _ in world.asked]) == (expected == 0)


def test_create_that_would_be_refused_is_not_even_asked_for() -> None:
    world = World(tty=True, typed="data\n")
    world.answers = creating()
    world.answers["plan"] = plan_of(OperationKind.CREATE, answers.blocked("DISK_IN_USE"))
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
            return status_result(snapshots.serving())
        return status_result(snapshots.syncing(left_bytes=gib * snapshots.GIB, at_s=at_s))

    world.answers = creating(status=status)
    assert world.run("create", "data", "--join") == 0
    assert "86.0 %  61.9/71.9 GiB" in world.out
    # The bar is gone at the end.
    assert "made on alpha, 3.2 s, epoch 7\nnext, on the host that shall serve: " in world.out


def abandoning(**more: Any) -> dict[str, Any]:
    done = record(OperationState.SUCCEEDED, kind=OperationKind.ABANDON, message="data: gone")
    return {"plan": plan_of(OperationKind.ABANDON), "abandon": [done], **more}


def test_abandon_names_what_it_erases_and_wants_it_confirmed() -> None:
    world = World()
    world.answers = abandoning()
    assert world.run("create", "data", "--abandon") == 3
    digest = world.answers["plan"]["digest"]
    assert f"then: storage-agent create data --abandon --confirm {digest}" in world.err
    assert world.asked == [("plan", {"operation": "abandon", "volume": "data"})]
    assert world.run("create", "data", "--abandon", "--confirm", digest) == 0
    assert world.asked[-1] == (
        "abandon",
        {"volume": "data", "operation_id": "00000000000000aa", "confirm": digest},
    )


@pytest.mark.parametrize(("typed", "expected"), [("data\n", 0), ("yes\n", 3)])
def test_abandon_on_a_terminal(typed: str, expected: int) -> None:
    world = World(tty=True, typed=typed)
    world.answers = abandoning()
    assert world.run("create", "data", "--abandon") == expected
    assert "/dev/vdb" in world.out
    assert "to erase it:" in world.out


def test_abandon_only_shown() -> None:
    world = World()
    world.answers = abandoning()
    assert world.run("create", "data", "--abandon", "--dry-run") == 0
    assert [method for method, _ in world.asked] == ["plan"]


# --- a copy made anew, and a degraded start ------------------------------------------------------


def standing(kind: OperationKind, readiness: Any = None, **more: Any) -> dict[str, Any]:
    done = record(OperationState.SUCCEEDED, kind=kind, message="secondary on alpha")
    status = status_result(snapshots.serving())
    if readiness is not None:
        status["readiness"]["data"] = readiness
    made = plan_of(OperationKind.CREATE, answers.blocked("ALREADY_CREATED"), role="join")

    def plan(params: Any) -> Any:
        return made if params["operation"] == "create" else plan_of(kind)

    return {"plan": plan, str(kind): [done], "status": status, **more}


LOST = {"verdict": "blocked", "findings": [to_wire(answers.blocked("METADATA_LOST"))]}


def test_join_of_a_replica_that_lost_its_metadata_makes_it_anew() -> None:
    world = World()
    world.answers = standing(OperationKind.REMAKE, LOST)
    assert world.run("create", "data", "--join") == 3
    digest = plan_of(OperationKind.REMAKE)["digest"]
    assert f"storage-agent create data --join --confirm {digest}" in world.err
    assert world.run("create", "data", "--join", "--dry-run") == 0
    assert world.asked[-1] == ("plan", {"operation": "remake", "volume": "data"})
    assert world.run("create", "data", "--join", "--confirm", digest) == 0
    assert "remake" in [method for method, _ in world.asked]
    # The first copy is never made of it.
    assert world.run("create", "data", "--first", "--confirm", digest) == 3
    assert world.asked[-1][1]["operation"] == "create"


def test_join_of_what_is_made_and_whole_is_refused() -> None:
    world = World()
    world.answers = standing(OperationKind.REMAKE)
    assert world.run("create", "data", "--join") == 3
    assert "ALREADY_CREATED" in world.err


def test_a_copy_made_anew_on_a_terminal_is_watched() -> None:
    world = World(tty=True, typed="data\n")
    world.answers = standing(OperationKind.REMAKE, LOST)
    assert world.run("create", "data", "--join") == 0
    assert "to ERASE this host's copy and take the other one's:" in world.out


@pytest.mark.parametrize(("typed", "expected"), [("data\n", 0), ("yes\n", 3)])
def test_a_degraded_start_wants_the_name(typed: str, expected: int) -> None:
    world = World(tty=True, typed=typed)
    world.answers = standing(OperationKind.ASSEMBLE_DEGRADED)
    assert world.run("assemble", "data", "--degraded") == expected
    assert "to start it without them:" in world.out


def test_a_degraded_start_by_digest_and_what_it_does_without() -> None:
    world = World()
    world.answers = standing(OperationKind.ASSEMBLE_DEGRADED)
    assert world.run("assemble", "data", "--degraded", "--dry-run") == 0
    assert world.run("assemble", "data", "--degraded") == 3
    digest = plan_of(OperationKind.ASSEMBLE_DEGRADED)["digest"]
    assert f"storage-agent assemble data --degraded --confirm {digest}" in world.err
    assert world.run("assemble", "data", "--degraded", "--confirm", digest) == 0
    assert world.asked[-1] == (
        "assemble-degraded",
        {"volume": "data", "operation_id": "00000000000000aa", "confirm": digest},
    )
    assert world.run("assemble", "data", "--degraded", "--wait", "3") == 2
    assert world.run("assemble", "data", "--confirm", digest) == 2
