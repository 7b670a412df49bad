"""What is said where this host's memory of its operations is gone, or cannot be trusted.

Not to know an operation (any more) is never taken for "it did not happen": it is not run again,
and what was interrupted long ago is not taken up below what has happened since.
"""

from __future__ import annotations

from storage_agent.model.finding import Finding
from storage_agent.policy.common import blocker, warning


def forgotten(operation_id: str, measured: str) -> Finding:
    """An operation that is not known and may have been: asked for again, it is too old to know."""
    return blocker(
        "OPERATION_FORGOTTEN",
        f"operation {operation_id} is too old to know: it may have been carried out, and is not "
        "run again",
        measured=measured,
        limit="an operation id that was never used, or a newer epoch",
        remedy="see where the volume stands: storage-agent status; if it is still wanted, ask "
        "for it anew, under a new id",
    )


def account_lost(volume: str, what: str) -> Finding:
    """what: `is missing`, `is damaged`, …"""
    return blocker(
        "JOURNAL_LOST",
        f"this host's account of the operations on {volume} {what}: it could run again what has "
        "happened long ago",
        measured=f"account-{volume} {what}",
        limit="a file written by this agent for this host and volume",
        remedy="read the epoch of the other host there: storage-agent status --json; then here, as "
        f"root, with a number at least as high: storage-agent epoch restore {volume} NUMBER",
    )


def record_damaged(name: str, why: str) -> Finding:
    """name: of the file that was set aside.  why: it is not believed."""
    return warning(
        "JOURNAL_DAMAGED",
        f"the journal {name} is damaged, and is not gone on with: {why}",
        measured=why,
        limit="whole, of this host, and the newest of its volume where it has no end",
        remedy="see whether the volume stands as it should: storage-agent status; then: "
        f"rm /var/lib/storage-agent/{name}",
    )


def record_lost(volume: str, operation_id: str) -> Finding:
    return warning(
        "OPERATION_LOST",
        f"operation {operation_id} on {volume} was accepted, has no end, and its journal is gone: "
        "what it has done is not known",
        measured=f"no whole record in operation-{operation_id}",
        limit="a journal of the newest operation",
        remedy=f"see where it stands: storage-agent status {volume}; then ask for what is wanted: "
        "the next operation goes on from what is seen",
    )
