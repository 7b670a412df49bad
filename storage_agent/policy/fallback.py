"""What a host that serves would leave behind if it failed now, and whether its own copy is the one
to serve from. Pure."""

from __future__ import annotations

from storage_agent.model.configuration import VolumeConfig
from storage_agent.model.finding import Finding
from storage_agent.model.replica import (
    WITHOUT_DISK,
    ConnectionState,
    DiskState,
    PeerView,
    Replica,
)
from storage_agent.model.snapshot import VolumeSnapshot
from storage_agent.policy.common import blocker, bytes_text, move_to, warning
from storage_agent.policy.standalone import split_brain, standing_alone


def fallback_findings(
    volume: VolumeConfig, snapshot: VolumeSnapshot, replica: Replica, peer: str
) -> tuple[Finding, ...]:
    """Of a Primary that is not in sync. peer: name of the other host."""
    view = replica.peer
    if replica.split_brain:
        return (split_brain(volume, replica, peer),)
    if view is None or view.connection is not ConnectionState.CONNECTED:
        if replica.disk in WITHOUT_DISK:
            # ATTACH_ALONE says what is wrong: not the fallback is missing, but all data.
            return ()
        if replica.disk is not DiskState.UP_TO_DATE:
            return (_own_copy_old(volume, snapshot, replica, peer),)
    if view is None or replica.stands_alone():
        return (standing_alone(volume, replica, peer),)
    if replica.peer_has_all():
        return (_own_copy_bad(volume, snapshot, replica, view, peer),)
    return (_no_fallback(volume, view, peer),)


def _own_copy_old(
    volume: VolumeConfig, snapshot: VolumeSnapshot, replica: Replica, peer: str
) -> Finding:
    """Attached again to a Primary that had lost it, while the peer was away: DRBD refuses each
    connection in which this side would have to be the target ("I shall become SyncTarget, but I am
    primary!", drbd_receiver.c drbd_sync_handshake(); simulation, seed 1593 of the remedies)."""
    return blocker(
        "OWN_COPY_OLD",
        f"{snapshot.host} serves a copy of {volume.name} that DRBD does not call current: {peer} "
        f"may have newer data, and cannot be connected as long as this host is Primary",
        measured=f"own disk {replica.disk}, "
        f"connection {replica.peer.connection if replica.peer else 'none'}",
        limit=f"own disk UpToDate, or connected to {peer}",
        remedy=f"end the service here: storage-agent demote {volume.name} --yes-stop-serving "
        f"{snapshot.host}/{volume.name}; then: storage-agent rejoin {volume.name}",
    )


def _own_copy_bad(
    volume: VolumeConfig, snapshot: VolumeSnapshot, replica: Replica, view: PeerView, peer: str
) -> Finding:
    """The one good copy is the other host's, and is reached through the replication link."""
    measured = f"own disk {replica.disk}, {view.replication}, peer disk {view.disk}"
    limit = "own disk UpToDate"
    move = move_to(volume, snapshot.host, peer)
    if replica.disk in WITHOUT_DISK:
        return blocker(
            "OWN_DISK_LOST",
            f"{snapshot.host} has lost its own disk of {volume.name} and serves from {peer}'s: "
            f"move it now; when {peer} or the link to it fails, nobody serves it",
            measured=measured,
            limit=limit,
            remedy=f"{move}; once the array here is repaired: storage-agent assemble {volume.name}",
        )
    return blocker(
        "OWN_COPY_BEHIND",
        f"{snapshot.host} serves {volume.name} from {peer}'s copy until its own is resynced: when "
        f"{peer} or the link to it fails, nobody serves it",
        measured=measured,
        limit=limit,
        remedy=f"{move}; or wait for the resync: storage-agent status --watch",
    )


def _no_fallback(volume: VolumeConfig, view: PeerView, peer: str) -> Finding:
    behind = view.out_of_sync_bytes
    shown = "unknown bytes" if behind is None else bytes_text(behind)
    return warning(
        "NO_FALLBACK",
        f"if this host fails now, {peer} cannot take {volume.name} over",
        measured=f"{view.connection}, {view.replication}, peer disk {view.disk}, "
        f"{shown} out of sync",
        limit="Connected, Established, peer disk UpToDate, 0 bytes out of sync",
        remedy=f"on {peer}: storage-agent status {volume.name}",
    )
