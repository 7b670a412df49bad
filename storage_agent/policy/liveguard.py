"""Is the volume being served here, who uses it, and who depends on this host's copy? Asked before
anything is taken away. Unknown means that it is in use."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from storage_agent.model.configuration import VolumeConfig
from storage_agent.model.filesystem import FilesystemView
from storage_agent.model.finding import Finding
from storage_agent.model.nfs import NfsClient, NfsView, ServerState
from storage_agent.model.observed import Unobserved
from storage_agent.model.operation import SHUTDOWN_ORIGIN, OperationRecord, OperationRequest
from storage_agent.model.plan import OperationKind
from storage_agent.model.replica import (
    ConnectionState,
    DiskState,
    Replica,
    ReplicationState,
    Role,
)
from storage_agent.model.snapshot import UseView, VolumeSnapshot
from storage_agent.policy.common import (
    LOOKED_AT,
    blocker,
    bytes_text,
    mounted_elsewhere,
    unobserved,
)

NAMED = 5
"""So many clients and holders are named, the others counted."""

_RUNNING = frozenset({ServerState.STARTED, ServerState.SERVING, ServerState.HALTED})
_IN_USE = frozenset({"confirmed", "unconfirmed"})


def needs_use(volume: VolumeConfig, snapshot: VolumeSnapshot, request: OperationRequest) -> bool:
    """Whether the decision takes a look at Facet.USE too. Not where a peer takes over: a move
    ends the use, and must not be slowed down; nor where the host goes down with its users."""
    if request.kind is OperationKind.DEMOTE and request.origin != SHUTDOWN_ORIGIN:
        replica = snapshot.replica
        is_move = isinstance(replica, Replica) and replica.peer_has_all()
        return not is_move and bool(taken_away(volume, snapshot))
    return request.kind in (OperationKind.LEAVE, OperationKind.CREATE, OperationKind.ABANDON)


def service_findings(volume: VolumeConfig, snapshot: VolumeSnapshot) -> tuple[Finding, ...]:
    """That the volume is in use on this host, or that its use was not looked at."""
    unseen = snapshot.use if isinstance(snapshot.use, Unobserved) else None
    return (
        *((_unseen(volume, unseen),) if unseen else ()),
        *_role(volume, snapshot),
        *taken_away(volume, snapshot),
    )


def taken_away(volume: VolumeConfig, snapshot: VolumeSnapshot) -> tuple[Finding, ...]:
    """What somebody would lose by a demote; the bare role is nobody's."""
    return (
        *_mounts(volume, snapshot),
        *_server(volume, snapshot),
        *_services(volume, snapshot),
        *_use(volume, snapshot),
    )


def dependence_findings(
    volume: VolumeConfig, snapshot: VolumeSnapshot, peer: str
) -> tuple[Finding, ...]:
    """That data would be out of reach or lost without this host's copy. peer: its name."""
    replica = snapshot.replica
    if isinstance(replica, Unobserved):
        return ()
    if not isinstance(replica, Replica) or replica.peer is None:
        seen = "no replica is configured"
        if volume.replica is not None:
            seen = "the replica is down here" if replica is None else "no connection configured"
        return (_only_copy(volume, snapshot.host, peer, seen),)
    view, found = replica.peer, []
    shown = "unknown" if view.out_of_sync_bytes is None else bytes_text(view.out_of_sync_bytes)
    moving = view.replication not in (ReplicationState.ESTABLISHED, ReplicationState.OFF)
    is_whole = (
        view.connection is ConnectionState.CONNECTED
        and view.disk is DiskState.UP_TO_DATE
        and (moving or (view.replication is ReplicationState.ESTABLISHED and shown == "0 bytes"))
    )
    if not is_whole:
        seen = f"connection: {view.connection}, peer disk: {view.disk}, out of sync: {shown}"
        found.append(_only_copy(volume, snapshot.host, peer, seen))
    if moving:
        found.append(
            blocker(
                "RESYNC_RUNNING",
                f"the copies of {volume.name} are being compared or copied",
                measured=f"{view.replication}, {shown} out of sync",
                limit="Established, 0 bytes out of sync",
                remedy="wait for it: storage-agent status --watch",
            )
        )
    return tuple(found)


def termination_findings(
    volume: VolumeConfig, snapshot: VolumeSnapshot, peer: str
) -> tuple[Finding, ...]:
    """What would be lost of one volume if this host went away now, and what is not known."""
    is_made = snapshot.host in volume.array.uuid or snapshot.replica is not None
    return (
        *unobserved(snapshot),
        *service_findings(volume, snapshot),
        *(dependence_findings(volume, snapshot, peer) if is_made else ()),
    )


def operation_findings(running: Iterable[OperationRecord]) -> tuple[Finding, ...]:
    """Operations that have begun and not ended."""
    return tuple(
        blocker(
            "OPERATION_RUNNING",
            f"{record.request.kind} {record.request.volume} is under way",
            measured=f"operation {record.request.operation_id}: {record.message}",
            limit="no operation",
            remedy=f"wait for it: storage-agent operation {record.request.operation_id}",
        )
        for record in running
    )


def _role(volume: VolumeConfig, snapshot: VolumeSnapshot) -> Iterator[Finding]:
    replica = snapshot.replica
    if isinstance(replica, Replica) and replica.role is not Role.SECONDARY:
        yield blocker(
            "VOLUME_PRIMARY",
            f"{snapshot.host} is {replica.role} for {volume.name}",
            measured=f"role: {replica.role}",
            limit="role: Secondary",
            remedy=_move(volume, snapshot),
        )


def _mounts(volume: VolumeConfig, snapshot: VolumeSnapshot) -> Iterator[Finding]:
    view = snapshot.filesystem
    if not isinstance(view, FilesystemView):
        return
    points = [m.mount_point for m in view.mounts if m.mount_point == volume.mount_point]
    if points := points + mounted_elsewhere(volume, view):
        yield blocker(
            "VOLUME_MOUNTED",
            f"{volume.name} is mounted on {snapshot.host}",
            measured=f"mounted at {_some(points)}",
            limit="not mounted",
            remedy=_move(volume, snapshot),
        )


def _server(volume: VolumeConfig, snapshot: VolumeSnapshot) -> Iterator[Finding]:
    view = snapshot.nfs
    if isinstance(view, NfsView) and (view.state in _RUNNING or view.connections):
        clients = [_client_text(client) for client in view.clients if client.status in _IN_USE]
        who = f"clients: {_some(clients)}" if clients else "no client"
        if view.connections:
            who += f"; connected: {_some(view.connections)}"
        yield blocker(
            "VOLUME_EXPORTED",
            f"the NFS server of {volume.name} runs on {snapshot.host}",
            measured=f"{view.state} at {view.address}, {who}",
            limit="standby, no client",
            remedy=_move(volume, snapshot),
        )


def _client_text(client: NfsClient) -> str:
    return f"{client.address} ({client.opens} opens, {client.locks} locks)"


def _services(volume: VolumeConfig, snapshot: VolumeSnapshot) -> Iterator[Finding]:
    if isinstance(snapshot.services, Unobserved):
        return
    if active := [s.unit for s in snapshot.services if s.active not in ("inactive", "failed")]:
        yield blocker(
            "VOLUME_HELD",
            f"services of {volume.name} run on {snapshot.host}",
            measured=_some(active),
            limit="none active",
            remedy=_move(volume, snapshot),
        )


def _use(volume: VolumeConfig, snapshot: VolumeSnapshot) -> Iterator[Finding]:
    use = snapshot.use
    if not isinstance(use, UseView):
        return
    if use.holders:
        yield blocker(
            "VOLUME_HELD",
            f"{volume.device()} is held open on {snapshot.host}",
            measured=_some([holder.what for holder in use.holders]),
            limit="nobody",
            remedy=f"end what holds it: fuser -vm {volume.device()}",
        )
    if use.written_bytes:
        yield blocker(
            "VOLUME_WRITTEN",
            f"{volume.name} is being written to on {snapshot.host}",
            measured=f"{bytes_text(use.written_bytes)} in {use.watched_s} s",
            limit="0 bytes",
            remedy=_move(volume, snapshot),
        )


def _only_copy(volume: VolumeConfig, host: str, peer: str, seen: str) -> Finding:
    other = peer or "no other host"
    return blocker(
        "ONLY_GOOD_COPY",
        f"{host} may hold the only good copy of {volume.name}: {other} is not seen to have it",
        measured=seen,
        limit="Connected, peer disk UpToDate, 0 bytes out of sync",
        remedy="bring the other copy up and in sync first: storage-agent status --watch",
    )


def _unseen(volume: VolumeConfig, view: Unobserved) -> Finding:
    return blocker(
        "UNOBSERVED",
        f"who uses {volume.name} could not be looked at",
        measured=view.reason,
        limit=LOOKED_AT,
        remedy="see what keeps the agent from looking: storage-agent doctor",
    )


def _move(volume: VolumeConfig, snapshot: VolumeSnapshot) -> str:
    demote = f"storage-agent demote {volume.name}"
    if volume.replica is None:
        return f"nobody can take it over; stop it: {demote} --yes-stop-serving " + (
            f"{snapshot.host}/{volume.name}"
        )
    return f"move it away first: {demote}; then on the peer: storage-agent promote {volume.name}"


def _some(names: Iterable[str]) -> str:
    found = list(names)
    more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
    return ", ".join(found[:NAMED]) + more
