"""Random schedules: no invariant breaks, each was asked, and each kind of fault happened."""

from __future__ import annotations

import pytest

from tests.simulation.faults import ALL_KINDS
from tests.simulation.schedule import run_schedule
from tests.simulation.summary import Summary, run_seeds

# Some 6 ms each where nothing else runs.
SEEDS = 20_000
PARTS = 20
INVARIANTS = tuple(
    f"I{number}"
    for number in (1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 16, 17, 18, 19, 24, 26, 27)
)


@pytest.fixture(scope="module")
def summary() -> Summary:
    return Summary()


@pytest.mark.parametrize("part", range(PARTS))
def test_no_invariant_breaks(summary: Summary, part: int) -> None:
    count = SEEDS // PARTS
    found = run_seeds(range(part * count, (part + 1) * count))
    summary.join(found)
    shown = [f"scripts/simulate --seed {seed} --trace: {i}: {t}" for seed, i, t in found.broken]
    assert shown == []


def test_every_invariant_was_asked(summary: Summary) -> None:
    assert [name for name in INVARIANTS if not summary.checks[name]] == []


def test_every_kind_of_fault_happened(summary: Summary) -> None:
    assert [kind for kind in ALL_KINDS if not summary.faults[kind]] == []


@pytest.mark.parametrize("state", ["succeeded", "refused", "rolled-back", "failed"])
@pytest.mark.parametrize("kind", ["promote", "demote"])
def test_every_outcome_happened(summary: Summary, kind: str, state: str) -> None:
    assert summary.counts[f"{kind} {state}"] > 0


@pytest.mark.parametrize("end", ["succeeded", "refused"])
@pytest.mark.parametrize("command", ["switchover", "failover", "adopt"])
def test_every_command_of_the_coordinator_had_both_ends(
    summary: Summary, command: str, end: str
) -> None:
    assert summary.counts[f"{command} {end}"] > 0


def test_a_seed_gives_the_same_course_again() -> None:
    first, second = (run_schedule(77, keep_trace=True) for _ in range(2))
    assert len(first.trace) > 20
    assert first.trace == second.trace
    assert first.counts == second.counts
