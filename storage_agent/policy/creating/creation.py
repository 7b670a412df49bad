"""May these disks be overwritten by `create`? Only blank, unused, attached ones, by serial."""

from __future__ import annotations

from storage_agent.model.array import Disk
from storage_agent.model.configuration import AgentConfig, VolumeConfig
from storage_agent.model.finding import Finding
from storage_agent.model.surroundings import Surroundings
from storage_agent.policy.common import blocker, bytes_text
from storage_agent.policy.creating.abandon import Begun, going_on_findings
from storage_agent.policy.surroundings import collisions, disk_users

MINIMUM_DISKS = {"raid1": 2, "raid10": 2, "raid5": 3, "raid6": 4}


def creation_findings(
    config: AgentConfig,
    volume: VolumeConfig,
    disks: tuple[Disk, ...],
    surroundings: Surroundings,
    begun: Begun | None = None,
    role: str = "",
) -> tuple[Finding, ...]:
    """disks: the attached ones, each with the signatures that a fresh probe found on it.

    Whether the volume exists is a matter of the configuration, not of the identity that
    `volume` may have been given for the plan. begun: what is known of an earlier `create` that
    did not come to its end; this one goes on with it.  role: a host whose disks are all new ones
    may join again.
    """
    created = config.volumes[volume.name].array.uuid
    if begun is not None:
        unlike = going_on_findings(config, volume, begun)
        if unlike:
            return unlike
    elif config.host in created and not (role == "join" and _are_blank(config, volume, disks)):
        return (
            blocker(
                "ALREADY_CREATED",
                f"{volume.name} already has an array on {config.host}",
                measured=f"array {created[config.host]}",
                limit="no array yet, or new and blank disks to take the other host's copy",
                remedy=f"storage-agent assemble {volume.name}; beside a good copy on the other "
                f"host, once each disk here is new and blank: storage-agent create {volume.name} "
                "--join",
            ),
        )
    found: list[Finding] = []
    chosen: list[Disk] = []
    for serial in volume.array.disks.get(config.host, ()):
        matching = [disk for disk in disks if disk.serial == serial]
        if len(matching) == 1:
            chosen.append(matching[0])
            if begun is None or not begun.has(matching[0]):
                found += _in_use(matching[0], disk_users(matching[0], surroundings))
        else:
            found.append(_not_one(volume, serial, matching))
    others = collisions(config, volume, surroundings, is_made=begun is not None)
    return (*(other.finding for other in others), *found, *_sizes(volume, chosen))


def _are_blank(config: AgentConfig, volume: VolumeConfig, disks: tuple[Disk, ...]) -> bool:
    """Nothing is left here of the array that was made before."""
    wanted = volume.array.disks.get(config.host, ())
    chosen = [disk for disk in disks if disk.serial in wanted]
    return {disk.serial for disk in chosen} == set(wanted) and not any(
        disk.signatures or disk.holders or disk.partitions for disk in chosen
    )


def _not_one(volume: VolumeConfig, serial: str, matching: list[Disk]) -> Finding:
    if not matching:
        return blocker(
            "MEMBER_MISSING",
            f"disk {serial} of {volume.name} is not attached",
            measured=f"no disk with the serial {serial}",
            limit="all configured members attached",
            remedy="attach it, or correct the serial in agent.toml (lsblk -o NAME,SERIAL,SIZE)",
        )
    return blocker(
        "MEMBER_DUPLICATE",
        f"serial {serial} is carried by more than one attached disk",
        measured=", ".join(disk.path for disk in matching),
        limit="one disk",
        remedy="detach the copy",
    )


def _in_use(disk: Disk, users: tuple[str, ...]) -> tuple[Finding, ...]:
    """users: who else has it by definition. That a disk be wiped is advised only where nobody at
    all is known to have it: a signature alone may be what somebody is writing just now."""
    held = {
        "is held by": disk.holders,
        "is mounted at": disk.mounted_at,
        "is the disk of": users,
        "is in use by": ("the kernel or a program, exclusively",) if disk.claimed else (),
    }
    lies_there = {"carries": disk.signatures, "has partitions": disk.partitions}
    is_held = any(held.values())
    remedy = (
        f"name another disk; see what uses this one: lsblk {disk.path}; cat /proc/swaps"
        if is_held
        else f"name another disk; see what lies on this one: wipefs --no-act {disk.path}; if all "
        f"of that may go, and no other host has it: wipefs --all {disk.path}"
    )
    return tuple(
        blocker(
            "DISK_IN_USE",
            f"disk {disk.serial} ({disk.path}) {'is in use' if how in held else 'is not blank'}: "
            f"it {how} {', '.join(what)}",
            measured=", ".join(what),
            limit="no signature, partition, holder, mount or other user",
            remedy=remedy,
        )
        for how, what in (held | lies_there).items()
        if what
    )


def _sizes(volume: VolumeConfig, disks: list[Disk]) -> tuple[Finding, ...]:
    wanted = MINIMUM_DISKS[volume.array.level]
    if len(disks) < wanted:
        return (
            blocker(
                "TOO_FEW_DISKS",
                f"{volume.array.level} needs more disks than {volume.name} has here",
                measured=f"{len(disks)} usable",
                limit=f"at least {wanted}",
                remedy=f"configure more serials under [volumes.{volume.name}.array.disks] in "
                "agent.toml, then: storage-agent config check",
            ),
        )
    sizes = {disk.size_bytes for disk in disks}
    if len(sizes) > 1:
        small = min(disks, key=lambda disk: disk.size_bytes)
        return (
            blocker(
                "DISK_SIZES_DIFFER",
                f"the disks of {volume.name} differ in size; the smallest would decide",
                measured=", ".join(f"{d.serial}: {bytes_text(d.size_bytes)}" for d in disks),
                limit="equal sizes",
                remedy=f"replace {small.serial} ({bytes_text(small.size_bytes)})",
            ),
        )
    return ()
