"""The rules hold in every course of the small world, and each rule that is left out is missed."""

from __future__ import annotations

import dataclasses

import pytest

from storage_agent.coordinator import arbiter
from storage_agent.coordinator.arbiter import Decision, Incident, State
from tests.simulation.small_model import Limits, Rules
from tests.simulation.small_walk import walk

SMALL = Limits(grants=3, writes=1, cuts=1, crashes=0, looks=2, admin=0)


def test_every_course_keeps_one_writer_and_all_writes() -> None:
    result = walk(Rules(), SMALL)
    assert result.problem == "", result.course
    assert result.states > 50_000


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
    "rules",
    [
        Rules(incident=forgetful_incident),
        Rules(promotion=forgetful_promotion),
        Rules(seen=hasty_look),
        Rules(seen=loose_look),
        Rules(agent_checks_epoch=False),
        Rules(withdraw_needs_claim=False),
        Rules(withdraw_asks_for_the_end=False),
    ],
    ids=[
        "continue beside a promotion",
        "promote beside a continue",
        "any look counts",
        "a promotion on its way is forgotten",
        "agents take any epoch",
        "withdrawn without a claim",
        "withdrawn after it was done",
    ],
)
def test_a_rule_that_is_left_out_is_missed(rules: Rules) -> None:
    result = walk(rules, SMALL)
    assert result.problem
    assert result.course
