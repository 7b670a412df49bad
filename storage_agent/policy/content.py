"""Is what lies on the array the volume's own filesystem, and is it whole? Asked before the role is
taken."""

from __future__ import annotations

from storage_agent.model.array import ArrayView
from storage_agent.model.configuration import VolumeConfig
from storage_agent.model.finding import Finding
from storage_agent.model.observed import Unobserved
from storage_agent.model.replica import DiskState, Replica
from storage_agent.model.snapshot import VolumeSnapshot
from storage_agent.policy.common import LOOKED_AT, blocker, bytes_text

_WHOLE = frozenset({DiskState.UP_TO_DATE, DiskState.CONSISTENT})


def content_findings(volume: VolumeConfig, snapshot: VolumeSnapshot) -> tuple[Finding, ...]:
    """What lies on the array, before the role is taken; wants Facet.CONTENT. Of a
    copy that is refused anyway, or is being overwritten, it says nothing."""
    replica, view, found = snapshot.replica, snapshot.array, snapshot.content
    sizes = []
    if volume.replica is not None:
        if not isinstance(replica, Replica) or replica.disk not in _WHOLE:
            return ()
        sizes.append(replica.size_bytes)
    if not isinstance(view, ArrayView) or view.array is None or not view.array.running():
        return ()
    if isinstance(found, Unobserved):
        return (
            blocker(
                "UNOBSERVED",
                f"which filesystem lies on the array of {volume.name} could not be looked at",
                measured=found.reason,
                limit=LOOKED_AT,
                remedy="see what keeps the agent from looking: storage-agent doctor",
            ),
        )
    wanted = (volume.filesystem.type, volume.filesystem.uuid)
    if found is None or (found.type, found.uuid) != wanted:
        return (
            blocker(
                "WRONG_FILESYSTEM",
                f"the array of {volume.name} does not carry the filesystem of {volume.name}",
                measured=f"{found.type} {found.uuid}" if found else "neither ext4 nor xfs",
                limit=" ".join(part or "none yet" for part in wanted),
                remedy=f"is it the right array: storage-agent status {volume.name}; "
                f"blkid -p -u filesystem {volume.array_device()}",
            ),
        )
    limit_bytes = min(size for size in (*sizes, view.array.size_bytes) if size is not None)
    if found.size_bytes <= limit_bytes:
        return ()
    return (
        blocker(
            "FILESYSTEM_TOO_LARGE",
            f"the filesystem of {volume.name} is larger than what carries it on {snapshot.host}",
            measured=f"filesystem: {bytes_text(found.size_bytes)}",
            limit=f"{volume.device()}: {bytes_text(limit_bytes)}",
            remedy="bring the whole array back, or serve from the other host: storage-agent status",
        ),
    )
