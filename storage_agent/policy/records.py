"""What this host durably knows of the volume, as far as it is in the way of an operation. Pure."""

from __future__ import annotations

from storage_agent.model.configuration import VolumeConfig
from storage_agent.model.finding import Finding, Severity
from storage_agent.model.observed import Unobserved
from storage_agent.model.operation import OperationRecord
from storage_agent.model.snapshot import VolumeSnapshot
from storage_agent.policy.common import LOOKED_AT, blocker

_GIVEN_UP = "COPY_GIVEN_UP"


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
    return tuple(finding for finding in snapshot.records if finding.code != _GIVEN_UP)


def given_up_note(volume: str) -> Finding:
    """That the last thing done here was to give this copy up. Whether that still counts is not the
    records' to say: once both copies are in sync it does not."""
    return Finding(
        code=_GIVEN_UP,
        severity=Severity.NOTE,
        summary=f"this copy of {volume} was given up (split-brain --discard)",
        measured="the last operation of the volume on this host",
        limit="the other host's copy, taken over from there",
        remedy="see whether they are connected: storage-agent status",
    )


def is_given_up(snapshot: VolumeSnapshot) -> bool:
    """And nothing is known of a resync since."""
    records, attachment = snapshot.records, snapshot.attachment
    if not isinstance(records, tuple) or (attachment and attachment.in_sync_until_loss):
        return False
    return any(finding.code == _GIVEN_UP for finding in records)


def given_up(volume: VolumeConfig, peer: str, seen: str) -> Finding:
    """While the other host is not connected. seen: how it stands with that."""
    return blocker(
        _GIVEN_UP,
        f"this copy of {volume.name} was given up for {peer}'s, and {peer} has not said yet that "
        "it keeps its own",
        measured=seen,
        limit=f"connected to {peer}, and resynced from there",
        remedy=f"on {peer}: storage-agent split-brain {volume.name} --keep",
    )


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
