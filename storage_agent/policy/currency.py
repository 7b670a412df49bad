"""Is the filesystem that was found the newest state that anybody knows of?

Asked after the role was taken and before anything is written or exported: DRBD's states have
been wrong before (LINBIT/drbd#145), a marker that was fsynced on the filesystem has not. But it
lies where users may write, so the worst that one can do is to ask for a person's word.
"""

from __future__ import annotations

import dataclasses

from storage_agent.model.finding import Finding
from storage_agent.model.observed import Unobserved
from storage_agent.model.operation import Marker, OperationRequest
from storage_agent.model.replica import Replica
from storage_agent.model.snapshot import VolumeSnapshot
from storage_agent.policy.common import blocker, warning
from storage_agent.policy.epoch import MAXIMUM_JUMP

# What a host may have missed is what a request may be ahead of it.
EPOCH_LEAP = MAXIMUM_JUMP
# Ticks that were written and not noted; a year of them.
COUNT_LEAP = 1_000_000
# More than are ever written between two notes.
UNNOTED = 10


def currency_findings(
    request: OperationRequest,
    found: Marker | Unobserved | None,
    last_known: tuple[int, int] | None,
    snapshot: VolumeSnapshot,
    epoch: int,
) -> tuple[Finding, ...]:
    """last_known: the newest marker that this host itself has seen; None: it never saw one.
    epoch: the one that this operation has."""
    newest = max(
        (known for known in (last_known, _pair(request.marker_at_least)) if known is not None),
        default=None,
    )
    problem = _problem(request, found, newest, snapshot, epoch)
    if problem is None:
        return _foreign(request, found) if isinstance(found, Marker) else ()
    if request.marker_lost != _named(request, snapshot):
        return (problem,)
    return (
        warning(
            "MARKER_DISREGARDED",
            f"{request.volume} is served here on a person's word: {problem.summary}",
            measured=problem.measured,
            limit=problem.limit,
            remedy="compare what users miss with a backup; the marker is written anew",
        ),
    )


def _problem(
    request: OperationRequest,
    found: Marker | Unobserved | None,
    newest: tuple[int, int] | None,
    snapshot: VolumeSnapshot,
    epoch: int,
) -> Finding | None:
    volume, way = request.volume, _way(request, snapshot)
    if isinstance(found, Unobserved):
        return blocker(
            "MARKER_UNREADABLE",
            f"the currency marker of {volume} could not be read: whether this copy is the newest "
            f"is not proved by it; {_replicas_word(snapshot)}",
            measured=found.reason,
            limit="a marker that can be read, or none",
            remedy="see what the kernel says: journalctl -k -n 50; look at the filesystem "
            f"read-only before anything else is done with it; {way}",
        )
    if found is None and newest is not None:
        return blocker(
            "MARKER_GONE",
            f"the folder .storage-agent, or the marker in it, is gone from {volume}: whether this "
            f"copy is the newest is not proved by it; {_replicas_word(snapshot)}",
            measured="no marker",
            limit=f"at least {_text(newest)}",
            remedy=f"put the folder back if somebody has moved it, else: {way}",
        )
    if found is not None and found.epoch > epoch + EPOCH_LEAP:
        return blocker(
            "MARKER_IMPLAUSIBLE",
            f"the currency marker of {volume} cannot be true: somebody else has written it, and "
            f"whether this copy is the newest is not proved by it; {_replicas_word(snapshot)}",
            measured=_text(found.age()),
            limit=f"at most {EPOCH_LEAP} above epoch {epoch}",
            remedy=f"find out who can write there as root; {way}",
        )
    if found is not None and newest is not None and found.age() < newest:
        return blocker(
            "MARKER_OLD",
            f"this copy of {volume} is older than the state last seen, or its marker was put "
            f"back from a backup; {_replicas_word(snapshot)}",
            measured=_text(found.age()),
            limit=f"at least {_text(newest)}",
            remedy="writes may be lost: bring the other host's copy back, and compare both "
            f"before either is used; {way}",
        )
    return None


def _way(request: OperationRequest, snapshot: VolumeSnapshot) -> str:
    named = _named(request, snapshot)
    return (
        "if you know that no host has a newer copy: "
        f"storage-agent promote {request.volume} --marker-lost {named}"
    )


def _named(request: OperationRequest, snapshot: VolumeSnapshot) -> str:
    return f"{snapshot.host}/{request.volume}"


def _replicas_word(snapshot: VolumeSnapshot) -> str:
    """What is still proved without the marker, and what is not."""
    replica = snapshot.replica
    if replica is None:
        return "there is no other copy"
    if isinstance(replica, Replica) and replica.in_sync():
        return "DRBD says that both hosts have the same data now, not that it is the newest"
    return "nor does DRBD prove it: the hosts are not connected and in sync"


def _foreign(request: OperationRequest, found: Marker) -> tuple[Finding, ...]:
    if request.epoch is None or not _is_foreign(request, found):
        return ()
    return (
        blocker(
            "STALE_EPOCH",
            f"{request.volume} was served with a newer epoch than the request carries",
            measured=f"epoch {request.epoch}",
            limit=f"above epoch {found.epoch}, written by {found.host}",
            remedy="see who has moved it: storage-agent events; then ask with a newer epoch",
        ),
    )


def _is_foreign(request: OperationRequest, found: Marker) -> bool:
    assert request.epoch is not None
    same = found.epoch == request.epoch and found.operation_id == request.operation_id
    return found.epoch >= request.epoch and not same


def _pair(ages: tuple[int, ...] | None) -> tuple[int, int] | None:
    return None if ages is None else (ages[0], ages[1])


def _text(age: tuple[int, int]) -> str:
    return f"epoch {age[0]}, count {age[1]}"


def count_on(found: Marker | None, noted: Marker | None, epoch: int | None) -> Marker | None:
    """Which marker a host that serves counts on from: the one on the volume as far as it continues
    what this host has noted, else its own note. None: neither is this host's word.

    found: on the volume; None: gone, or cannot be read.  epoch: the volume's, as this host has it.
    """
    if noted is None:
        believed = found is not None and epoch is not None and found.epoch <= epoch
        return found if believed else None
    if found is not None and _continues(found, noted):
        return found
    if found is not None and noted.epoch != epoch:
        return None  # Of another owner, maybe: an operation may be about to write.
    return dataclasses.replace(noted, counter=noted.counter + UNNOTED)


def _continues(found: Marker, noted: Marker) -> bool:
    is_same = (found.epoch, found.operation_id, found.host, found.boot_id) == (
        noted.epoch,
        noted.operation_id,
        noted.host,
        noted.boot_id,
    )
    return is_same and noted.counter <= found.counter < noted.counter + COUNT_LEAP
