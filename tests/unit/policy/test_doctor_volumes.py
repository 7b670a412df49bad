"""A host that would refuse is not well, whatever else is in order."""

from __future__ import annotations

from storage_agent.policy.common import blocker, warning
from storage_agent.policy.doctor.check import Outcome
from storage_agent.policy.doctor.volumes import volume_checks

LOST = blocker("EPOCH_MISSING", "lost", measured="no file", limit="a file", remedy="restore it")
LOW = warning("NEARLY_FULL", "low", measured="3 %", limit="5 %", remedy="df -h")


def test_each_blocker_fails_and_a_warning_does_not() -> None:
    checks = tuple(volume_checks({"data": (LOW,), "apt": (LOST, LOW, LOST)}))
    assert [(c.title, c.outcome, c.finding) for c in checks] == [
        ("volume apt", Outcome.FAIL, LOST),
        ("volume apt", Outcome.FAIL, LOST),
        ("volume data", Outcome.OK, None),
    ]
