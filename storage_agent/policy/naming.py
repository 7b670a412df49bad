"""One line that names the state a volume is in on this host."""

from __future__ import annotations

from storage_agent.model.array import ArrayView
from storage_agent.model.configuration import VolumeConfig
from storage_agent.model.filesystem import FilesystemView
from storage_agent.model.nfs import NfsView, ServerState
from storage_agent.model.observed import Unobserved
from storage_agent.model.replica import Replica, Role
from storage_agent.model.snapshot import VolumeSnapshot


def name_state(volume: VolumeConfig, snapshot: VolumeSnapshot) -> str:
    """`serving on alpha`, `secondary on beta`, `primary on alpha, mounted, NFS server standby` …"""
    unknown = [
        name
        for name, view in (
            ("array", snapshot.array),
            ("replica", snapshot.replica),
            ("filesystem", snapshot.filesystem),
            ("NFS server", snapshot.nfs),
        )
        if isinstance(view, Unobserved)
    ]
    view = snapshot.filesystem
    dark = isinstance(snapshot.replica, Unobserved) and isinstance(view, Unobserved)
    if dark and isinstance(snapshot.nfs, NfsView):
        return f"NFS server {snapshot.nfs.state} on {snapshot.host}, the rest unknown"
    parts = [_holding(volume, snapshot)]
    mounted = isinstance(view, FilesystemView) and bool(view.mounts)
    server = snapshot.nfs.state if isinstance(snapshot.nfs, NfsView) else None
    serves = snapshot.nfs is None or server is ServerState.SERVING
    if mounted and serves and parts[0].startswith("primary"):
        parts = [f"serving on {snapshot.host}"]
    elif parts[0].startswith("primary"):
        parts.append("mounted" if mounted else "not mounted")
        if server is not None:
            parts.append(f"NFS server {server}")
    elif mounted:
        parts.append("but mounted")
    if isinstance(snapshot.replica, Replica) and snapshot.replica.stands_alone():
        primary = snapshot.replica.role is Role.PRIMARY
        parts.append("standing alone" + (": NO FALLBACK" if primary else ""))
    if unknown:
        parts.append(f"{', '.join(unknown)} unknown")
    return ", ".join(parts)


def _holding(volume: VolumeConfig, snapshot: VolumeSnapshot) -> str:
    array = snapshot.array
    assembled = isinstance(array, ArrayView) and array.array is not None and array.array.running()
    if volume.replica is None:
        return f"primary on {snapshot.host}" if assembled else f"not assembled on {snapshot.host}"
    if isinstance(snapshot.replica, Replica):
        word = {Role.PRIMARY: "primary", Role.SECONDARY: "secondary"}
        return f"{word.get(snapshot.replica.role, 'role unknown')} on {snapshot.host}"
    if isinstance(snapshot.replica, Unobserved):
        return f"role unknown on {snapshot.host}"
    return f"{'replica down' if assembled else 'not assembled'} on {snapshot.host}"
