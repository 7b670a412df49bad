"""Two kernels go through the courses that the simulator goes through, with the same outcome: what
tests/simulation models of DRBD is what DRBD does. DRBD alone, without the agent (bare_pair.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.bare_pair import BarePair, PoweredPair
from tests.lab.harness.collect import kernel_trouble
from tests.lab.harness.lab import Lab
from tests.lab.writing import WAITS_LONG
from tests.simulation.courses import Course, follow, read_courses, table

COURSES = read_courses()
QUICK = [course for course in COURSES if not course.is_long]
LONG = [course for course in COURSES if course.is_long and not course.crashes_kernel]
CRASHING = [course for course in COURSES if course.crashes_kernel]
# Elsewhere only DRBD goes (BarePair.act): these with a host that is really switched off.
SWITCHED_OFF = (
    "crashed-primary",
    "crashed-primary-unwritten",
    "both-crashed",
    "take-over-after-restart",
    "rebooted-peer-thaws",
    "target-crashes",
)
POWER = [course for course in COURSES if course.name in SWITCHED_OFF]


def name_of(course: Course) -> str:
    return course.name


@pytest.fixture(scope="module")
def prepared(lab_session: Lab, lab_image: Path) -> Iterator[BarePair]:
    lab_session.restore(lab_image)
    pair = BarePair(lab_session)
    yield pair
    pair.close()


@pytest.fixture
def pair(prepared: BarePair, request: pytest.FixtureRequest) -> BarePair:
    """Not restored between courses: each starts with metadata as if it were the first."""
    request.node.lab_used = prepared.lab
    return prepared


def compare(course: Course, pair: BarePair) -> None:
    difference = table(follow(course, pair), "simulator", "kernel")
    if difference:
        pytest.fail(difference, pytrace=False)


@pytest.mark.parametrize("course", QUICK, ids=name_of)
def test_the_kernels_do_as_the_simulator(course: Course, pair: BarePair) -> None:
    compare(course, pair)


@pytest.mark.long
@pytest.mark.parametrize("course", LONG, ids=name_of)
def test_the_kernels_do_as_the_simulator_in_all(course: Course, pair: BarePair) -> None:
    compare(course, pair)


@pytest.mark.long
def test_no_kernel_has_complained(pair: BarePair) -> None:
    """Last of all: the pair is the same for all courses."""
    assert kernel_trouble(pair.lab) == []


@pytest.mark.long
@pytest.mark.lab_allows(WAITS_LONG)
@pytest.mark.parametrize("course", POWER, ids=name_of)
def test_the_same_with_a_power_cut(course: Course, lab: Lab) -> None:
    pair = PoweredPair(lab)
    compare(course, pair)
    pair.close()


@pytest.mark.long
@pytest.mark.lab_allows(".")
@pytest.mark.parametrize("course", CRASHING, ids=name_of)
def test_the_kernel_crashes_where_the_simulator_says(course: Course, lab: Lab) -> None:
    pair = BarePair(lab)
    compare(course, pair)
    pair.close()
    assert any("BUG: kernel NULL pointer" in line for line in kernel_trouble(lab))
