"""The rules hold in every course of the small world, and each rule that is left out is missed."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Mapping
from functools import cache

import pytest

from storage_agent.coordinator.deciding import arbiter, claims
from storage_agent.coordinator.deciding.arbiter import Decision, Incident, State
from tests.simulation.small_canonical import canonical
from tests.simulation.small_liveness import Class, judge
from tests.simulation.small_model import successors
from tests.simulation.small_walk import Result, walk
from tests.simulation.small_world import ANY, Limits, Rules, start

# Some 25 s where nothing else runs.
WHOLE = Limits(grants=3, crashes=ANY, admin=0)
# With three grants the claims that are remembered make it too large for a test:
# python -m tests.simulation.small_walk 3 1 1 0
WITH_ADMIN = Limits(grants=2, crashes=1, admin=1)
SMALL = Limits(grants=3, crashes=0, admin=0)
COVERED = Limits(grants=2, crashes=ANY, admin=0)
# Some 10 s. With three grants, which is what a rule that is left out needs to be missed, two
# minutes: python -m tests.simulation.small_walk 3 0 0 1
TWO_COORDINATORS = Limits(grants=2, adoptions=1)
THREE_GRANTS = Limits(grants=3, adoptions=1)


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("limits", "states"),
    [
        (WHOLE, 100_000),
        (WITH_ADMIN, 5_000),
        (TWO_COORDINATORS, 20_000),
    ],
    ids=["one coordinator", "an admin beside it", "two coordinators"],
)
def test_every_course_keeps_one_writer_and_all_writes(limits: Limits, states: int) -> None:
    result = walked(limits)
    assert result.problem == "", result.course
    assert len(result.states) > states


@pytest.mark.parametrize(
    ("limits", "states", "frozen"),
    [(Limits(grants=2), 2000, 100), (Limits(grants=1, adoptions=1), 1000, 100)],
    ids=["one coordinator", "two coordinators"],
)
def test_from_every_state_somebody_serves_in_the_end(
    limits: Limits, states: int, frozen: int
) -> None:
    """Both agents answer, one copy is good: nothing is stuck, and a frozen primary needs nobody.
    More of them: python -m tests.simulation.small_liveness 3 0 0 0, and 2 0 0 1."""
    found = judge(walked(limits).states, Rules())
    assert found.wrong == []
    assert sum(found.classes.values()) > states
    assert found.classes[Class.WATCH] > frozen


@cache
def walked(limits: Limits) -> Result:
    return walk(Rules(), limits)


@pytest.mark.parametrize("limits", [COVERED, TWO_COORDINATORS], ids=["one", "two"])
def test_what_is_left_out_loses_no_course(limits: Limits) -> None:
    """Courses of the world itself, numbers growing: each ends in a state that the walk has met."""
    met, rules, rng = walked(limits).states, Rules(), random.Random(1)
    for _ in range(400):
        world = start()
        for _ in range(50):
            _, world = rng.choice(list(successors(world, rules, limits)))
            assert canonical(world, rules, limits) in met


def forgetful_incident(state: State, incident: Incident) -> Decision:
    return arbiter.decide_incident(dataclasses.replace(state, sole=None), incident)


def forgetful_promotion(state: State, *rest: object) -> Decision:
    known = dataclasses.replace(state, sole=None)
    return arbiter.decide_promotion(known, *rest)  # type: ignore[arg-type]


def hasty_look(state: State, host: str, *_: object, is_in_sync: bool, **__: object) -> State:
    if state.sole != host or not is_in_sync:
        return state
    return dataclasses.replace(state, sole=None, mark=None)


def loose_look(state: State, *rest: object, **more: object) -> State:
    known = dataclasses.replace(state, is_loose=False)
    return arbiter.seen_in_sync(known, *rest, **more)  # type: ignore[arg-type]


def alone_and_ended(state: State, *rest: object, **more: object) -> State:
    known = dataclasses.replace(state, is_loose=False)
    return claims.adopted(known, *rest, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rules", "limits"),
    [
        (Rules(incident=forgetful_incident), SMALL),
        (Rules(promotion=forgetful_promotion), SMALL),
        (Rules(seen=hasty_look), SMALL),
        (Rules(seen=loose_look), SMALL),
        (Rules(agent_checks_epoch=False), SMALL),
        (Rules(withdraw_needs_claim=False), SMALL),
        (Rules(withdraw_asks_for_the_end=False), SMALL),
        (Rules(agent_checks_coordinator=False), THREE_GRANTS),
        (Rules(adoption_needs_both=False), THREE_GRANTS),
        (Rules(adoption_looks_again=False), THREE_GRANTS),
        (Rules(alone_needs_proof=False), THREE_GRANTS),
        (Rules(settling_needs_claim=False), SMALL),
    ],
    ids=[
        "continue beside a promotion",
        "promote beside a continue",
        "any look counts",
        "a promotion on its way is forgotten",
        "agents take any epoch",
        "withdrawn without a claim",
        "withdrawn after it was done",
        "agents listen to every coordinator",
        "one host has accepted the claim",
        "what was done before the claim is not seen",
        "a copy of the record counts with one host",
        "a promotion on its way is settled without a claim",
    ],
)
def test_a_rule_that_is_left_out_is_missed(rules: Rules, limits: Limits) -> None:
    result = walk(rules, limits)
    assert result.problem
    assert result.course


def forgetful_claim(
    state: State | None, name: str, epochs: Mapping[str, int | None], known: Mapping[str, str]
) -> Decision:
    """What an adoption that was broken off has left behind is taken for another one's."""
    if state is not None and arbiter.claim_refusal(state):
        known = dict.fromkeys(known, "")
    return claims.decide_claim(state, name, epochs, known)


def stubborn_incident(state: State, incident: Incident) -> Decision:
    """The same again, though its host has accepted a newer epoch."""
    return arbiter.decide_incident(state, dataclasses.replace(incident, epoch=0))


@pytest.mark.parametrize(
    ("rules", "limits", "wrong"),
    [
        (Rules(claim=forgetful_claim), Limits(grants=1, adoptions=1), Class.PERSON),
        (Rules(incident=stubborn_incident), Limits(grants=2), Class.WATCH),
        (Rules(settles=False), Limits(grants=2), Class.LINK),
    ],
    ids=[
        "frozen in the middle of a claim",
        "a continue that was nearly taken back",
        "a promotion whose end nobody knows",
    ],
)
def test_who_only_says_no_is_missed(rules: Rules, limits: Limits, wrong: Class) -> None:
    """Safe, and nobody serves: more is needed than that class."""
    result = walk(rules, limits)
    assert result.problem == ""
    needed = [kind for kind, _ in judge(result.states, rules, exactly=True).wrong]
    assert max(needed) > wrong


def forgetful_withdrawal(state: State, fenced_epoch: int) -> State:
    return dataclasses.replace(arbiter.withdrawn(state, fenced_epoch), sole=None)


def test_what_is_withdrawn_leaves_whoever_wrote_alone_before() -> None:
    result = walk(Rules(withdrawn=forgetful_withdrawal), Limits(grants=4))
    assert result.problem == "two hosts write"
    assert any("withdraws" in step for step in result.course)
