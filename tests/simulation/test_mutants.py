"""Seeded bugs: each is caught by the checker meant for it, and no check is silent."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.simulation.checkers import Site
from tests.simulation.hunting import Mutant, hunt
from tests.simulation.mutants import MUTANTS
from tests.simulation.scenes import SCENES, violations

# I19 and I24 speak of what a plan must never contain; the others of what happens.
INVARIANTS = {
    *("I1", "I2", "I3", "I4", "I6", "I7", "I8", "I9", "I10", "I11", "I12", "I13", "I14"),
    *("I16", "I17", "I18", "I19", "I24", "I26", "I27"),
}


@pytest.fixture(scope="module")
def spoke() -> dict[str, frozenset[Site]]:
    """By seeded bug that was hunted: the checks that failed."""
    return {}


@pytest.mark.parametrize("name", SCENES)
def test_a_scene_is_clean_without_a_seeded_bug(name: str) -> None:
    assert [str(v) for seed in range(3) for found in violations(name, seed) for v in found] == []


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_seeded_bug_is_caught(mutant: Mutant, spoke: dict[str, frozenset[Site]]) -> None:
    found = hunt(mutant)
    spoke[mutant.name] = found.sites
    assert found.text, f"survived; {mutant.caught_by} said nothing, spoke: {sorted(found.spoke)}"


def test_there_are_enough_and_every_checker_and_scene_has_one() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 30
    assert {mutant.caught_by for mutant in MUTANTS} == INVARIANTS
    assert {mutant.scene for mutant in MUTANTS} == set(SCENES)


def test_no_check_is_silent_under_all_seeded_bugs(spoke: dict[str, frozenset[Site]]) -> None:
    """Uses the hunts above; what was left out of this run is hunted here."""
    for mutant in MUTANTS:
        if mutant.name not in spoke:
            spoke[mutant.name] = hunt(mutant).sites
    silent = _checks() - frozenset[Site]().union(*spoke.values())
    assert sorted(silent) == []


def _checks() -> set[Site]:
    """Every call of `expect` in the simulation."""
    return {
        (path.name, node.lineno)
        for path in Path(__file__).parent.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "expect"
    }
