"""May this host's array be assembled of what is attached?

Only complete and current sets are: for each slot one member, configured by its serial or seen by
this host in the array, all of this array, none behind the others, none claimed twice, no stranger
carrying its UUID. A degraded start is a person's decision, because a half set may be the stale
half.
"""

from __future__ import annotations

from storage_agent.model.array import ArrayView, Superblock
from storage_agent.model.configuration import VolumeConfig
from storage_agent.model.finding import Finding, blockers
from storage_agent.model.members import Members, select
from storage_agent.model.observed import Unobserved
from storage_agent.model.replica import WITHOUT_DISK, ConnectionState, Replica, Role
from storage_agent.model.snapshot import VolumeSnapshot
from storage_agent.policy.array.degraded import start_findings
from storage_agent.policy.array.members import (
    add_command,
    by_serial,
    degraded_findings,
    replaced,
    replaced_findings,
)
from storage_agent.policy.array.not_made import not_made_findings
from storage_agent.policy.common import blocker, unobserved
from storage_agent.policy.creating.remake import metadata_findings
from storage_agent.policy.guards import taking_findings


def assembly_findings(volume: VolumeConfig, snapshot: VolumeSnapshot) -> tuple[Finding, ...]:
    """Blockers for `assemble`; empty or warnings only: go on."""
    uuid = volume.array.uuid.get(snapshot.host)
    if uuid is None:
        return not_made_findings(volume, snapshot.host)
    view = snapshot.array
    if isinstance(view, Unobserved) or view is None:
        return unobserved(snapshot)
    alone = (*_attach_alone(volume, snapshot), *taking_findings(volume, snapshot))
    if view.array is not None and view.array.running():
        return (
            *alone,
            *metadata_findings(volume, snapshot, view),
            *degraded_findings(volume, view),
            *replaced_findings(volume, view, snapshot.host),
        )
    members = select(volume.array, view, snapshot.host)
    if members.is_whole() and not members.unknown:
        used = tuple(block.serial for block in members.chosen)
        return (*alone, *replaced(volume, snapshot.host, used))
    way = _without_it(volume, snapshot, view, members)
    return (
        *alone,
        *_missing(volume, view, way),
        *_foreign(volume, view, members, uuid, way),
        *_stale(volume, members, way),
    )


def degraded_start_findings(volume: VolumeConfig, snapshot: VolumeSnapshot) -> tuple[Finding, ...]:
    """Blockers for `assemble --degraded`, or what a person has to know before confirming it."""
    uuid, view = volume.array.uuid.get(snapshot.host), snapshot.array
    if uuid is None or not isinstance(view, ArrayView):
        return assembly_findings(volume, snapshot)
    if view.array is not None and view.array.running():
        return assembly_findings(volume, snapshot)
    members = select(volume.array, view, snapshot.host)
    if members.is_whole() and not members.unknown:
        return assembly_findings(volume, snapshot)
    return (
        *_attach_alone(volume, snapshot),
        *taking_findings(volume, snapshot),
        *_clones(volume, members),
        *start_findings(volume, snapshot, view, members),
    )


def _without_it(
    volume: VolumeConfig, snapshot: VolumeSnapshot, view: ArrayView, members: Members
) -> str:
    """The way on without a member, where there is one."""
    if members.unknown or members.doubled:
        return ""
    if not members.chosen:
        if volume.replica is None:
            return ""
        return (
            "; if all of it is gone for good, take the other host's copy, on new and blank disks: "
            f"storage-agent create {volume.name} --join"
        )
    if blockers(start_findings(volume, snapshot, view, members)):
        return f"; why not without it: storage-agent assemble {volume.name} --degraded --dry-run"
    return f"storage-agent assemble {volume.name} --degraded"


def _attach_alone(volume: VolumeConfig, snapshot: VolumeSnapshot) -> tuple[Finding, ...]:
    """A Primary that has lost its disk writes to the peer's. DRBD 8.4 refuses the old one back only
    if it has heard of the peer's new generation; cut off in that moment, it has not, and would go
    on with old data (drbd_nl.c drbd_adm_attach(), ed_uuid; simulation, seed 50805)."""
    replica = snapshot.replica
    if not isinstance(replica, Replica) or replica.role is not Role.PRIMARY:
        return ()
    connection = replica.peer.connection if replica.peer else ConnectionState.STANDALONE
    has_disk = replica.disk not in WITHOUT_DISK
    if has_disk or connection is ConnectionState.CONNECTED:
        return ()
    return (
        blocker(
            "ATTACH_ALONE",
            f"{snapshot.host} is Primary for {volume.name} without its own disk and without its "
            "peer: the disk that is here may miss what the peer's has",
            measured=f"disk: {replica.disk}, connection: {connection}",
            limit="connected, so that DRBD compares both copies, or Secondary",
            remedy="bring the other host or the link to it back first; or give it up here: "
            f"storage-agent demote {volume.name} "
            f"--yes-stop-serving {snapshot.host}/{volume.name}",
        ),
    )


def unseen_replica_findings(snapshot: VolumeSnapshot) -> tuple[Finding, ...]:
    """Right before the disk is attached: what was not seen may be a Primary that has lost it."""
    return unobserved(snapshot) if isinstance(snapshot.replica, Unobserved) else ()


def only_missing(findings: tuple[Finding, ...]) -> bool:
    """True where waiting for late devices can still help."""
    return bool(findings) and all(f.code == "MEMBER_MISSING" for f in findings)


def _missing(volume: VolumeConfig, view: ArrayView, way: str) -> tuple[Finding, ...]:
    return tuple(
        blocker(
            "MEMBER_MISSING",
            f"disk {serial} of {volume.name} is not attached",
            measured=f"no disk with the serial {serial}",
            limit="all configured members attached",
            remedy=f"attach it, then: storage-agent assemble {volume.name}{_or(way)}",
        )
        for serial in view.missing
    )


def _or(way: str) -> str:
    """Behind another remedy."""
    is_command = way.startswith("storage-agent")
    return f"; or, if it is gone for good, start without it: {way}" if is_command else way


def _or_start(way: str) -> str:
    return f": start without it: {way}" if way.startswith("storage-agent") else way


def _foreign(
    volume: VolumeConfig, view: ArrayView, members: Members, uuid: str, way: str
) -> tuple[Finding, ...]:
    found = [
        blocker(
            "MEMBER_BLANK",
            f"disk {serial} is configured for {volume.name} but carries no md superblock",
            measured="no superblock",
            limit=f"a member of array {uuid}",
            remedy=f"attach the disk that was there, then: storage-agent assemble {volume.name}"
            f"{_or(way)}"
            + (f"; once the array runs: {add_command(volume, by_serial(serial))}")
            * bool(members.chosen),
        )
        for serial in view.blank
    ]
    found += [
        blocker(
            "MEMBER_NOT_RAID",
            f"disk {serial} is configured for {volume.name} but carries something else",
            measured="no md superblock, and not blank",
            limit=f"a member of array {uuid}",
            remedy="see what is on it: wipefs --no-act DISK; is the serial right?",
        )
        for serial in view.other
    ]
    for block in view.attached:
        if block.array_uuid != uuid:
            found.append(
                blocker(
                    "MEMBER_FOREIGN",
                    f"disk {block.serial} is configured for {volume.name} "
                    f"but belongs to another array ({block.name})",
                    measured=f"array {block.array_uuid}",
                    limit=f"array {uuid}",
                    remedy="attach the right disk, or correct the serial in agent.toml",
                )
            )
        elif block in members.unknown:
            found.append(_unexpected(volume, block))
    return tuple(found)


def _stale(volume: VolumeConfig, members: Members, way: str) -> tuple[Finding, ...]:
    current = (*members.chosen, *members.unknown)
    newest = max((block.events for block in current), default=0)
    found = [
        blocker(
            "MEMBER_STALE",
            f"disk {block.serial} of {volume.name} is older than the others",
            measured=f"event count {block.events}",
            limit=f"event count {newest}, as on {_serials_with(current, newest)}",
            remedy=f"it missed writes{_or_start(way)}; once the array runs, rebuild it: "
            f"{add_command(volume, '/dev/' + block.disk)}",
        )
        for block in members.left_out
    ]
    return (*found, *_doubled(volume, members))


def _clones(volume: VolumeConfig, members: Members) -> tuple[Finding, ...]:
    """What must not be there, whichever of the others are."""
    found = (_unexpected(volume, block) for block in members.unknown)
    return (*found, *_doubled(volume, members))


def _unexpected(volume: VolumeConfig, block: Superblock) -> Finding:
    return blocker(
        "MEMBER_UNEXPECTED",
        f"disk {block.serial or block.disk} carries the array of {volume.name} "
        "but is not configured for it",
        measured=f"{block.disk}: array {block.array_uuid}",
        limit="only configured disks; a copy of a member must not be attached",
        remedy="detach it (is it a clone or a snapshot?), or configure its serial",
    )


def _doubled(volume: VolumeConfig, members: Members) -> tuple[Finding, ...]:
    return tuple(
        blocker(
            "MEMBER_DUPLICATE",
            f"two attached disks claim slot {slot} of the array of {volume.name}",
            measured=", ".join(b.serial or b.disk for b in blocks),
            limit="one disk a slot",
            remedy="detach the copy (clone or snapshot)",
        )
        for slot, blocks in members.doubled
    )


def _serials_with(blocks: tuple[Superblock, ...], events: int) -> str:
    return ", ".join(block.serial for block in blocks if block.events == events)
