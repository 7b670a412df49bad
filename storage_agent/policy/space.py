"""Is there room on the volume: for its users, and for what serving it takes?"""

from __future__ import annotations

from storage_agent.model.configuration import VolumeConfig
from storage_agent.model.filesystem import LEAST_ROOM_BYTES, Capacity, FilesystemView
from storage_agent.model.finding import Finding
from storage_agent.model.snapshot import VolumeSnapshot
from storage_agent.policy.common import blocker, bytes_text, warning

MINIMUM_FREE_RATIO = 0.05


def space_findings(volume: VolumeConfig, snapshot: VolumeSnapshot) -> tuple[Finding, ...]:
    """Of a volume that is mounted here."""
    space = _capacity(snapshot)
    if space is None:
        return ()
    found = no_room_findings(volume, snapshot)
    return (*found, *_full(volume, space)) if space.is_full() else (*found, *_low(volume, space))


def no_room_findings(volume: VolumeConfig, snapshot: VolumeSnapshot) -> tuple[Finding, ...]:
    """Once its NFS server has stopped, none could be started: neither here nor on the peer."""
    space = _capacity(snapshot)
    if space is None or space.has_room_for_server():
        return ()
    wanted_bytes = min(space.lacking_bytes, LEAST_ROOM_BYTES)
    at = volume.mount_point
    return (
        blocker(
            "NO_ROOM_FOR_SERVER",
            f"{at} is full, and what {volume.name}'s NFS server keeps on it is not there: once "
            "stopped, it could not be started anywhere",
            measured=f"{bytes_text(space.root_free_bytes)} and {space.free_inodes} inodes free",
            limit=f"{bytes_text(wanted_bytes)} and {space.lacking_inodes} inodes free",
            remedy=f"remove files from {at} until that much is free: df --block-size=1 {at}; "
            f"df -i {at}",
        ),
    )


def unwritten_findings(volume: VolumeConfig, snapshot: VolumeSnapshot) -> tuple[Finding, ...]:
    """The next promotion writes its epoch there before anybody is served, on either host."""
    view = snapshot.filesystem
    if not isinstance(view, FilesystemView) or not view.unwritten or view.disturbed:
        # A folder that users have moved is put back within seconds, and is told of as that.
        return ()
    at = volume.mount_point
    return (
        blocker(
            "MARKER_NOT_WRITTEN",
            f"the currency marker on {at} cannot be written: the next promotion of {volume.name} "
            "would fail on either host, with nobody serving it",
            measured=view.unwritten,
            limit=f"{at}/.storage-agent/marker can be written every 30 s",
            remedy=f"see what is in the way: lsattr -d {at} {at}/.storage-agent; lsattr "
            f"{at}/.storage-agent; df -i {at}; findmnt {at}; journalctl -k -n 50",
        ),
    )


def _capacity(snapshot: VolumeSnapshot) -> Capacity | None:
    view = snapshot.filesystem
    return view.capacity if isinstance(view, FilesystemView) else None


def _full(volume: VolumeConfig, space: Capacity) -> tuple[Finding, ...]:
    at = volume.mount_point
    what, look = "bytes", f"df -h {at}; du -x {at} | sort -n | tail"
    if space.inodes > 0 and space.free_inodes == 0:
        what, look = "inodes", f"df -i {at}; du --inodes -x {at} | sort -n | tail"
    served = "" if volume.nfs is None else "; it is served, moved and proved with what is there"
    return (
        warning(
            "FULL",
            f"{at} has no {what} left for its users{served}",
            measured=f"{bytes_text(space.free_bytes)} and {space.free_inodes} inodes free",
            limit=f"at least {bytes_text(LEAST_ROOM_BYTES)} and 1 inode free",
            remedy=f"see who has used them up: {look}",
        ),
    )


def _low(volume: VolumeConfig, space: Capacity) -> tuple[Finding, ...]:
    measures = (
        ("bytes", space.free_bytes, space.size_bytes, bytes_text(space.free_bytes), "df -h"),
        ("inodes", space.free_inodes, space.inodes, f"{space.free_inodes} inodes", "df -i"),
    )
    return tuple(
        warning(
            "NEARLY_FULL",
            f"{volume.mount_point} runs out of {what}",
            measured=f"{shown} free of {total}",
            limit=f"at least {MINIMUM_FREE_RATIO:.0%} free",
            remedy=f"free some, or grow the volume: {look} {volume.mount_point}",
        )
        for what, free, total, shown, look in measures
        # Filesystems without a fixed number of inodes say 0.
        if total > 0 and free < total * MINIMUM_FREE_RATIO
    )
