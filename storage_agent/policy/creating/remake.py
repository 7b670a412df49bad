"""A replica whose metadata are gone from this host's array: named, and made new from the peer's.

The data below may be whole, but nobody can say any more how it differs from the peer's, so all of
it is copied anew; and only from a peer that is seen to have it.
"""

from __future__ import annotations

from storage_agent.model.array import ArrayView
from storage_agent.model.configuration import VolumeConfig
from storage_agent.model.finding import Finding
from storage_agent.model.observed import Unobserved
from storage_agent.model.replica import WITHOUT_DISK, Replica, Role
from storage_agent.model.snapshot import VolumeSnapshot
from storage_agent.policy.common import blocker, bytes_text, unobserved, warning

# What a link of 1 Gbit/s carries, and one of 10 with disks that keep up.
_SLOW_BYTES_A_S = 110_000_000
_FAST_BYTES_A_S = 500_000_000


def metadata_findings(
    volume: VolumeConfig, snapshot: VolumeSnapshot, view: ArrayView
) -> tuple[Finding, ...]:
    """view: of an array that runs."""
    if volume.replica is None or view.has_metadata is not False or view.array is None:
        return ()
    return (metadata_lost(volume, snapshot.host, f": {_cost(view.array.size_bytes)}"),)


def metadata_lost(volume: VolumeConfig, host: str, cost: str = "") -> Finding:
    """cost: of what is named, where it is known."""
    return blocker(
        "METADATA_LOST",
        f"DRBD's metadata of {volume.name} are gone from {host}'s array: this copy cannot be "
        "used, nor compared",
        measured=f"no DRBD metadata at the end of {volume.array_device()}",
        limit="as create wrote them",
        remedy=f"if it is the right array: storage-agent create {volume.name} --join; that takes "
        f"all of the other host's copy{cost}",
    )


def remake_findings(
    volume: VolumeConfig, snapshot: VolumeSnapshot, peer: str
) -> tuple[Finding, ...]:
    """Blockers for giving this host's copy up and taking the peer's. peer: its name."""
    view, replica = snapshot.array, snapshot.replica
    if isinstance(view, Unobserved) or isinstance(replica, Unobserved):
        return unobserved(snapshot)
    is_attached = replica is not None and replica.disk not in WITHOUT_DISK
    is_lost = view is not None and bool(metadata_findings(volume, snapshot, view))
    if is_attached or not is_lost or view is None or view.array is None:
        return (
            blocker(
                "METADATA_PRESENT",
                f"{volume.name} exists on {snapshot.host}, and its metadata are not seen to be "
                "lost: nothing is made anew",
                measured=f"disk: {replica.disk}"
                if replica is not None
                else "metadata are there, or the array does not run",
                limit="a running array without DRBD's metadata",
                remedy=f"storage-agent assemble {volume.name}",
            ),
        )
    if isinstance(replica, Replica) and replica.role is Role.PRIMARY:
        return (
            blocker(
                "VOLUME_PRIMARY",
                f"{snapshot.host} serves {volume.name} from {peer}'s copy",
                measured="role: Primary, without a disk",
                limit="Secondary",
                remedy=f"storage-agent demote {volume.name}",
            ),
        )
    return (
        warning(
            "COPY_REMADE",
            f"what lies on {snapshot.host}'s array of {volume.name} is given up, and all of "
            f"{peer}'s copy is copied here: {_cost(view.array.size_bytes)}",
            measured=f"{volume.array_device()}: {bytes_text(view.array.size_bytes)}, no DRBD "
            "metadata",
            limit=f"{peer} connected and UpToDate; without that it ends before anything is erased",
            remedy=f"until it is done, {peer} has no fallback: storage-agent status --watch",
        ),
    )


def _cost(size_bytes: int) -> str:
    slow, fast = size_bytes // _SLOW_BYTES_A_S, size_bytes // _FAST_BYTES_A_S
    return (
        f"a full sync of {bytes_text(size_bytes)}, about {_duration(slow)} over 1 Gbit/s, "
        f"{_duration(fast)} over 10 Gbit/s"
    )


def _duration(seconds: int) -> str:
    if seconds < 120:
        return f"{max(1, seconds)} s"
    return f"{seconds // 60} min" if seconds < 7200 else f"{seconds // 3600} h"
