"""What is advised is typed, in every state that random schedules leave a pair in."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from storage_agent.policy import promotion
from tests.simulation.following import CIRCLE, PERSONS, WELL, walk

SEEDS = 2000
PARTS = 10


@pytest.mark.parametrize("part", range(PARTS))
def test_no_advice_leads_in_a_circle(part: int) -> None:
    count = SEEDS // PARTS
    found = {seed: walk(seed) for seed in range(part * count, (part + 1) * count)}
    walks = {seed: one for seed, one in found.items() if one is not None}
    assert {seed: one.trail for seed, one in walks.items() if one.end == CIRCLE} == {}
    assert sum(one.end == WELL for one in walks.values()) > count * 0.8
    assert all(one.end in (WELL, PERSONS) for one in walks.values())


def test_advice_that_helps_nobody_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """To turn the other host off, whose disk is what is missing."""
    real = promotion._unconnected

    def unhelpful(*given: Any) -> tuple[Any, ...]:
        return tuple(
            dataclasses.replace(finding, remedy="power beta off") for finding in real(*given)
        )

    monkeypatch.setattr(promotion, "_unconnected", unhelpful)
    ends = {one.end for seed in range(200) if (one := walk(seed)) is not None}
    assert CIRCLE in ends
