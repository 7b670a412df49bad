"""Could the volume's NFS server let clients in? Pure."""

from __future__ import annotations

from storage_agent.model.configuration import VolumeConfig
from storage_agent.model.finding import Finding
from storage_agent.model.nfs import NfsView, ServerState
from storage_agent.model.snapshot import VolumeSnapshot
from storage_agent.policy.common import blocker


def link_findings(volume: VolumeConfig, snapshot: VolumeSnapshot) -> tuple[Finding, ...]:
    """A server that runs without its link is taken for one that waits; it would be found out at
    the last step of a promotion."""
    view = snapshot.nfs
    if volume.nfs is None or not isinstance(view, NfsView) or view.has_link:
        return ()
    if view.state is ServerState.ABSENT:
        return ()
    return (
        blocker(
            "NFS_LINK_GONE",
            f"the link of {volume.name}'s service address is gone on {snapshot.host}",
            measured=f"server: {view.state}, no link for {view.address}",
            limit=f"a link on {volume.nfs.interface}",
            remedy=f"see that its parent is there: ip link show {volume.nfs.interface}; then: "
            f"systemctl restart storage-agent-nfs@{volume.name} (interrupts nobody: without its "
            "link no client is reached)",
        ),
    )
