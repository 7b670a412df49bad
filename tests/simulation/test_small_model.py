"""The rules hold in every course of the small world, and each rule that is left out is missed."""

from __future__ import annotations

import dataclasses
import random

import pytest

from storage_agent.coordinator.deciding import arbiter
from storage_agent.coordinator.deciding.arbiter import Decision, Incident, State
from tests.simulation.small_canonical import canonical
from tests.simulation.small_model import successors
from tests.simulation.small_walk import walk
from tests.simulation.small_world import ANY, Limits, Rules, start

# Some 25 s where nothing else runs.
WHOLE = Limits(grants=3, crashes=ANY, admin=0)
# Some 110 s.
WITH_ADMIN = Limits(grants=3, crashes=1, admin=1)
SMALL = Limits(grants=3, crashes=0, admin=0)
COVERED = Limits(grants=2, crashes=ANY, admin=0)
# Some 10 s. With three grants, which is what a rule that is left out needs to be missed, two
# minutes: python -m tests.simulation.small_walk 3 0 0 1
TWO_COORDINATORS = Limits(grants=2, adoptions=1)
THREE_GRANTS = Limits(grants=3, adoptions=1)


@pytest.mark.parametrize(
    ("limits", "states"),
    [
        (WHOLE, 100_000),
        (WITH_ADMIN, 500_000),
        (TWO_COORDINATORS, 20_000),
    ],
    ids=["one coordinator", "an admin beside it", "two coordinators"],
)
def test_every_course_keeps_one_writer_and_all_writes(limits: Limits, states: int) -> None:
    result = walk(Rules(), limits)
    assert result.problem == "", result.course
    assert len(result.states) > states


@pytest.mark.parametrize("limits", [COVERED, TWO_COORDINATORS], ids=["one", "two"])
def test_what_is_left_out_loses_no_course(limits: Limits) -> None:
    """Courses of the world itself, numbers growing: each ends in a state that the walk has met."""
    met, rules, rng = walk(Rules(), limits).states, Rules(), random.Random(1)
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
    ],
)
def test_a_rule_that_is_left_out_is_missed(rules: Rules, limits: Limits) -> None:
    result = walk(rules, limits)
    assert result.problem
    assert result.course


def forgetful_withdrawal(state: State, fenced_epoch: int) -> State:
    return dataclasses.replace(arbiter.withdrawn(state, fenced_epoch), sole=None)


def test_what_is_withdrawn_leaves_whoever_wrote_alone_before() -> None:
    result = walk(Rules(withdrawn=forgetful_withdrawal), Limits(grants=4))
    assert result.problem == "two hosts write"
    assert any("withdraws" in step for step in result.course)
