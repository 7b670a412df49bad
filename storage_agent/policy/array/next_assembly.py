"""Would the array that runs now be assembled at the next boot? md keeps its superblocks in memory:
what somebody has done to those on the disks shows when it is too late. Pure."""

from __future__ import annotations

import dataclasses

from storage_agent.model.array import ArrayView
from storage_agent.model.configuration import VolumeConfig
from storage_agent.model.finding import Finding, Severity, blockers
from storage_agent.model.snapshot import VolumeSnapshot
from storage_agent.policy.array.assembly import assembly_findings

# These the running array itself tells of (ARRAY_DEGRADED); and of one that is being written to the
# event counts grow from one superblock's read to the next.
_TOLD_ELSEWHERE = frozenset({"MEMBER_MISSING", "MEMBER_STALE"})

# The superblock of a member that md works with.
_LOST = frozenset({"MEMBER_BLANK", "MEMBER_NOT_RAID"})


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
            remedy=_anew(view.array.name) if finding.code in _LOST else finding.remedy,
        )
        for finding in blockers(assembly_findings(volume, down))
        if finding.code not in _TOLD_ELSEWHERE
    )


def _anew(name: str) -> str:
    """drivers/md/md.c md_reap_sync_thread(): after a check it writes all superblocks anew, from
    memory. name: the array's, of the kernel."""
    return (
        f"while the array runs: echo check > /sys/block/{name}/md/sync_action (md writes its "
        "superblocks anew when that ends); see who has overwritten it: journalctl -n 200"
    )
