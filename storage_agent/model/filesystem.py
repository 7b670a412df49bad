"""Filesystems, mounts and free space."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """One line of /proc/self/mountinfo (proc(5)). device: `major:minor`."""

    mount_point: str
    source: str
    device: str
    root: str
    type: str
    read_only: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who keeps a filesystem or a device busy. kind: `process`, `mount`, `device`, `nfs`."""

    kind: str
    what: str
    pid: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """Of a mounted filesystem, as an unprivileged user may use it (statvfs)."""

    size_bytes: int
    free_bytes: int
    inodes: int
    free_inodes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """The filesystem that begins on a volume's array, as its superblock says, whether or not the
    device above the array can be opened."""

    type: str
    uuid: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesystemView:
    """The volume's filesystem on this host.

    uuid/type: of what lies on the device; None where nothing is recognised or the device cannot
    be read here (a DRBD secondary).  mounts: every mount of the device in the host's namespace.
    mount_point_state: `ready` (an empty directory), `mounted` (by this volume), `missing`,
    `not-empty`, `occupied` (something else is mounted there), `unsafe` (symlink, not a
    directory, or a parent that others may write).
    disturbed: what is wrong with the agent's own folder on it; put_right: what of it was lately;
    both empty where all is well.
    """

    uuid: str | None
    type: str | None
    mounts: tuple[Mount, ...]
    mount_point_state: str
    capacity: Capacity | None = None
    disturbed: str = ""
    put_right: str = ""
