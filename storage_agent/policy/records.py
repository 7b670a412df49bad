"""What this host durably knows of the volume, as far as it is in the way of an operation. Pure."""

from __future__ import annotations

from storage_agent.model.finding import Finding, Severity
from storage_agent.model.observed import Unobserved
from storage_agent.model.operation import OperationRecord
from storage_agent.model.snapshot import VolumeSnapshot
from storage_agent.policy.common import LOOKED_AT, blocker


def records_findings(snapshot: VolumeSnapshot) -> tuple[Finding, ...]:
    """As the engine says them; none where nobody has asked it."""
    if snapshot.records is None:
        return ()
    if isinstance(snapshot.records, Unobserved):
        return (
            blocker(
                "UNOBSERVED",
                f"what this host has written down of {snapshot.volume} could not be looked at",
                measured=snapshot.records.reason,
                limit=LOOKED_AT,
                remedy="see whether its disk answers: ls -la /var/lib/storage-agent; "
                "journalctl -k -n 50",
            ),
        )
    return snapshot.records


def busy_note(running: OperationRecord) -> Finding:
    """That an operation holds the volume, which passes."""
    operation_id, kind = running.request.operation_id, running.request.kind
    return Finding(
        code="BUSY",
        severity=Severity.NOTE,
        summary=f"{kind} {running.request.volume} is under way: nothing else begins beside it",
        measured=f"operation {operation_id}: {running.message}",
        limit="no operation",
        remedy=running.remedy or f"wait for it: storage-agent operation {operation_id}",
    )


def is_half_made(findings: tuple[Finding, ...]) -> bool:
    """`create` has not come to its end: nothing else is to be mended first."""
    return any(finding.code == "CREATION_UNFINISHED" for finding in findings)
