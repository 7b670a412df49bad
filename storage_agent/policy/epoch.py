"""The epoch: grows by one with every change of ownership.

A fencing token: a request with an older one, or with the same one and another operation, comes
from somebody who does not know what happened since. Numbers alone do not tell two coordinators
apart, each of which gives its own: a host listens to the one that has adopted the volume last.
"""

from __future__ import annotations

from storage_agent.model.configuration import Arbitration, VolumeConfig
from storage_agent.model.finding import Finding
from storage_agent.model.operation import Epoch, OperationRequest
from storage_agent.policy.common import blocker

# One owner change a minute for two weeks: more at once is an error or an attack.
MAXIMUM_JUMP = 20_000


def epoch_findings(
    request: OperationRequest, known: Epoch, taken: int | None = None
) -> tuple[Finding, ...]:
    """May a request with this epoch act? A request without one comes from a local admin; taken:
    the epoch that it has got here."""
    if request.epoch is not None and (
        found := coordinator_findings(request.volume, request.coordinator, known)
    ):
        return found
    asked = taken if request.epoch is None else request.epoch
    if asked is None:
        return ()
    measured, newest = f"epoch {asked}", f"epoch {known.number}"
    if asked < known.number:
        return (
            blocker(
                "STALE_EPOCH",
                f"the request for {request.volume} is older than what happened here since",
                measured=measured,
                limit=f"at least {newest}",
                remedy="see who has moved it: storage-agent events; then ask with a newer epoch",
            ),
        )
    if asked == known.number and request.operation_id != known.operation_id:
        return (
            blocker(
                "STALE_EPOCH",
                f"epoch {asked} of {request.volume} belongs to another operation",
                measured=f"operation {request.operation_id}",
                limit=f"operation {known.operation_id}, or a newer epoch",
                remedy="see what has happened: storage-agent events; then ask with epoch "
                f"{known.number + 1}",
            ),
        )
    if asked > known.number + MAXIMUM_JUMP:
        return (
            blocker(
                "EPOCH_JUMP",
                f"the epoch of the request for {request.volume} is implausibly far ahead",
                measured=measured,
                limit=f"at most {known.number + MAXIMUM_JUMP}",
                remedy="find out who sent it: journalctl -u storage-agentd; if it is right, as "
                f"root: storage-agent epoch restore {request.volume} {asked}; then on the "
                f"coordinator's machine: storage-coordinator adopt {request.volume}",
            ),
        )
    return ()


def ungranted_findings(volume: VolumeConfig, asked: int, known: int) -> tuple[Finding, ...]:
    """May somebody whose word is no grant ask with this epoch? Each one can be used once, and the
    next one must be left for whoever answers an incident: where a coordinator arbitrates only the
    epoch that was granted, else one more than what is known. known: it only ever grows."""
    if volume.arbitration is Arbitration.COORDINATOR:
        if asked <= known:
            return ()
        return (
            blocker(
                "EPOCH_NOT_GRANTED",
                f"a new epoch of {volume.name} comes with a grant alone, and this key's word is "
                "none",
                measured=f"epoch {asked}, role operate",
                limit=f"at most epoch {known}, or the role grant",
                remedy="let the coordinator move it, see there: storage-coordinator status "
                f"{volume.name}; for a coordinator of your own, as root: storage-agent authorize "
                "--role grant KEYFILE",
            ),
        )
    if asked <= known + 1:
        return ()
    return (
        blocker(
            "EPOCH_NOT_NEXT",
            f"the epoch of the request for {volume.name} leaves some out, which is for the role "
            "grant alone",
            measured=f"epoch {asked}, role operate",
            limit=f"at most epoch {known + 1}",
            remedy=f"ask again with epoch {known + 1}; where the other host knows a newer one: "
            f"storage-coordinator adopt {volume.name}",
        ),
    )


def coordinator_findings(volume: str, coordinator: str, known: Epoch) -> tuple[Finding, ...]:
    """Is this the coordinator that is listened to here? None is, where none is known."""
    if known.coordinator and coordinator == known.coordinator:
        return ()
    return (
        blocker(
            "OTHER_COORDINATOR",
            f"this host listens to another coordinator for {volume}"
            if known.coordinator
            else f"this host knows no coordinator of {volume} yet, or has lost that knowledge",
            measured=f"coordinator {coordinator[:64]!a}",
            limit=f"coordinator {known.coordinator!a}" if known.coordinator else "an adoption",
            remedy=f"on the one that shall be obeyed: storage-coordinator adopt {volume}",
        ),
    )


def unusable_epoch(volume: str, code: str, what: str) -> Finding:
    """what: `is missing` or `is damaged ...`."""
    return blocker(
        code,
        f"the epoch file of {volume} on this host {what}: it could miss a change of ownership",
        measured=f"the file {what}",
        limit="a file written by this agent",
        remedy=_restore(volume) + ", which makes this host forget its coordinator; where there is "
        f"one, on its machine: storage-coordinator adopt {volume}",
    )


def damaged_marker_record(volume: str) -> Finding:
    return blocker(
        "MARKER_RECORD_DAMAGED",
        f"this host's note of the newest marker of {volume} is damaged: an old copy could be "
        "taken for a current one",
        measured="the file is damaged",
        limit="a file written by this agent",
        remedy=_restore(volume) + ", which gives the note up",
    )


def _restore(volume: str) -> str:
    return (
        "read the epoch of the other host there: storage-agent status --json; then here, as root, "
        f"with a number at least as high: storage-agent epoch restore {volume} NUMBER"
    )
