"""Would the array that runs now be assembled at the next boot? md keeps its superblocks in memory:
what somebody has done to those on the disks shows when it is too late. Pure."""

from __future__ import annotations

import dataclasses

from storage_agent.model.array import ArrayView
from storage_agent.model.configuration import VolumeConfig
from storage_agent.model.finding import Finding, Severity, blockers
from storage_agent.model.snapshot import VolumeSnapshot
from storage_agent.policy.assembly import assembly_findings

# These the running array itself tells of (ARRAY_DEGRADED); and of one that is being written to the
# event counts grow from one superblock's read to the next.
_TOLD_ELSEWHERE = frozenset({"MEMBER_MISSING", "MEMBER_STALE"})


def next_assembly_findings(volume: VolumeConfig, snapshot: VolumeSnapshot) -> tuple[Finding, ...]:
    """What `assemble` would be refused for if the array were down: it serves on until then."""
    view = snapshot.array
    if not isinstance(view, ArrayView) or view.array is None or not view.array.running():
        return ()
    down = dataclasses.replace(snapshot, array=dataclasses.replace(view, array=None), replica=None)
    return tuple(
        dataclasses.replace(
            finding,
            severity=Severity.WARNING,
            summary=f"the next boot will not bring {volume.name} up: {finding.summary}",
        )
        for finding in blockers(assembly_findings(volume, down))
        if finding.code not in _TOLD_ELSEWHERE
    )
