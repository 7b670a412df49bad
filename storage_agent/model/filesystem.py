"""Filesystems, mounts and free space."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """One line of /proc/self/mountinfo (proc(5)). device: `major:minor`.  options: of this mount,
    not of the filesystem (`nosuid`); empty where they were not looked at."""

    mount_point: str
    source: str
    device: str
    root: str
    type: str
    read_only: bool
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who keeps a filesystem or a device busy. kind: `process`, `mount`, `device`, `nfs`."""

    kind: str
    what: str
    pid: int | None = None


# Below that a database and a file of ours cannot grow at all.
LEAST_ROOM_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """Of a mounted filesystem, as an unprivileged user may use it (statvfs).

    root_free_bytes: with what only root may take.  lacking_bytes, lacking_inodes: what the agent
    does not hold yet of what it needs to serve the volume when nothing is free.
    """

    size_bytes: int
    free_bytes: int
    inodes: int
    free_inodes: int
    root_free_bytes: int = 0
    lacking_bytes: int = 0
    lacking_inodes: int = 0

    def is_full(self) -> bool:
        """Users can make nothing new. Filesystems without a fixed number of inodes say 0."""
        return self.free_bytes < LEAST_ROOM_BYTES or (self.inodes > 0 and self.free_inodes == 0)

    def has_room_for_server(self) -> bool:
        """An NFS server can be started on it: what it needs is held, or there is room for it."""
        has_inodes = self.inodes == 0 or self.free_inodes >= self.lacking_inodes
        return has_inodes and self.root_free_bytes >= min(self.lacking_bytes, LEAST_ROOM_BYTES)


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
    both empty where all is well.  unwritten: why the currency marker could not be written when
    that was tried last; empty where it could, and where nobody tries.
    """

    uuid: str | None
    type: str | None
    mounts: tuple[Mount, ...]
    mount_point_state: str
    capacity: Capacity | None = None
    disturbed: str = ""
    put_right: str = ""
    unwritten: str = ""
