"""May this host drop its peer and go on alone, look for it again, or end a split brain?"""

from __future__ import annotations

from storage_agent.model.configuration import Arbitration, VolumeConfig
from storage_agent.model.filesystem import FilesystemView
from storage_agent.model.finding import Finding
from storage_agent.model.incident import Incident, IncidentAnswer
from storage_agent.model.observed import Unobserved
from storage_agent.model.operation import OperationRequest
from storage_agent.model.replica import (
    ConnectionState,
    DiskState,
    Replica,
    Role,
)
from storage_agent.model.snapshot import VolumeSnapshot
from storage_agent.model.split_brain import side_text
from storage_agent.policy.common import LOOKED_AT, blocker, bytes_text, thaw, warning


def standalone_findings(
    volume: VolumeConfig, snapshot: VolumeSnapshot, peer: str
) -> tuple[Finding, ...]:
    """For `standalone`: a Primary whose own copy is current. peer: name of the other host."""
    replica = _replica(volume, snapshot)
    if not isinstance(replica, Replica):
        return replica
    found = [
        *_not_serving(volume, snapshot, replica),
        *_frozen(volume, snapshot, replica, peer),
    ]
    if replica.disk is not DiskState.UP_TO_DATE:
        found.append(
            blocker(
                "DISK_NOT_UPTODATE",
                f"this host's copy of {volume.name} is not the current data: it needs {peer}",
                measured=f"disk: {replica.disk}",
                limit="disk: UpToDate",
                remedy="wait for the resync, or repair the array: storage-agent status --watch",
            )
        )
    found.append(standing_alone(volume, replica, peer))
    if not _is_told(replica):
        found.append(_not_told(volume, replica, peer))
    if volume.arbitration is Arbitration.COORDINATOR:
        found.append(_unasked(volume, peer))
    return tuple(found)


def standing_alone(volume: VolumeConfig, replica: Replica, peer: str) -> Finding:
    """A warning before it is done, and for as long as it lasts."""
    view = replica.peer
    behind = view.out_of_sync_bytes if view else None
    changed = "" if behind is None else f", {bytes_text(behind)} not on {peer}"
    return warning(
        "STANDING_ALONE",
        f"{volume.name} has NO FALLBACK: if this host fails, nobody can take over, and what is "
        "written from now on is on this host only",
        measured=f"connection: {view.connection if view else 'none'}{changed}",
        limit="connected and in sync",
        remedy=f"when {peer} is well again: storage-agent rejoin {volume.name}; a restart of "
        "this host ends it too: it comes up secondary and connects",
    )


def _is_told(replica: Replica) -> bool:
    """DRBD outdates a connected peer before it lets go (drbd_nl.c conn_try_disconnect():
    SS_PRIMARY_NOP, with fencing other than dont-care). It does not ask one that is Inconsistent
    or Diskless; and one that is shown as Outdated while it is not connected may be so by the
    fence-peer handler's word alone."""
    peer = replica.peer
    if peer is None or peer.connection is not ConnectionState.CONNECTED:
        return False
    return replica.has_agreed() and peer.disk is DiskState.UP_TO_DATE


def parting_findings(
    before: tuple[Finding, ...], after: tuple[Finding, ...], snapshot: VolumeSnapshot
) -> tuple[Finding, ...]:
    """For the end of `standalone`: that the peer was told is believed only where it could be when
    it began, and DRBD shows it now. before: nothing is known of a beginning before a crash."""
    found = {finding.code: finding for finding in (*after, *before)}
    could_be = bool(before) and "PEER_NOT_TOLD" not in {finding.code for finding in before}
    if could_be and _shows_it(snapshot):
        found.pop("PEER_NOT_TOLD", None)
    return tuple(found.values())


def _shows_it(snapshot: VolumeSnapshot) -> bool:
    """And no word of the coordinator, in this boot, that would look the same. A Primary that has
    lost its own disk since may have met the peer again: DRBD 8.4 calls an Outdated copy UpToDate
    that connects to a Diskless Primary, and this side, StandAlone again, goes on showing Outdated
    (sanitize_state(); simulation, seed 437074)."""
    replica, incident = snapshot.replica, snapshot.incident
    if not isinstance(replica, Replica) or replica.peer is None:
        return False
    by_word = isinstance(incident, Unobserved) or (
        isinstance(incident, Incident) and incident.answer is IncidentAnswer.CONTINUE
    )
    is_whole = replica.disk is DiskState.UP_TO_DATE
    is_shown = replica.stands_alone() and replica.peer.disk is DiskState.OUTDATED
    return is_whole and is_shown and not by_word


def _not_told(volume: VolumeConfig, replica: Replica, peer: str) -> Finding:
    view = replica.peer
    return warning(
        "PEER_NOT_TOLD",
        f"{peer} is not told that its copy of {volume.name} gets old",
        measured=f"connection: {view.connection if view else 'none'}, "
        f"peer disk: {view.disk if view else 'unknown'}",
        limit="connected and in sync, so that it is outdated in order",
        remedy=f"keep {peer} off, or let nobody use --peer-is-off on it, until it has rejoined",
    )


def _unasked(volume: VolumeConfig, peer: str) -> Finding:
    return warning(
        "COORDINATOR_NOT_ASKED",
        f"the coordinator does not know that {volume.name} goes on alone",
        measured=f"arbitration: {volume.arbitration}",
        limit="a grant of the coordinator, where the connection is lost by itself",
        remedy=f"tell whoever runs it: until the rejoin, {peer} must not be given {volume.name}",
    )


def rejoin_findings(
    volume: VolumeConfig, snapshot: VolumeSnapshot, peer: str
) -> tuple[Finding, ...]:
    """For `rejoin`, on either host: DRBD itself decides who is newer, or finds a split brain."""
    replica = _replica(volume, snapshot)
    if not isinstance(replica, Replica):
        return replica
    return (split_brain(volume, replica, peer),) if replica.split_brain else ()


def split_brain_findings(
    volume: VolumeConfig, snapshot: VolumeSnapshot, request: OperationRequest, peer: str
) -> tuple[Finding, ...]:
    """For `split-brain`; its `choice` to discard needs a copy that nothing uses."""
    replica = _replica(volume, snapshot)
    if not isinstance(replica, Replica):
        return replica
    if request.options.get("choice") != "discard":
        return ()
    found = []
    if not replica.split_brain:
        found.append(
            blocker(
                "NO_SPLIT_BRAIN",
                f"DRBD has found no split brain of {volume.name} here: nothing is to be discarded",
                measured="connection: " + (replica.peer.connection if replica.peer else "none"),
                limit="StandAlone, after a handshake that found a split brain",
                remedy=f"storage-agent rejoin {volume.name}",
            )
        )
    view = snapshot.filesystem
    is_used = isinstance(view, Unobserved) or (isinstance(view, FilesystemView) and view.mounts)
    if replica.role is not Role.SECONDARY or is_used:
        found.append(
            blocker(
                "STILL_USED",
                f"this host uses its copy of {volume.name}: it cannot be discarded under it",
                measured=f"role: {replica.role}, " + ("mounted" if is_used else "not mounted"),
                limit="role: Secondary, not mounted",
                # The other side cannot take it over, and a demote wants that to be said.
                remedy=f"storage-agent demote {volume.name} "
                f"--yes-stop-serving {snapshot.host}/{volume.name}",
            )
        )
    return tuple(found)


def split_brain(volume: VolumeConfig, replica: Replica, peer: str) -> Finding:
    """With what this side alone knows of itself."""
    return blocker(
        "SPLIT_BRAIN",
        f"both copies of {volume.name} were changed apart from each other: one must be given up",
        measured=side_text(replica),
        limit="one history of the data",
        remedy=f"on both hosts: storage-agent split-brain {volume.name} (shows, decides nothing)",
    )


def _replica(volume: VolumeConfig, snapshot: VolumeSnapshot) -> Replica | tuple[Finding, ...]:
    """The replica, or why there is nothing to decide."""
    replica = snapshot.replica
    if isinstance(replica, Replica):
        return replica
    if volume.replica is None:
        return (
            blocker(
                "NO_REPLICA",
                f"{volume.name} is not replicated: it has no peer",
                measured="no replica is configured",
                limit=f"[volumes.{volume.name}.replica] in agent.toml",
                remedy="nothing is to be done; see storage-agent config show",
            ),
        )
    if isinstance(replica, Unobserved):
        return (
            blocker(
                "UNOBSERVED",
                f"the replica of {volume.name} could not be looked at",
                measured=replica.reason,
                limit=LOOKED_AT,
                remedy="see what keeps the agent from looking: storage-agent doctor",
            ),
        )
    return (
        blocker(
            "REPLICA_DOWN",
            f"the DRBD resource {volume.name} is not up on {snapshot.host}",
            measured="no such resource in the kernel",
            limit="configured in the kernel",
            remedy=f"storage-agent assemble {volume.name}",
        ),
    )


def _not_serving(
    volume: VolumeConfig, snapshot: VolumeSnapshot, replica: Replica
) -> tuple[Finding, ...]:
    if replica.role is Role.PRIMARY:
        return ()
    return (
        blocker(
            "NOT_PRIMARY",
            f"{snapshot.host} does not serve {volume.name}: only the host that does can go on "
            "alone",
            measured=f"role: {replica.role}",
            limit="role: Primary",
            remedy=f"see which one does: storage-agent status {volume.name}; run it there",
        ),
    )


def _frozen(
    volume: VolumeConfig, snapshot: VolumeSnapshot, replica: Replica, peer: str
) -> tuple[Finding, ...]:
    if not replica.suspended:
        return ()
    return (
        blocker(
            "REPLICA_SUSPENDED",
            f"DRBD has frozen the writes of {volume.name}: whether this host may go on is asked",
            measured=f"suspended: {', '.join(replica.suspended)}",
            limit="not suspended",
            remedy=thaw(volume, snapshot, replica, peer),
        ),
    )
