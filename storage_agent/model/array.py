"""md arrays, their members, and the disks they are made of."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ArrayState(StrEnum):
    """sysfs `md/array_state` (kernel Documentation/admin-guide/md.rst)."""

    CLEAR = "clear"
    INACTIVE = "inactive"
    SUSPENDED = "suspended"
    READONLY = "readonly"
    READ_AUTO = "read-auto"
    CLEAN = "clean"
    ACTIVE = "active"
    WRITE_PENDING = "write-pending"
    ACTIVE_IDLE = "active-idle"
    BROKEN = "broken"
    # A word that is not known here. No decision is taken on it (VolumeSnapshot.decidable()).
    UNKNOWN = "unknown"


RUNNING_STATES = frozenset(
    {
        ArrayState.READONLY,
        ArrayState.READ_AUTO,
        ArrayState.CLEAN,
        ArrayState.ACTIVE,
        ArrayState.WRITE_PENDING,
        ArrayState.ACTIVE_IDLE,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """A whole block device that could be a member.

    name: kernel name (`vdb`), never an identity.  serial: what travels with the disk.
    signatures: what blkid or udev recognises on it (`linux_raid_member`, `ext4`, `gpt` …).
    holders: kernel names of devices stacked on it.  mounted_at: mount points of it.
    claimed: the kernel has given it, or a part of it, to one user alone (md, DRBD, swap, a mount,
    a program that is formatting it), whoever that is.
    """

    name: str
    path: str
    serial: str
    size_bytes: int
    signatures: tuple[str, ...] = ()
    holders: tuple[str, ...] = ()
    mounted_at: tuple[str, ...] = ()
    partitions: tuple[str, ...] = ()
    claimed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Superblock:
    """The md 1.x superblock on one disk, as `mdadm --examine` shows it.

    role: slot number, or None for a spare.  array_uuid/device_uuid in mdadm's `8:8:8:8` form.
    array_state: a letter a slot, as this member last knew them (`AA.A`: slot 2 was left out).
    updated: when it was written last, as mdadm prints it, in local time.  recovering: it was being
    rebuilt then, and carries only a part.
    """

    disk: str
    serial: str
    array_uuid: str
    device_uuid: str
    name: str
    level: str
    raid_disks: int
    role: int | None
    events: int
    array_state: str
    size_bytes: int | None = None
    updated: str = ""
    recovering: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayMember:
    """One `dev-*` of a running array. state: md's words (`in_sync`, `faulty`, `spare` …)."""

    disk: str
    serial: str
    slot: int | None
    state: tuple[str, ...]

    def has_place(self) -> bool:
        """In sync, or being rebuilt to be so."""
        return self.slot is not None and "faulty" not in self.state


@dataclass(frozen=True, slots=True, kw_only=True)
class Array:
    """A running or half-assembled array, from sysfs.

    name: kernel name (`md127`).  degraded: missing members; None for levels without redundancy.
    sync_completed_ratio: 0..1 while sync_action is not idle and the kernel knows it.
    possible_bytes: size_bytes if it took all of the room on its smallest member
    (`mdadm --grow --size=max`); None while a member is missing or its room is not known.
    links: paths in /dev/md that lead to it; what udev assembled may have another one than ours.
    """

    name: str
    uuid: str
    level: str
    state: ArrayState
    raid_disks: int
    degraded: int | None
    size_bytes: int
    sync_action: str
    members: tuple[ArrayMember, ...]
    sync_completed_ratio: float | None = None
    mismatch_count: int | None = None
    possible_bytes: int | None = None
    holders: tuple[str, ...] = ()
    links: tuple[str, ...] = ()

    def running(self) -> bool:
        return self.state in RUNNING_STATES


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenMembers:
    """Serials of the members when this host last saw the array run, and since when they were
    these. Durable: a member that died with the power cannot say any more that it went on alone.
    rebuilding: those that had a slot and not all of the data yet."""

    in_sync: tuple[str, ...]
    rebuilding: tuple[str, ...]
    since_wall_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayView:
    """What this host shows of a volume's array: the array if one exists, and what is attached.

    attached: superblocks found on the configured disks (by serial) plus any other disk that
    carries the array's UUID.  missing: configured serials with no attached disk.  blank: those
    whose disk carries nothing.  other: those whose disk carries something that is no md member.
    seen: None where this host has never noted it.  has_metadata: DRBD's metadata lie at the end of
    the running array; None while DRBD itself holds it, and where that was not looked at.
    """

    array: Array | None
    attached: tuple[Superblock, ...]
    missing: tuple[str, ...]
    blank: tuple[str, ...] = ()
    other: tuple[str, ...] = ()
    seen: SeenMembers | None = None
    has_metadata: bool | None = None
