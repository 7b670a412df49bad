"""A planned move, on two real agents: where it ends, and that it can be begun again anywhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage_agent.coordinator.coordinator import Coordinator
from storage_agent.coordinator.hooks import Giving
from storage_agent.coordinator.move_check import check_move
from storage_agent.coordinator.switchover import Moved, switch_over
from storage_agent.model.errors import AgentError, OperationFailed, OutcomeUnknown, Refused
from storage_agent.model.finding import blockers
from storage_agent.model.nfs import ServerState
from storage_agent.model.operation import OperationRecord
from storage_agent.model.plan import StepKind
from storage_agent.model.replica import Role
from tests.unit.coordinator.pair import (
    FIRST_EPOCH,
    VOLUME,
    Killed,
    Pair,
    make_coordinator,
    performed,
)
from tests.unit.replicas import in_sync_replica
from tests.unit.service.parts import wait_until


def test_adoption_raises_both_epochs(pair: Pair, coordinator: Coordinator) -> None:
    state = coordinator.store.get(VOLUME.key)
    assert state is not None
    assert (state.epoch, state.owner, state.sole) == (FIRST_EPOCH + 1, "alpha", None)
    assert (pair.epoch("alpha"), pair.epoch("beta")) == (FIRST_EPOCH + 1, FIRST_EPOCH + 1)


def test_it_moves_with_one_epoch(pair: Pair, coordinator: Coordinator) -> None:
    seen: list[tuple[str, OperationRecord]] = []
    moved = switch_over(
        coordinator, VOLUME, "beta", on_progress=lambda h, r: seen.append((h, r))
    )  # fmt: skip
    assert pair.serving() == ["beta"]
    assert (moved.source, moved.target, moved.epoch) == ("alpha", "beta", FIRST_EPOCH + 2)
    assert pair.epoch("alpha") == pair.epoch("beta") == FIRST_EPOCH + 2
    assert {host for host, _ in seen} == {"alpha", "beta"}
    state = coordinator.store.get(VOLUME.key)
    assert state is not None
    assert state.owner == "beta"
    assert state.grant is not None
    assert state.grant.is_done
    # And back, and a second time the same is nothing.
    switch_over(coordinator, VOLUME, "alpha")
    assert pair.serving() == ["alpha"]
    assert switch_over(coordinator, VOLUME, "alpha").is_already


def test_the_target_is_prepared_before_clients_notice(pair: Pair, coordinator: Coordinator) -> None:
    switch_over(coordinator, VOLUME, "beta")
    methods = [m for m in pair.asked if m[1] in ("assemble", "demote", "promote")]
    assert methods == [("beta", "promote"), ("alpha", "demote")]
    steps = performed(pair, "beta")
    assert steps.index(StepKind.WAIT_FOR_PEER) < steps.index(StepKind.PRIMARY)


def expected(pair: Pair) -> list[tuple[str, str, str | None]]:
    """Host, operation, and who was named as primary; oldest first."""
    found = [
        (record.started_wall_s, host, str(record.request.kind), record.request.expected_primary)
        for host, agent in pair.agents.items()
        for record in agent.engine.history(50)
    ]
    return [one[1:] for one in sorted(found)]


def test_each_operation_names_the_primary_that_was_seen(
    pair: Pair, coordinator: Coordinator
) -> None:
    def fail() -> None:
        raise OperationFailed("nfsd does not start")

    pair.hosts["beta"].faults[StepKind.START_SERVER] = fail
    with pytest.raises(OperationFailed, match="serves from alpha again"):
        switch_over(coordinator, VOLUME, "beta")
    del pair.hosts["beta"].faults[StepKind.START_SERVER]
    # Nobody is when it goes back.
    assert expected(pair) == [
        ("beta", "promote", "alpha"),
        ("alpha", "demote", "alpha"),
        ("alpha", "promote", "beta"),
    ]


def test_a_source_that_let_go_by_itself_is_no_failure(pair: Pair, coordinator: Coordinator) -> None:
    """Its host goes down meanwhile: the target serves before the demote is asked for."""

    def goes_down(host: str, method: str) -> None:
        if (host, method) == ("alpha", "demote"):
            pair.hosts["alpha"].mounted, pair.hosts["alpha"].server = False, ServerState.ABSENT
            pair.hosts["alpha"].replica = in_sync_replica()
            wait_until(lambda: pair.serving() == ["beta"])

    pair.before = goes_down
    told: list[str] = []
    moved = switch_over(coordinator, VOLUME, "beta", on_text=told.append)
    assert (moved.target, pair.serving()) == ("beta", ["beta"])
    assert "beta is primary for data, not alpha as the caller believes" in told[0]
    state = coordinator.store.get(VOLUME.key)
    assert state is not None
    assert (state.owner, state.epoch) == ("beta", moved.epoch)


@pytest.mark.parametrize("how", ["link", "target dead", "not adopted", "agent ahead"])
def test_what_is_refused_changes_nothing(pair: Pair, tmp_path: Path, how: str) -> None:
    coordinator = make_coordinator(pair)
    if how != "not adopted":
        coordinator.adopt(VOLUME)
    if how == "link":
        pair.link_up = False
    if how == "target dead":
        pair.kill("beta")
    if how == "agent ahead":
        other = make_coordinator(pair, tmp_path / "other")
        other.adopt(VOLUME)
    code = {
        "link": "NOT_IN_SYNC",
        "target dead": "BOTH_MUST_ANSWER",
        "not adopted": "NOT_ADOPTED",
        "agent ahead": "EPOCH_AHEAD",
    }[how]
    with pytest.raises(Refused) as caught:
        switch_over(coordinator, VOLUME, "beta")
    assert caught.value.code == code
    assert caught.value.remedy
    assert pair.serving() == ["alpha"]
    assert performed(pair, "alpha") == performed(pair, "beta") == []


def test_a_target_that_cannot_serve_gives_it_back(pair: Pair, coordinator: Coordinator) -> None:
    def fail() -> None:
        raise OperationFailed("nfsd does not start")

    pair.hosts["beta"].faults[StepKind.START_SERVER] = fail
    with pytest.raises(OperationFailed, match="serves from alpha again"):
        switch_over(coordinator, VOLUME, "beta")
    assert pair.serving() == ["alpha"]
    state = coordinator.store.get(VOLUME.key)
    assert state is not None
    assert (state.owner, state.epoch) == ("alpha", FIRST_EPOCH + 3)


def test_a_source_that_cannot_let_go_keeps_it(pair: Pair, coordinator: Coordinator) -> None:
    def busy() -> None:
        raise OperationFailed("target is busy: pid 42 (vim)")

    pair.hosts["alpha"].faults[StepKind.UNMOUNT] = busy
    with pytest.raises(OperationFailed, match=r"stays on alpha.*vim"):
        switch_over(coordinator, VOLUME, "beta")
    assert pair.serving() == ["alpha"]
    del pair.hosts["alpha"].faults[StepKind.UNMOUNT]
    switch_over(coordinator, VOLUME, "beta")
    assert pair.serving() == ["beta"]


REQUESTS = 10


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("number", range(REQUESTS + 1))
def test_killed_at_any_request_it_goes_on(
    pair: Pair, tmp_path: Path, number: int, when: str
) -> None:
    """The coordinator dies before or right after a request reaches a host, and is started again;
    what the host was asked for may still be running then."""
    make_coordinator(pair).adopt(VOLUME)
    left = [number]

    def die(_host: str, _method: str) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise Killed

    setattr(pair, when, die)
    was_killed = False
    try:
        switch_over(make_coordinator(pair), VOLUME, "beta")
    except Killed:
        was_killed = True
    setattr(pair, when, lambda _host, _method: None)
    assert was_killed == (number < REQUESTS)
    again = make_coordinator(pair)
    move_when_idle(pair, again)
    assert pair.serving() == ["beta"]
    state = again.store.get(VOLUME.key)
    assert state is not None
    assert state.owner == "beta"


def move_when_idle(pair: Pair, coordinator: Coordinator) -> Moved:
    """A person who is told to wait waits."""
    while True:
        assert len(pair.serving()) <= 1
        try:
            return switch_over(coordinator, VOLUME, "beta")
        except (Refused, OutcomeUnknown, OperationFailed) as exc:
            # On a slow machine the target has given up waiting in between.
            is_late = "stays on alpha" in exc.message or "from alpha again" in exc.message
            if exc.code not in ("BUSY", "NOT_IN_SYNC", "OUTCOME_UNKNOWN") and not is_late:
                raise
            coordinator.clock.sleep(0.01)


def test_a_lost_session_in_the_middle_changes_nothing(pair: Pair, coordinator: Coordinator) -> None:
    """The agent carries the promotion on; asked again under the same id, it tells its end."""
    lost: list[str] = []

    def drop(host: str, method: str) -> None:
        if method == "promote" and not lost:
            lost.append(host)

    pair.before = drop
    fleet = coordinator.fleet

    def close_soon() -> None:
        if lost and len(lost) == 1:
            lost.append("dropped")
            fleet.drop("beta")

    pair.hosts["beta"].faults[StepKind.MOUNT] = close_soon
    moved = switch_over(coordinator, VOLUME, "beta")
    assert moved.target == "beta"
    assert lost == ["beta", "dropped"]
    assert performed(pair, "beta").count(StepKind.PRIMARY) == 1


def test_a_check_shows_both_plans_and_changes_nothing(pair: Pair, coordinator: Coordinator) -> None:
    check = check_move(coordinator, coordinator.look(VOLUME), "beta")
    assert blockers(check.findings) == ()
    assert set(check.plans) == {"alpha", "beta"}
    assert check.source == "alpha"
    pair.hosts["beta"].mount_point_state = "not-empty"
    check = check_move(coordinator, coordinator.look(VOLUME), "beta")
    assert [f.code for f in blockers(check.findings)] == ["MOUNT_POINT"]
    assert performed(pair, "beta") == []


def test_two_coordinators_one_wins(pair: Pair, tmp_path: Path, coordinator: Coordinator) -> None:
    second = make_coordinator(pair, tmp_path / "second")
    second.adopt(VOLUME)
    with pytest.raises(AgentError) as caught:
        switch_over(coordinator, VOLUME, "beta")
    assert caught.value.code == "EPOCH_AHEAD"
    switch_over(second, VOLUME, "beta")
    assert pair.serving() == ["beta"]
    assert pair.hosts["alpha"].replica is not None
    assert pair.hosts["alpha"].replica.role is Role.SECONDARY


def test_what_was_decided_meanwhile_is_not_overtaken(pair: Pair, coordinator: Coordinator) -> None:
    """Between the look and the decision plans are made and hooks called: seconds."""
    coordinator.adopt(VOLUME)
    before = coordinator.hooks.before

    def adopts(giving: Giving) -> None:
        before(giving)
        make_coordinator(pair).adopt(VOLUME)

    coordinator.hooks.before = adopts  # type: ignore[method-assign]
    with pytest.raises(Refused) as caught:
        switch_over(coordinator, VOLUME, "beta")
    assert caught.value.code == "RECORD_CHANGED"
    assert pair.serving() == ["alpha"]
