"""Is the volume well here, and would it be well to move it? Shown all the time, decides nothing."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from enum import StrEnum

from storage_agent.model.configuration import AgentConfig, Arbitration, VolumeConfig
from storage_agent.model.filesystem import FilesystemView
from storage_agent.model.finding import Finding, Severity, blockers
from storage_agent.model.incident import Incident, IncidentAnswer
from storage_agent.model.nfs import NfsView, ServerState
from storage_agent.model.observed import Unobserved
from storage_agent.model.operation import OperationRequest
from storage_agent.model.plan import OperationKind
from storage_agent.model.replica import (
    WITHOUT_DISK,
    ConnectionState,
    DiskState,
    PeerView,
    Replica,
    Role,
)
from storage_agent.model.snapshot import VolumeSnapshot
from storage_agent.policy.agreement import agreement_findings
from storage_agent.policy.assembly import assembly_findings
from storage_agent.policy.common import blocker, bytes_text, move_to, thaw, unobserved, warning
from storage_agent.policy.evidence import SETTLE_S
from storage_agent.policy.guards import guard_findings, place_findings
from storage_agent.policy.promotion import promotion_findings
from storage_agent.policy.space import space_findings
from storage_agent.policy.standalone import split_brain, standing_alone


class Verdict(StrEnum):
    """SERVING: served here.  READY: a promotion here would succeed, once the peer has given the
    role back.  DEGRADED: either of them with findings.  BLOCKED: not served here, and a
    promotion here would be refused."""

    SERVING = "serving"
    READY = "ready"
    DEGRADED = "degraded"
    BLOCKED = "blocked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    verdict: Verdict
    findings: tuple[Finding, ...]


def assess(config: AgentConfig, volume: VolumeConfig, snapshot: VolumeSnapshot) -> Readiness:
    """The verdict for one volume on this host, with every reason."""
    if is_primary(volume, snapshot):
        findings = (*unobserved(snapshot), *_serving(config, volume, snapshot))
        return Readiness(
            verdict=Verdict.DEGRADED if _disturb(findings) else Verdict.SERVING, findings=findings
        )
    findings = assembly_findings(volume, snapshot)
    if not blockers(findings):
        peer = config.peer_of(config.host)
        request = OperationRequest(
            kind=OperationKind.PROMOTE, volume=volume.name, operation_id="readiness"
        )
        findings = promotion_findings(volume, snapshot, request, peer.name if peer else "")
        # That the peer serves is as it should be; it is in the way of a promotion, not of
        # being ready for one.
        findings = tuple(f for f in findings if f.code != "PEER_IS_PRIMARY")
        # Nor is the grant: whoever wants to give it must see whether anything else is.
        findings = tuple(
            dataclasses.replace(f, severity=Severity.WARNING)
            if f.code == "PROMOTION_NOT_GRANTED"
            else f
            for f in findings
        )
        findings += (
            *_just_in_sync(volume, snapshot),
            *place_findings(config, volume, snapshot),
            *_watched(volume, snapshot),
        )
    if blockers(findings):
        return Readiness(verdict=Verdict.BLOCKED, findings=findings)
    verdict = Verdict.DEGRADED if _disturb(findings) else Verdict.READY
    return Readiness(verdict=verdict, findings=findings)


def _disturb(findings: tuple[Finding, ...]) -> bool:
    return any(f.severity is not Severity.NOTE for f in findings)


def is_primary(volume: VolumeConfig, snapshot: VolumeSnapshot) -> bool:
    """This host holds the volume: by DRBD's role, or for a local volume by its mount."""
    if volume.replica is not None:
        return isinstance(snapshot.replica, Replica) and snapshot.replica.role is Role.PRIMARY
    view = snapshot.filesystem
    return view is not None and not isinstance(view, Unobserved) and bool(view.mounts)


def _serving(
    config: AgentConfig, volume: VolumeConfig, snapshot: VolumeSnapshot
) -> tuple[Finding, ...]:
    peer = config.peer_of(config.host)
    name = peer.name if peer else "the peer"
    replica = snapshot.replica
    found: list[Finding] = []
    if isinstance(replica, Replica):
        found += _frozen(volume, snapshot, replica, name)
    if not found or volume.arbitration is Arbitration.NONE:
        # What stands still anyway has clients shut out and no peer; neither is to be mended first.
        found += _layers(volume, snapshot)
        if isinstance(replica, Replica) and not replica.in_sync():
            found += _fallback(volume, snapshot, replica, name)
    view = snapshot.array
    if view is not None and not isinstance(view, Unobserved):
        found += assembly_findings(volume, snapshot)
    found += guard_findings(volume, snapshot)
    found += agreement_findings(volume, snapshot, name, lets_go=True)
    return (*found, *place_findings(config, volume, snapshot), *_watched(volume, snapshot))


def _just_in_sync(volume: VolumeConfig, snapshot: VolumeSnapshot) -> tuple[Finding, ...]:
    """Ready to be moved to; not yet to take over from a peer that dies in this moment."""
    replica, attachment = snapshot.replica, snapshot.attachment
    if not isinstance(replica, Replica) or not replica.in_sync():
        return ()
    if attachment is None or attachment.in_sync_until_loss:
        return ()
    return (
        warning(
            "JUST_IN_SYNC",
            f"if the other host died now, {volume.name} could not be promoted here",
            measured=attachment.broken_by,
            limit=f"seen in sync for {SETTLE_S:.0f} s without a break",
            remedy="wait: storage-agent status --watch; a failover is refused until then, a "
            "planned move is not",
        ),
    )


def _watched(volume: VolumeConfig, snapshot: VolumeSnapshot) -> tuple[Finding, ...]:
    if volume.arbitration is Arbitration.NONE:
        return ()
    replica = snapshot.replica
    if isinstance(replica, Replica) and replica.driver_version.startswith("9."):
        return (
            warning(
                "ARBITRATION_NEEDS_84",
                f"with DRBD {replica.driver_version} the fence-peer handler of {volume.name} has "
                "to ask drbdsetup who is frozen, which was tried with recorded outputs alone",
                measured=f"driver {replica.driver_version}",
                limit="driver 8.4, which comes with the kernel",
                remedy='use the kernel\'s own driver, or set arbitration = "none" in agent.toml',
            ),
        )
    return (
        Finding(
            code="COORDINATOR_NEEDED",
            severity=Severity.NOTE,
            summary=f"when the hosts lose each other, {volume.name} stands still until a "
            "coordinator answers: one must be watching",
            measured=f'arbitration = "{volume.arbitration}"',
            limit="a coordinator that watches (storage-coordinator watch) and reaches both hosts",
            remedy="on the coordinator's machine: systemctl status storage-coordinator",
        ),
    )


def _frozen(
    volume: VolumeConfig, snapshot: VolumeSnapshot, replica: Replica, peer: str
) -> tuple[Finding, ...]:
    """Why the writes stand still, and what ends that."""
    incident = snapshot.incident
    if isinstance(incident, Incident) and incident.answer is IncidentAnswer.NONE:
        return (
            blocker(
                "INCIDENT_OPEN",
                f"{volume.name} lost {peer}: its writes are frozen, and this host asks whether "
                "to go on",
                measured=f"incident {incident.incident}, no answer yet",
                limit="an answer of the coordinator, usually within 2 s",
                remedy=thaw(volume, snapshot, replica, peer),
            ),
        )
    if not replica.suspended:
        return ()
    if isinstance(incident, Incident) and incident.answer is IncidentAnswer.DENY:
        return (
            blocker(
                "INCIDENT_DENIED",
                f"denied: {peer} was granted epoch {incident.epoch} of {volume.name}; "
                "this host may not write any more",
                measured=f"incident {incident.incident} answered: deny",
                limit="secondary",
                remedy=thaw(volume, snapshot, replica, peer),
            ),
        )
    is_forgotten = "fencing" in replica.suspended
    return (
        blocker(
            "REPLICA_SUSPENDED",
            f"DRBD has frozen the writes of {volume.name}",
            measured=f"suspended: {', '.join(replica.suspended)}"
            + (", and no handler asks what to do" if is_forgotten else ""),
            limit="not suspended",
            remedy=thaw(volume, snapshot, replica, peer),
        ),
    )


def _layers(volume: VolumeConfig, snapshot: VolumeSnapshot) -> tuple[Finding, ...]:
    """Primary, but something above DRBD is missing."""
    found = []
    view = snapshot.filesystem
    if view is not None and not isinstance(view, Unobserved) and not view.mounts:
        found.append(
            blocker(
                "NOT_MOUNTED",
                f"{volume.name} is primary here but not mounted",
                measured="mounted nowhere",
                limit=f"mounted at {volume.mount_point}",
                remedy=f"storage-agent promote {volume.name} (or demote)",
            )
        )
    server = snapshot.nfs
    if isinstance(server, NfsView) and server.state is not ServerState.SERVING:
        found.append(
            blocker(
                "NOT_EXPORTED",
                f"{volume.name} is primary here but its NFS server does not serve",
                measured=f"server: {server.state}",
                limit="serving",
                remedy=f"storage-agent promote {volume.name} (or demote)",
            )
        )
    if not isinstance(snapshot.services, Unobserved):
        found += [
            blocker(
                "SERVICE_DOWN",
                f"{service.unit} should run with {volume.name} and does not",
                measured=f"{service.active} ({service.sub})",
                limit="active",
                remedy=f"systemctl status {service.unit}",
            )
            for service in snapshot.services
            if service.active != "active"
        ]
    return (
        *found,
        *_mount_options(volume, snapshot),
        *_own_folder(volume, snapshot),
        *space_findings(volume, snapshot),
    )


def _mount_options(volume: VolumeConfig, snapshot: VolumeSnapshot) -> tuple[Finding, ...]:
    """As the kernel shows them: mounted by an earlier version or by hand they may be others."""
    view = snapshot.filesystem
    mounts = view.mounts if isinstance(view, FilesystemView) else ()
    seen = {o for m in mounts if m.mount_point == volume.mount_point for o in m.options}
    wanted = {"nosuid", "nodev", "noexec"} & set(volume.filesystem.mount_options())
    if not seen or wanted <= seen:
        return ()
    options = ",".join(sorted(wanted - seen))
    return (
        warning(
            "MOUNT_OPTIONS",
            f"{volume.mount_point} is mounted without {options}: what users put there is more "
            "than a file on this host",
            measured=",".join(sorted(seen)),
            limit=",".join(sorted(wanted)),
            remedy=f"mount -o remount,{options} {volume.mount_point} (interrupts nothing; the "
            "next promotion mounts it so)",
        ),
    )


def _own_folder(volume: VolumeConfig, snapshot: VolumeSnapshot) -> tuple[Finding, ...]:
    """What users have made of it."""
    view = snapshot.filesystem
    if view is None or isinstance(view, Unobserved):
        return ()
    found = []
    journal = f"journalctl -u storage-agentd -u storage-agent-nfs@{volume.name} -n 50"
    if view.disturbed:
        found.append(
            warning(
                "FOLDER_DISTURBED",
                f"somebody has changed what is the agent's own on {volume.mount_point}; it is put "
                "back within seconds while clients are served",
                measured=view.disturbed,
                limit=f"{volume.mount_point}/.storage-agent of root's, with the marker in it",
                remedy=f"if it stays: ls -la {volume.mount_point}; {journal}",
            )
        )
    if view.put_right:
        found.append(
            warning(
                "FOLDER_PUT_RIGHT",
                f"somebody had changed what is the agent's own on {volume.mount_point}; it was put "
                "right in the last 15 minutes",
                measured=view.put_right,
                limit="untouched",
                remedy="see who moves or removes it (a clean-up, a backup that was put back): "
                f"{journal}",
            )
        )
    return tuple(found)


def _fallback(
    volume: VolumeConfig, snapshot: VolumeSnapshot, replica: Replica, peer: str
) -> tuple[Finding, ...]:
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
