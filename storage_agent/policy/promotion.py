"""May this host become primary and serve the volume now? Unknown means no."""

from __future__ import annotations

from storage_agent.model.configuration import Arbitration, VolumeConfig
from storage_agent.model.finding import Finding
from storage_agent.model.observed import Unobserved
from storage_agent.model.operation import OperationRequest
from storage_agent.model.replica import (
    WITHOUT_DISK,
    ConnectionState,
    DiskState,
    PeerView,
    Replica,
    ReplicationState,
    Role,
)
from storage_agent.model.snapshot import VolumeSnapshot
from storage_agent.policy.agreement import agreement_findings
from storage_agent.policy.array.members import degraded_findings, replaced_findings
from storage_agent.policy.array.not_made import not_made_findings
from storage_agent.policy.common import (
    blocker,
    bytes_text,
    thaw,
    unobserved,
    warning,
)
from storage_agent.policy.content import content_findings
from storage_agent.policy.evidence import SETTLE_S, settles
from storage_agent.policy.guards import guard_findings
from storage_agent.policy.mount_point import mount_point_findings
from storage_agent.policy.records import given_up, is_given_up, is_half_made, records_findings
from storage_agent.policy.server import link_findings
from storage_agent.policy.standalone import split_brain

# DRBD's handshake has decided that this side holds the newer data.
_SOURCE_STATES = frozenset(
    {
        ReplicationState.SYNC_SOURCE,
        ReplicationState.PAUSED_SYNC_S,
        ReplicationState.WF_BITMAP_S,
        ReplicationState.STARTING_SYNC_S,
    }
)
_COMPARING = frozenset({ReplicationState.VERIFY_S, ReplicationState.VERIFY_T})
_WHOLE = frozenset({DiskState.UP_TO_DATE, DiskState.CONSISTENT})
_KNOWN_WORSE = frozenset({DiskState.OUTDATED, DiskState.INCONSISTENT, DiskState.DISKLESS})


def promotion_findings(
    volume: VolumeConfig,
    snapshot: VolumeSnapshot,
    request: OperationRequest,
    peer: str,
    *,
    is_granted: bool = False,
) -> tuple[Finding, ...]:
    """peer: name of the other host, for texts and for the declaration that it is off.
    is_granted: the coordinator has said that it will not write.

    All that is decided before anything is changed: readiness is made of this."""
    records = records_findings(snapshot)
    if is_half_made(records):
        return records
    if not_made := not_made_findings(volume, snapshot.host):
        # It has no epoch either, which is no reason to restore one.
        return not_made
    return (
        *records,
        *unobserved(snapshot),
        *_array(volume, snapshot),
        *_replica(volume, snapshot, request, peer, is_granted),
        *guard_findings(volume, snapshot),
        *mount_point_findings(volume, snapshot),
        *link_findings(volume, snapshot),
        *_agreement(volume, snapshot, peer),
        *content_findings(volume, snapshot),
    )


def needs_grant(volume: VolumeConfig, snapshot: VolumeSnapshot) -> bool:
    """The kernel will ask the fence-peer handler: the peer is not connected and not known to be
    worse (drbd_nl.c drbd_set_role: SS_PRIMARY_NOP, SS_NO_UP_TO_DATE_DISK)."""
    replica = snapshot.replica
    if not isinstance(replica, Replica) or replica.role is Role.PRIMARY:
        return False
    return not _connected(replica.peer)


def peer_is_primary(snapshot: VolumeSnapshot) -> bool:
    """A connected peer that serves: it may let go while a promotion waits."""
    replica = snapshot.replica
    if not isinstance(replica, Replica) or replica.peer is None:
        return False
    return _connected(replica.peer) and replica.peer.role is Role.PRIMARY


def without_primary_peer(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """What is left once the peer has let go."""
    return tuple(f for f in findings if f.code != "PEER_IS_PRIMARY")


def _array(volume: VolumeConfig, snapshot: VolumeSnapshot) -> tuple[Finding, ...]:
    view = snapshot.array
    if isinstance(view, Unobserved):
        return ()
    if view is None or view.array is None or not view.array.running():
        return (
            blocker(
                "ARRAY_NOT_RUNNING",
                f"the array of {volume.name} is not assembled on {snapshot.host}",
                measured=view.array.state if view and view.array else "no array",
                limit="running",
                remedy=f"storage-agent assemble {volume.name}",
            ),
        )
    return (*degraded_findings(volume, view), *replaced_findings(volume, view, snapshot.host))


def _replica(
    volume: VolumeConfig,
    snapshot: VolumeSnapshot,
    request: OperationRequest,
    peer: str,
    is_granted: bool,
) -> tuple[Finding, ...]:
    replica = snapshot.replica
    if volume.replica is None or isinstance(replica, Unobserved):
        return ()
    if replica is None:
        return (
            blocker(
                "REPLICA_DOWN",
                f"the DRBD resource {volume.name} is not up on {snapshot.host}",
                measured="no such resource in the kernel",
                limit="configured in the kernel",
                remedy=f"storage-agent assemble {volume.name}",
            ),
        )
    found = list(_suspended(volume, snapshot, replica, peer))
    if replica.role is Role.PRIMARY:
        return tuple(found)
    if _connected(replica.peer):
        assert replica.peer is not None
        found += _local_disk(volume, replica, peer, frozenset({DiskState.UP_TO_DATE}))
        found += _connected_peer(volume, replica.peer, peer)
        if replica.peer.disk in WITHOUT_DISK:
            # Without its disk there was no comparison of generations with this copy.
            found += _currency(volume, snapshot, peer)
    else:
        # A copy that lost its peer shows Consistent until the fence-peer handler has answered.
        lacking = _local_disk(volume, replica, peer, _WHOLE)
        found += lacking
        found += _unconnected(volume, snapshot, replica, request, peer, is_granted, lacking)
    return tuple(found)


def _agreement(volume: VolumeConfig, snapshot: VolumeSnapshot, peer: str) -> tuple[Finding, ...]:
    """A primary takes over from nobody: what it lacks to serve must not wait for the peer."""
    replica = snapshot.replica
    if isinstance(replica, Replica) and replica.role is Role.PRIMARY:
        return ()
    return agreement_findings(volume, snapshot, peer, lets_go=False)


def _connected(peer: PeerView | None) -> bool:
    return peer is not None and peer.connection is ConnectionState.CONNECTED


def _suspended(
    volume: VolumeConfig, snapshot: VolumeSnapshot, replica: Replica, peer: str
) -> tuple[Finding, ...]:
    if not replica.suspended:
        return ()
    return (
        blocker(
            "REPLICA_SUSPENDED",
            f"DRBD has frozen the writes of {volume.name}",
            measured=f"suspended: {', '.join(replica.suspended)}",
            limit="not suspended",
            remedy=thaw(volume, snapshot, replica, peer),
        ),
    )


def _local_disk(
    volume: VolumeConfig, replica: Replica, peer: str, allowed: frozenset[DiskState]
) -> tuple[Finding, ...]:
    if replica.disk in allowed:
        return ()
    newer = f"{peer} has newer data: bring it back, or there: storage-agent promote {volume.name}"
    remedies = {
        DiskState.INCONSISTENT: "wait for the resync: storage-agent status --watch"
        if _connected(replica.peer)
        else newer,
        DiskState.OUTDATED: newer,
        DiskState.DISKLESS: f"repair the array, then: storage-agent assemble {volume.name}",
    }
    return (
        blocker(
            "DISK_NOT_UPTODATE",
            f"this host's copy of {volume.name} is not the current data",
            measured=f"disk: {replica.disk}",
            limit="disk: UpToDate",
            remedy=remedies.get(replica.disk, f"look again: storage-agent status {volume.name}"),
        ),
    )


def _connected_peer(volume: VolumeConfig, view: PeerView, peer: str) -> tuple[Finding, ...]:
    found = []
    if view.role is not Role.SECONDARY:
        found.append(
            blocker(
                "PEER_IS_PRIMARY" if view.role is Role.PRIMARY else "PEER_ROLE_UNKNOWN",
                f"{peer} is {view.role} for {volume.name}",
                measured=f"peer role: {view.role}",
                limit="peer role: Secondary",
                remedy=f"on {peer}: storage-agent demote {volume.name}"
                if view.role is Role.PRIMARY
                else f"look again in a moment: storage-agent status {volume.name}",
            )
        )
    if view.replication in _SOURCE_STATES:
        found.append(
            warning(
                "PEER_NOT_IN_SYNC",
                f"{peer} does not have the whole of {volume.name} yet: there is no fallback",
                measured=f"{view.replication}, {bytes_text(view.out_of_sync_bytes or 0)} to send",
                limit="Established, 0 bytes out of sync",
                remedy="see how long it takes: storage-agent status --watch",
            )
        )
    elif view.disk in WITHOUT_DISK:
        found.append(
            warning(
                "PEER_DISKLESS",
                f"{peer} has lost its disk: there is no fallback for {volume.name}",
                measured=f"peer disk: {view.disk}",
                limit="peer disk: UpToDate",
                remedy=f"repair the array on {peer}; then there: storage-agent assemble "
                f"{volume.name}",
            )
        )
    elif view.replication is not ReplicationState.ESTABLISHED or view.out_of_sync_bytes != 0:
        found.append(_out_of_sync(volume, view, peer))
    return tuple(found)


def _out_of_sync(volume: VolumeConfig, view: PeerView, peer: str) -> Finding:
    shown = "unknown" if view.out_of_sync_bytes is None else bytes_text(view.out_of_sync_bytes)
    if view.replication in _COMPARING and not view.out_of_sync_bytes:
        return blocker(
            "OUT_OF_SYNC",
            f"the two copies of {volume.name} are being compared (verify); no difference was found "
            "so far",
            measured=f"replication: {view.replication}, out of sync: {shown}",
            limit="replication: Established, out of sync: 0 bytes",
            remedy="wait for its end: storage-agent status --watch",
        )
    return blocker(
        "OUT_OF_SYNC",
        f"the two copies of {volume.name} differ, and which one is right is not known here",
        measured=f"replication: {view.replication}, out of sync: {shown}",
        limit="replication: Established, out of sync: 0 bytes",
        remedy="wait if a resync or verify runs; after a verify that found differences, "
        f"reconnect so that they are resynced: on {peer}: drbdadm disconnect {volume.name}; "
        f"drbdadm connect {volume.name}",
    )


def _unconnected(
    volume: VolumeConfig,
    snapshot: VolumeSnapshot,
    replica: Replica,
    request: OperationRequest,
    peer: str,
    is_granted: bool,
    lacking: tuple[Finding, ...],
) -> tuple[Finding, ...]:
    """lacking: what this copy itself lacks."""
    if replica.split_brain:
        # Nothing else is to be done before that has ended.
        return (split_brain(volume, replica, peer),)
    seen = "connection: " + (replica.peer.connection if replica.peer else "not configured")
    if is_given_up(snapshot) and request.peer_is_off != peer and not is_granted:
        # Nobody else's word is to be asked for before that of whoever chose.
        return (given_up(volume, peer, seen),)
    found = []
    known_worse = (
        replica.peer is not None
        and replica.peer.disk in _KNOWN_WORSE
        and replica.disk is DiskState.UP_TO_DATE
    )
    if replica.stands_alone():
        found.append(_stand_alone(volume, peer))
    # A peer whose copy is known to be worse may still be primary and serve from ours as it was.
    unproven = () if known_worse else _currency(volume, snapshot, peer)
    # Nobody is to be asked for a word, or to turn the peer off, where that would not be enough:
    # the peer may have what this copy lacks.
    first = next((finding.remedy for finding in (*lacking, *unproven)), "")
    if volume.arbitration is Arbitration.COORDINATOR:
        if not is_granted:
            found.append(_not_granted(volume, seen, snapshot.host, peer, first))
    elif request.peer_is_off != peer:
        found.append(
            blocker(
                "PEER_NOT_PROVEN_OFF",
                f"{peer} is not connected, and nobody has shown that it is off",
                measured=seen,
                limit=f"connected, or {peer} declared to be powered off",
                remedy=first
                or f"on {peer}: storage-agent status {volume.name}; if it cannot be reached, power "
                f"{peer} off, make sure of it, then: "
                f"storage-agent promote {volume.name} --peer-is-off {peer}",
            )
        )
    found += unproven
    if not unproven and volume.arbitration is Arbitration.NONE:
        # Also where DRBD calls the peer worse: a source that missed the end of the resync still
        # does, and after its restart from its metadata (seed 3555 of the simulation).
        found.append(_may_have_written(replica, peer, known_worse))
    return tuple(found)


def _may_have_written(replica: Replica, peer: str, known_worse: bool) -> Finding:
    measured = "in sync until the connection was lost"
    if known_worse and replica.peer is not None:
        measured = f"peer disk: {replica.peer.disk}, as far as this host knows"
    return warning(
        "PEER_MAY_HAVE_WRITTEN",
        f"what {peer} has acknowledged since the connection was lost is not in this copy",
        measured=measured,
        limit="connected, or a coordinator that lets nobody write alone",
        remedy=f"if {peer} went on serving alone before it died, bring it back instead; was it: "
        "storage-agent events",
    )


def _currency(volume: VolumeConfig, snapshot: VolumeSnapshot, peer: str) -> tuple[Finding, ...]:
    attachment = snapshot.attachment
    if attachment is not None and attachment.in_sync_until_loss:
        return ()
    remedy = (
        f"bring {peer} back with its disk, so that the two compare their data; where it has never "
        f"had a copy, on {peer}: storage-agent create {volume.name} --join"
    )
    if attachment is not None and settles(attachment):
        remedy = f"wait {SETTLE_S:g} s, then: storage-agent status {volume.name}"
    return (
        blocker(
            "CURRENCY_UNPROVEN",
            f"this copy of {volume.name} may miss writes that {peer} has acknowledged",
            measured=attachment.broken_by if attachment else "the attachment was not watched",
            limit="seen in sync and unbroken until the connection was lost",
            remedy=remedy,
        ),
    )


def _not_granted(volume: VolumeConfig, seen: str, host: str, peer: str, first: str) -> Finding:
    """A person's word is none here: two people, or a person and the coordinator, could say
    different things at once, and the frozen peer listens to the coordinator alone."""
    return blocker(
        "PROMOTION_NOT_GRANTED",
        f"{peer} is not connected, and the coordinator has not granted {volume.name} to this host",
        measured=seen,
        limit="connected, or a grant for this operation's epoch and id",
        remedy=first
        or f"on the coordinator's machine: storage-coordinator failover {volume.name} "
        f'--to {host}; if it is lost for good, set arbitration = "none" for {volume.name} in '
        f"agent.toml on both hosts, then: storage-agent promote {volume.name} "
        f"--peer-is-off {peer}",
    )


def _stand_alone(volume: VolumeConfig, peer: str) -> Finding:
    return blocker(
        "STAND_ALONE",
        f"DRBD does not look for {peer}: disconnected by hand, or it gave up",
        measured="connection: StandAlone",
        limit="Connected, or Connecting with the peer off",
        remedy=f"storage-agent rejoin {volume.name}",
    )
