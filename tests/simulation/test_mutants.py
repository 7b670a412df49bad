"""Seeded bugs: each is caught by the checker meant for it, and no checker is idle."""

from __future__ import annotations

import pytest

from tests.simulation.hunting import Mutant, hunt
from tests.simulation.mutants import MUTANTS
from tests.simulation.scenes import SCENES, violations

# I19 and I24 speak of what a plan must never contain; the others of what happens.
INVARIANTS = {
    *("I1", "I2", "I3", "I4", "I6", "I7", "I8", "I9", "I10", "I11", "I12", "I13", "I14"),
    *("I16", "I17", "I18", "I19", "I24", "I26"),
}


@pytest.mark.parametrize("name", SCENES)
def test_a_scene_is_clean_without_a_seeded_bug(name: str) -> None:
    assert [found for seed in range(3) for found in violations(name, seed)] == []


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_seeded_bug_is_caught(mutant: Mutant) -> None:
    _, text, others = hunt(mutant)
    assert text, f"survived; {mutant.caught_by} said nothing, others: {others}"


def test_there_are_enough_and_every_checker_has_one() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 30
    assert {mutant.caught_by for mutant in MUTANTS} == INVARIANTS
