"""Is the pair still what a go-live has proved? Shown all the time; refuses no operation.

Only what a coordinator has adopted is to be sealed. An operation is never refused for want of a
seal: in an emergency an unproved pair is better than none, and each operation has its own proof.
"""

from __future__ import annotations

import dataclasses

from storage_agent.model.array import ArrayView
from storage_agent.model.configuration import VolumeConfig
from storage_agent.model.finding import Finding
from storage_agent.model.replica import Replica
from storage_agent.model.seal import Seal, SealFacts, SealRecord
from storage_agent.model.snapshot import VolumeSnapshot
from storage_agent.policy.common import blocker, bytes_text, warning
from storage_agent.policy.readiness import Readiness, Verdict

_WELL = frozenset({Verdict.SERVING, Verdict.READY})


def seal_facts(
    volume: VolumeConfig, snapshot: VolumeSnapshot, configuration: str
) -> SealFacts | None:
    """What this host would be sealed with now; None where a part of it cannot be seen.
    configuration: see SealFacts."""
    view, replica, uuid = snapshot.array, snapshot.replica, volume.filesystem.uuid
    array = view.array if isinstance(view, ArrayView) else None
    if array is None or uuid is None:
        return None
    if not isinstance(replica, Replica) or replica.size_bytes is None:
        return None
    return SealFacts(
        configuration=configuration,
        filesystem_uuid=uuid,
        array_uuid=array.uuid,
        members=tuple(sorted(member.serial for member in array.members)),
        array_bytes=array.size_bytes,
        replica_bytes=replica.size_bytes,
        possible_array_bytes=array.possible_bytes,
    )


def judged(
    readiness: Readiness, volume: VolumeConfig, record: SealRecord | None, facts: SealFacts | None
) -> Readiness:
    """With what is to be said of the seal. Never ready, and never well, without it."""
    finding = _finding(volume, record, facts)
    if finding is None:
        return readiness
    verdict = Verdict.DEGRADED if readiness.verdict in _WELL else readiness.verdict
    return dataclasses.replace(
        readiness, verdict=verdict, findings=(*readiness.findings, finding)
    )  # fmt: skip


def sealing_findings(volume: VolumeConfig, wanted: Seal, facts: SealFacts | None,
                     known_epoch: int) -> tuple[Finding, ...]:  # fmt: skip
    """May this be recorded? facts: of a fresh look.  known_epoch: the newest of this host."""
    if wanted.epoch < known_epoch:
        return (
            blocker(
                "STALE_EPOCH",
                f"the seal of {volume.name} is older than what happened here since",
                measured=f"epoch {wanted.epoch}",
                limit=f"at least epoch {known_epoch}",
                remedy="see who has moved it: storage-agent events; then: "
                f"storage-coordinator go-live {volume.name}",
            ),
        )
    if facts != wanted.facts:
        return (
            blocker(
                "SEAL_DIFFERS",
                f"{volume.name} on this host is not what the go-live has looked at",
                measured=_text(differences(wanted.facts, facts)) if facts else "not seen",
                limit="the same as a moment ago",
                remedy=f"storage-coordinator go-live {volume.name}",
            ),
        )
    return ()


def differences(sealed: SealFacts, facts: SealFacts) -> tuple[str, ...]:
    """What breaks the seal, each in words. A member that is missing does not: the array says so
    itself, and its replacement is a new member."""
    found = [
        f"{name} {before} is {now} now"
        for name, before, now in (
            ("configuration", sealed.configuration, facts.configuration),
            ("filesystem", sealed.filesystem_uuid, facts.filesystem_uuid),
            ("array", sealed.array_uuid, facts.array_uuid),
        )
        if before != now
    ]
    if fresh := sorted(set(facts.members) - set(sealed.members)):
        found.append(f"new in the array: {', '.join(fresh)}")
    found += [
        f"size of the {name}: {bytes_text(before)}, now {bytes_text(now)}"
        for name, before, now in (
            ("array", sealed.array_bytes, facts.array_bytes),
            ("replica", sealed.replica_bytes, facts.replica_bytes),
        )
        if before != now
    ]
    return tuple(found)


def _finding(
    volume: VolumeConfig, record: SealRecord | None, facts: SealFacts | None
) -> Finding | None:
    if record is None:
        return None
    remedy = f"on the coordinator's machine: storage-coordinator go-live {volume.name}"
    if record.seal is None:
        return warning(
            "UNSEALED",
            f"nobody has proved {volume.name} ready to go live on this host",
            measured="no seal",
            limit="sealed by a go-live",
            remedy=remedy,
        )
    if facts is None:
        return warning(
            "SEAL_UNCHECKED",
            f"whether {volume.name} is still what was sealed cannot be seen",
            measured="array or replica not seen",
            limit="both seen, with their sizes",
            remedy=f"storage-agent status {volume.name}",
        )
    broken = differences(record.seal.facts, facts)
    if not broken:
        return None
    return warning(
        "SEAL_BROKEN",
        f"{volume.name} is not what was sealed",
        measured=_text(broken),
        limit=f"as sealed in epoch {record.seal.epoch}",
        remedy=remedy,
    )


def _text(broken: tuple[str, ...]) -> str:
    return "; ".join(broken)
