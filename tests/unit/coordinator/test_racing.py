"""Two coordinators at the same volume, at the same time: one wins, the other says so, and nobody
ever writes beside another."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from storage_agent.coordinator.coordinator import Coordinator
from storage_agent.coordinator.failover import fail_over
from storage_agent.coordinator.incidents import answer_incidents
from storage_agent.coordinator.switchover import switch_over
from storage_agent.model.errors import AgentError
from tests.unit.coordinator.pair import VOLUME, Pair, make_coordinator

# What the loser is told: another one has acted, or is just acting.
LOST = {"EPOCH_AHEAD", "STALE_EPOCH", "BUSY", "NOT_IN_SYNC", "WRONG_PRIMARY", "NOT_ADOPTED"}
LOST |= {"OTHER_COORDINATOR", "ADOPTION_UNFINISHED"}
LOST |= {"PEER_CONNECTED", "PEER_SERVES", "OPERATION_FAILED", "PEER_HAS_GRANT"}


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return Pair(tmp_path)


@pytest.fixture
def two(pair: Pair, tmp_path: Path) -> tuple[Coordinator, Coordinator]:
    """Each with a record of its own; the second has adopted last."""
    first, second = make_coordinator(pair), make_coordinator(pair, tmp_path / "second")
    first.adopt(VOLUME)
    second.adopt(VOLUME)
    return first, second


def race(*acts: Callable[[], object]) -> list[AgentError | None]:
    """Each one's end: None where it had its way."""
    ends: list[AgentError | None] = [None] * len(acts)
    start = threading.Barrier(len(acts))

    def run(number: int, act: Callable[[], object]) -> None:
        start.wait(5)
        try:
            act()
        except AgentError as exc:
            ends[number] = exc

    threads = [threading.Thread(target=run, args=item) for item in enumerate(acts)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    return ends


def code_of(end: AgentError | None) -> str:
    assert end is not None
    assert end.remedy
    return end.code


def assert_told_who_is_heard(lost: AgentError | None) -> None:
    """Which host knows better, of whom, and the command by which this one is heard again."""
    assert lost is not None
    host, _, rest = lost.message.partition(" ")
    assert host in ("alpha", "beta")
    assert rest.startswith("has seen a newer epoch than this coordinator has given")
    assert "another coordinator" in rest
    assert "storage-coordinator adopt" in lost.remedy


@pytest.mark.parametrize("turn", range(5))
def test_one_moves_it_the_other_is_refused(
    pair: Pair, two: tuple[Coordinator, Coordinator], turn: int
) -> None:
    first, second = two
    lost, won = race(
        lambda: switch_over(first, VOLUME, "beta"), lambda: switch_over(second, VOLUME, "beta")
    )
    assert (code_of(lost), won) == ("EPOCH_AHEAD", None)
    assert_told_who_is_heard(lost)
    assert pair.serving() == ["beta"]


@pytest.mark.parametrize("turn", range(5))
def test_both_adopt_and_both_move(pair: Pair, tmp_path: Path, turn: int) -> None:
    """However their claims fall between each other, at most one moves it."""

    def act(folder: str) -> Callable[[], object]:
        coordinator = make_coordinator(pair, tmp_path / folder)

        def adopt_and_move() -> None:
            coordinator.adopt(VOLUME)
            switch_over(coordinator, VOLUME, "beta")

        return adopt_and_move

    ends = race(act("one"), act("two"))
    assert {code_of(end) for end in ends if end is not None} <= LOST
    assert len(pair.serving()) == 1
    assert (None in ends) <= (pair.serving() == ["beta"])
    # Whoever asks again, alone, is heard.
    last = make_coordinator(pair, tmp_path / "last")
    last.adopt(VOLUME)
    switch_over(last, VOLUME, "alpha")
    assert pair.serving() == ["alpha"]


@pytest.mark.parametrize("turn", range(5))
def test_one_fails_over_the_other_says_that_it_is_not_in_charge(
    pair: Pair, two: tuple[Coordinator, Coordinator], turn: int
) -> None:
    first, second = two
    pair.kill("alpha")
    lost, won = race(
        lambda: fail_over(first, VOLUME, "beta"), lambda: fail_over(second, VOLUME, "beta")
    )
    assert (code_of(lost), won) == ("EPOCH_AHEAD", None)
    assert_told_who_is_heard(lost)
    assert pair.serving() == ["beta"]


@pytest.mark.parametrize("turn", range(5))
def test_a_frozen_primary_hears_one_of_them(
    pair: Pair, two: tuple[Coordinator, Coordinator], turn: int
) -> None:
    """And where the other side was given the volume meanwhile, it hears no `continue`."""
    first, second = two
    pair.cut_link()
    race(
        lambda: answer_incidents(first, "alpha"),
        lambda: fail_over(second, VOLUME, "beta"),
        lambda: answer_incidents(second, "alpha"),
    )
    assert len(pair.serving()) <= 1
    # The service asks again and again.
    answer_incidents(first, "alpha")
    answer_incidents(second, "alpha")
    assert len(pair.serving()) == 1
