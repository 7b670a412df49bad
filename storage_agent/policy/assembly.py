"""May this host's array be assembled of what is attached?

Only complete and current sets are: every configured member by serial, all of this array, all
with the same event count, none claimed twice, no stranger carrying its UUID. A degraded start is
a person's decision, because a half set may be the stale half.
"""

from __future__ import annotations

from collections import Counter

from storage_agent.model.array import Array, ArrayMember, ArrayView, Superblock
from storage_agent.model.configuration import VolumeConfig
from storage_agent.model.finding import Finding
from storage_agent.model.observed import Unobserved
from storage_agent.model.replica import WITHOUT_DISK, ConnectionState, Replica, Role
from storage_agent.model.snapshot import VolumeSnapshot
from storage_agent.policy.common import blocker, unobserved, warning
from storage_agent.policy.guards import taking_findings
from storage_agent.policy.not_made import not_made_findings


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
        return (*alone, *degraded_findings(volume, view))
    return (
        *alone,
        *_missing(volume, view),
        *_foreign(volume, view, uuid),
        *_stale(volume, view, uuid),
    )


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


def degraded_findings(volume: VolumeConfig, view: ArrayView) -> tuple[Finding, ...]:
    """A running array with members missing: a warning, it serves."""
    array = view.array
    if array is None or not array.degraded:
        return ()
    in_sync = f"{array.raid_disks - array.degraded} of {array.raid_disks} members in sync"
    rebuilt = [member for member in array.members if _is_rebuilt(array, member)]
    summary = f"the array of {volume.name} runs with {array.degraded} member(s) missing"
    measured = f"{in_sync}; not attached: {', '.join(view.missing) or 'none'}"
    remedy = f"replace the disk, then: mdadm {volume.array_device()} --add DISK"
    if rebuilt:
        summary += f", and is being rebuilt onto {len(rebuilt)}"
        measured += f"; rebuilt: {', '.join(m.serial or m.disk for m in rebuilt)}"
    if len(rebuilt) >= array.degraded:
        remedy = f"no disk is to be replaced; see how far it is: storage-agent status {volume.name}"
    return (
        warning(
            "ARRAY_DEGRADED", summary, measured=measured, limit="all members in sync", remedy=remedy
        ),
    )


def _is_rebuilt(array: Array, member: ArrayMember) -> bool:
    """drivers/md/md.c: it has its slot, and is a spare until the recovery has ended."""
    is_in = member.slot is not None and not {"in_sync", "faulty"} & set(member.state)
    return array.sync_action == "recover" and is_in


def only_missing(findings: tuple[Finding, ...]) -> bool:
    """True where waiting for late devices can still help."""
    return bool(findings) and all(f.code == "MEMBER_MISSING" for f in findings)


def _missing(volume: VolumeConfig, view: ArrayView) -> tuple[Finding, ...]:
    return tuple(
        blocker(
            "MEMBER_MISSING",
            f"disk {serial} of {volume.name} is not attached",
            measured=f"no disk with the serial {serial}",
            limit="all configured members attached",
            remedy=f"attach it, then: storage-agent assemble {volume.name}",
        )
        for serial in view.missing
    )


def _foreign(volume: VolumeConfig, view: ArrayView, uuid: str) -> tuple[Finding, ...]:
    configured = {serial for disks in volume.array.disks.values() for serial in disks}
    found = [
        blocker(
            "MEMBER_BLANK",
            f"disk {serial} is configured for {volume.name} but carries no md superblock",
            measured="no superblock",
            limit=f"a member of array {uuid}",
            remedy="check that it is the right disk; a replaced member is added by hand "
            "to the running array",
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
        elif block.serial not in configured:
            found.append(
                blocker(
                    "MEMBER_UNEXPECTED",
                    f"disk {block.serial or block.disk} carries the array of {volume.name} "
                    "but is not configured for it",
                    measured=f"{block.disk}: array {block.array_uuid}",
                    limit="only configured disks; a copy of a member must not be attached",
                    remedy="detach it (is it a clone or a snapshot?), or configure its serial",
                )
            )
    return tuple(found)


def _stale(volume: VolumeConfig, view: ArrayView, uuid: str) -> tuple[Finding, ...]:
    ours = [block for block in view.attached if block.array_uuid == uuid]
    newest = max((block.events for block in ours), default=0)
    found = [
        blocker(
            "MEMBER_STALE",
            f"disk {block.serial} of {volume.name} is older than the others",
            measured=f"event count {block.events}",
            limit=f"event count {newest}, as on {_serials_with(ours, newest)}",
            remedy="it missed writes: start the array without it by hand, "
            "then add it so that it is rebuilt",
        )
        for block in ours
        if block.events != newest
    ]
    roles = Counter(block.role for block in ours if block.role is not None)
    found += [
        blocker(
            "MEMBER_DUPLICATE",
            f"two attached disks claim slot {role} of the array of {volume.name}",
            measured=", ".join(b.serial or b.disk for b in ours if b.role == role),
            limit="one disk a slot",
            remedy="detach the copy (clone or snapshot)",
        )
        for role, count in roles.items()
        if count > 1
    ]
    return tuple(found)


def _serials_with(blocks: list[Superblock], events: int) -> str:
    return ", ".join(block.serial for block in blocks if block.events == events)
