"""SIGKILL and power cut before and after each record and step, one at a time, without a gap."""

from __future__ import annotations

import pytest

from storage_agent.model.operation import OperationState
from storage_agent.model.plan import OperationKind
from tests.simulation.crash_points import WALKS, Crash, Walk, crashes
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
def found() -> dict[tuple[Walk, str], list[Crash]]:
    return {(walk, how): list(crashes(walk, how)) for walk in WALKS for how in POINT_KINDS}


Found = dict[tuple[Walk, str], list[Crash]]


@pytest.mark.parametrize("how", POINT_KINDS)
@pytest.mark.parametrize("walk", WALKS, ids=str)
def test_every_crash_ends_in_a_state_that_can_be_named(found: Found, walk: Walk, how: str) -> None:
    broken = [f"{c.at} ({c.point}): {v}" for c in found[walk, how] for v in c.violations]
    assert broken == []


@pytest.mark.parametrize("how", POINT_KINDS)
@pytest.mark.parametrize("walk", WALKS, ids=str)
def test_no_point_is_left_out(found: Found, walk: Walk, how: str) -> None:
    points = [crash.at for crash in found[walk, how]]
    assert len({p for p in points if p.startswith("before perform")}) >= STEPS[walk.kind]
    for at in {p.removeprefix("before ") for p in points if p.startswith("before perform")}:
        assert f"after {at}" in points
    assert points.count("before journal") == points.count("after journal") > 2 + STEPS[walk.kind]


@pytest.mark.parametrize("walk", [walk for walk in WALKS if not walk.is_failover], ids=str)
def test_a_killed_daemon_finishes_what_it_had_accepted(found: Found, walk: Walk) -> None:
    accepted = [crash for crash in found[walk, KILLED] if crash.ended != "gone"]
    assert accepted
    assert {crash.ended for crash in accepted} <= {OperationState.SUCCEEDED, "ended"}


@pytest.mark.parametrize("walk", [walk for walk in WALKS if walk.is_failover], ids=str)
def test_a_killed_daemon_finishes_a_failover_once_it_has_the_role(found: Found, walk: Walk) -> None:
    """Before that it has forgotten how it saw its copy to be current: it takes all back, unless the
    peer is there again by then."""
    crashes = found[walk, KILLED]
    first = [crash.at for crash in crashes].index("after perform primary")
    before = {crash.ended for crash in crashes[:first]} - {"gone"}
    taken_back = {OperationState.REFUSED, OperationState.ROLLED_BACK}
    assert taken_back < before <= taken_back | {OperationState.SUCCEEDED}
    assert {crash.ended for crash in crashes[first:]} == {OperationState.SUCCEEDED, "ended"}


def test_after_a_power_cut_nothing_is_promoted_by_itself(found: Found) -> None:
    promotions = [walk for walk in WALKS if walk.kind is OperationKind.PROMOTE]
    states = {crash.state for walk in promotions for crash in found[walk, POWER_CUT]}
    assert states == {"secondary"}
