"""Arbitration by a coordinator: what counts as its word, and what a frozen host does meanwhile."""

from __future__ import annotations

from enum import StrEnum

from storage_agent.model.configuration import Arbitration, VolumeConfig
from storage_agent.model.filesystem import FilesystemView
from storage_agent.model.finding import Finding, blockers
from storage_agent.model.incident import Incident, IncidentAnswer
from storage_agent.model.nfs import NfsView, ServerState
from storage_agent.model.observed import Unobserved
from storage_agent.model.replica import WITHOUT_DISK, ConnectionState, DiskState, Replica, Role
from storage_agent.model.snapshot import VolumeSnapshot
from storage_agent.policy.common import blocker
from storage_agent.policy.guards import guard_findings

_SHUT = frozenset({ServerState.ABSENT, ServerState.STANDBY, ServerState.STARTED})

_TO_BE_OPENED = frozenset({ServerState.STARTED, ServerState.HALTED})

_NO_DISK_SEEN = WITHOUT_DISK | {DiskState.DUNKNOWN}


class LinkWish(StrEnum):
    """What is to become of a volume's links: that of its NFS server (CLOSE, OPEN), and that to
    the peer (PART)."""

    NOTHING = "nothing"
    CLOSE = "close"
    OPEN = "open"
    PART = "part"


def grant_findings(volume: VolumeConfig, snapshot: VolumeSnapshot) -> tuple[Finding, ...]:
    """May a promotion of this volume be granted at all? Where a grant counts, this host must also
    stand still without one from then on; snapshot: a fresh look at that."""
    if volume.arbitration is Arbitration.COORDINATOR:
        return blockers(guard_findings(volume, snapshot))
    return (
        blocker(
            "GRANT_NOT_USED",
            f"no coordinator arbitrates {volume.name}: a grant would count for nothing",
            measured=f'arbitration = "{volume.arbitration}"',
            limit='arbitration = "coordinator"',
            remedy="set it in agent.toml on both hosts, then on both: storage-agent assemble "
            f"{volume.name}; or: storage-agent promote {volume.name} --peer-is-off HOST",
        ),
    )


def answer_findings(
    volume: VolumeConfig,
    found: Incident | Unobserved | None,
    asked: Incident,
    boot_id: str,
) -> tuple[Finding, ...]:
    """May `asked` (with its answer and epoch) answer the incident that was found? None for an
    answer that was given before, word for word."""
    is_this = (
        isinstance(found, Incident)
        and (found.incident, found.boot_id) == (asked.incident, asked.boot_id)
        and found.boot_id == boot_id
    )
    if not is_this or not isinstance(found, Incident):
        return (
            blocker(
                "INCIDENT_UNKNOWN",
                f"no such incident of {volume.name} waits for an answer",
                measured=found.reason
                if isinstance(found, Unobserved)
                else f"incident {found.incident} of boot {found.boot_id}"
                if found
                else "no incident",
                limit="the nonce and the boot id of the open incident",
                remedy="look again: storage-agent status",
            ),
        )
    given = (found.answer, found.epoch)
    if found.answer is not IncidentAnswer.NONE and given != (asked.answer, asked.epoch):
        return (
            blocker(
                "INCIDENT_ANSWERED",
                f"this incident of {volume.name} was answered already",
                measured=f"answered: {found.answer}, epoch {found.epoch}",
                limit="one answer an incident",
                remedy="look again: storage-agent status",
            ),
        )
    return ()


def alone_findings(
    volume: VolumeConfig, replica: Replica | Unobserved | None
) -> tuple[Finding, ...]:
    """May a frozen primary be told to go on alone? Without its own disk DRBD thaws it with no new
    generation, and what it writes after a later attach counts as old (drbd_state.c)."""
    if isinstance(replica, Replica) and replica.disk is DiskState.UP_TO_DATE:
        return ()
    remedy = "bring the link to the other host back: the volume then goes on by itself"
    if isinstance(replica, Unobserved):
        summary = f"the replica of {volume.name} could not be looked at: it must not go on alone"
        return (
            blocker(
                "UNOBSERVED",
                summary,
                measured=replica.reason,
                limit="disk: UpToDate",
                remedy=remedy,
            ),
        )
    return (
        blocker(
            "DISK_NOT_UPTODATE",
            f"this host's copy of {volume.name} is not the current data: it must not go on alone",
            measured=f"disk: {replica.disk}" if replica else "no replica",
            limit="disk: UpToDate",
            remedy=remedy,
        ),
    )


def is_frozen(snapshot: VolumeSnapshot) -> bool:
    """A Primary whose writes wait for the fence-peer handler."""
    replica = snapshot.replica
    return (
        isinstance(replica, Replica)
        and replica.role is Role.PRIMARY
        and "fencing" in replica.suspended
    )


def is_denied(snapshot: VolumeSnapshot, epoch: int | None) -> bool:
    """The other side was chosen, and nothing newer has happened here. epoch: what this host
    knows now."""
    incident = snapshot.incident
    if not isinstance(incident, Incident) or incident.answer is not IncidentAnswer.DENY:
        return False
    replica = snapshot.replica
    if isinstance(replica, Replica) and replica.role is not Role.PRIMARY:
        return False
    return epoch is None or incident.epoch is None or incident.epoch >= epoch


def has_lost_newer_copy(snapshot: VolumeSnapshot) -> bool:
    """Secondary, alone, without its disk, and what the peer has is older. A frozen Primary that
    came back now would connect to it, be thawed by that and go on with the older data: DRBD 8.4
    compares generations with a disk only (simulation, seed 392318)."""
    replica = snapshot.replica
    return (
        isinstance(replica, Replica)
        and replica.role is Role.SECONDARY
        and replica.disk in WITHOUT_DISK
        and replica.peer is not None
        and replica.peer.connection is not ConnectionState.CONNECTED
        and replica.peer.disk is DiskState.OUTDATED
        and not replica.why_undecidable()
    )


def link_wish(volume: VolumeConfig, snapshot: VolumeSnapshot, epoch: int | None) -> LinkWish:
    """A frozen or denied host would go on answering reads from its cache, so it shuts its
    clients out, whatever is configured: DRBD has frozen it. OPEN: nothing of that holds; whether
    it is for us to open is another matter."""
    if volume.arbitration is Arbitration.COORDINATOR and has_lost_newer_copy(snapshot):
        return LinkWish.PART
    if volume.nfs is None:
        return LinkWish.NOTHING
    server, incident = snapshot.nfs, snapshot.incident
    is_open = isinstance(incident, Incident) and incident.answer is IncidentAnswer.NONE
    if is_frozen(snapshot) or is_open or is_denied(snapshot, epoch):
        shut = isinstance(server, NfsView) and server.state in _SHUT
        return LinkWish.NOTHING if shut else LinkWish.CLOSE
    is_shut = isinstance(server, NfsView) and server.state in _TO_BE_OPENED
    if is_shut and not opening_findings(volume, snapshot):
        return LinkWish.OPEN
    return LinkWish.NOTHING


def opening_findings(volume: VolumeConfig, snapshot: VolumeSnapshot) -> tuple[Finding, ...]:
    """May clients be let in again? Only where the volume is served but for its link."""
    replica, view, incident = snapshot.replica, snapshot.filesystem, snapshot.incident
    is_mounted = isinstance(view, FilesystemView) and any(
        m.mount_point == volume.mount_point and not m.read_only for m in view.mounts
    )
    if volume.replica is None and is_mounted:
        return ()
    if not is_mounted or not isinstance(replica, Replica) or replica.role is not Role.PRIMARY:
        return (
            blocker(
                "NOT_MOUNTED",
                f"{volume.name} is not served on {snapshot.host}",
                measured=f"role: {replica.role if isinstance(replica, Replica) else 'unknown'}, "
                "not mounted as it is to be",
                limit=f"primary, and mounted at {volume.mount_point}",
                remedy=f"storage-agent promote {volume.name}",
            ),
        )
    asks = isinstance(incident, Unobserved) or (
        isinstance(incident, Incident) and incident.answer is not IncidentAnswer.CONTINUE
    )
    if replica.suspended or asks:
        return (
            blocker(
                "REPLICA_SUSPENDED",
                f"DRBD has frozen the writes of {volume.name}",
                measured=f"suspended: {', '.join(replica.suspended) or 'no'}; "
                f"incident {'not answered with continue' if asks else 'none'}",
                limit="not suspended",
                remedy="the coordinator answers incidents; see storage-agent status",
            ),
        )
    # An incident that is still there was answered with continue.
    return () if incident else _compared(volume, replica)


def _compared(volume: VolumeConfig, replica: Replica) -> tuple[Finding, ...]:
    """A peer without a disk thaws a frozen primary as well, and may have been granted the volume
    meanwhile: only two disks compare their generations."""
    peer = replica.peer
    is_connected = peer is not None and peer.connection is ConnectionState.CONNECTED
    if is_connected and peer is not None and peer.disk not in _NO_DISK_SEEN:
        return ()
    return (
        blocker(
            "CURRENCY_UNPROVEN",
            f"{volume.name} was frozen here, and the other host may have served it since",
            measured=f"connection: {peer.connection}, peer disk: {peer.disk}"
            if peer
            else "no peer",
            limit="connected to the other host and its disk, or the coordinator's continue",
            remedy="bring the other host back with its disk, so that the two compare their data",
        ),
    )
