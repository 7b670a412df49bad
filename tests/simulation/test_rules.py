"""Each rule of rules.py has its course, and the simulator goes through each as it is written.

tests/lab/test_drbd_rules.py does the same to two kernels.
"""

from __future__ import annotations

from collections import Counter

import pytest

from tests.simulation.courses import Course, follow, read_courses, require_action, table
from tests.simulation.rules import RULES
from tests.simulation.simulated_pair import SimulatedPair

COURSES = read_courses()
# The order of what happens at once is the seed's: the outcome may not depend on it.
SEEDS = 8


def name_of(course: Course) -> str:
    return course.name


def test_every_rule_that_is_shown_has_a_course() -> None:
    shown = {rule for course in COURSES for rule in course.rules}
    assert sorted(name for name, rule in RULES.items() if rule.is_shown) == sorted(shown)


def test_courses_have_names_of_their_own() -> None:
    assert [name for name, count in Counter(c.name for c in COURSES).items() if count > 1] == []


@pytest.mark.parametrize("course", COURSES, ids=name_of)
def test_the_simulator_goes_through_it(course: Course) -> None:
    assert course.rules
    assert course.steps[0].actions == ("start",)
    for seed in range(SEEDS):
        difference = table(follow(course, SimulatedPair(seed)), "written", "simulator")
        assert difference == "", difference


def test_a_difference_is_shown_as_a_table() -> None:
    (course,) = (course for course in COURSES if course.name == "continue")
    course = Course("other", "", course.rules, "resource-only", steps=course.steps)
    shown = table(follow(course, SimulatedPair()), "written", "simulator").splitlines()
    assert "cut" in shown
    assert [line.split()[:3] for line in shown if line.startswith("  !")][:2] == [
        ["!", "written", "alpha"],
        ["!", "simulator", "alpha"],
    ]


@pytest.mark.parametrize("action", ["alpha flies", "gamma primary", "cuts", "alpha"])
def test_unknown_actions_are_refused(action: str) -> None:
    with pytest.raises(ValueError, match="no action"):
        require_action(action)
