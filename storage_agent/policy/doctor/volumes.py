"""What the running agent itself has against its volumes: a host that refuses is not well, whatever
else is in order. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from storage_agent.model.finding import Finding, blockers
from storage_agent.policy.doctor.check import Check


def volume_checks(readiness: Mapping[str, tuple[Finding, ...]]) -> Iterator[Check]:
    """readiness: of each volume, as `status` has it. One check for each blocker."""
    for name, findings in sorted(readiness.items()):
        title, refusals = f"volume {name}", blockers(findings)
        for finding in refusals:
            yield Check(title=title, seen=finding.measured, finding=finding)
        if not refusals:
            yield Check(title=title, seen="nothing is in the way of serving it here")
