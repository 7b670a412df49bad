"""SIGKILL and power cut before and after each record and step, one at a time, without a gap."""

from __future__ import annotations

import pytest

from storage_agent.model.operation import OperationState
from storage_agent.model.plan import OperationKind
from tests.simulation.crash_points import KINDS, Crash, crashes
from tests.simulation.faults import POINT_KINDS

KILLED, POWER_CUT = POINT_KINDS
# Steps that act, with a point before and after each; every record has two points as well.
STEPS = {
    OperationKind.PROMOTE: 7,
    OperationKind.DEMOTE: 4,
    OperationKind.ASSEMBLE: 2,
    OperationKind.STANDALONE: 1,
    OperationKind.REJOIN: 1,
}


@pytest.fixture(scope="module")
def found() -> dict[tuple[OperationKind, str], list[Crash]]:
    return {(kind, how): list(crashes(kind, how)) for kind in KINDS for how in POINT_KINDS}


Found = dict[tuple[OperationKind, str], list[Crash]]


@pytest.mark.parametrize("how", POINT_KINDS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_crash_ends_in_a_state_that_can_be_named(
    found: Found, kind: OperationKind, how: str
) -> None:
    broken = [f"{c.at} ({c.point}): {v}" for c in found[kind, how] for v in c.violations]
    assert broken == []


@pytest.mark.parametrize("how", POINT_KINDS)
@pytest.mark.parametrize("kind", KINDS)
def test_no_point_is_left_out(found: Found, kind: OperationKind, how: str) -> None:
    points = [crash.at for crash in found[kind, how]]
    assert len({p for p in points if p.startswith("before perform")}) >= STEPS[kind]
    for at in {p.removeprefix("before ") for p in points if p.startswith("before perform")}:
        assert f"after {at}" in points
    assert points.count("before journal") == points.count("after journal") > 2 + STEPS[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_daemon_finishes_what_it_had_accepted(found: Found, kind: OperationKind) -> None:
    accepted = [crash for crash in found[kind, KILLED] if crash.ended != "gone"]
    assert accepted
    assert {crash.ended for crash in accepted} <= {OperationState.SUCCEEDED, "ended"}


def test_after_a_power_cut_nothing_is_promoted_by_itself(found: Found) -> None:
    states = {crash.state for crash in found[OperationKind.PROMOTE, POWER_CUT]}
    assert states == {"secondary"}
