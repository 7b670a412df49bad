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
    Replica,
    Role,
)
from storage_agent.model.snapshot import VolumeSnapshot
from storage_agent.policy.agreement import agreement_findings
from storage_agent.policy.array.assembly import assembly_findings
from storage_agent.policy.array.next_assembly import next_assembly_findings
from storage_agent.policy.common import blocker, thaw, unobserved, warning
from storage_agent.policy.evidence import SETTLE_S
from storage_agent.policy.fallback import fallback_findings
from storage_agent.policy.guards import guard_findings, place_findings
from storage_agent.policy.legible import named
from storage_agent.policy.promotion import promotion_findings, without_primary_peer
from storage_agent.policy.records import is_half_made, records_findings
from storage_agent.policy.server import link_findings
from storage_agent.policy.space import space_findings, unwritten_findings


class Verdict(StrEnum):
    """SERVING: served here.  READY: a promotion here would succeed, once the peer has given the
    role back.  DEGRADED: either of them with findings.  BLOCKED: not served here, and a
    promotion here would be refused; or this host has the role, and nobody is served."""

    SERVING = "serving"
    READY = "ready"
    DEGRADED = "degraded"
    BLOCKED = "blocked"


_NOBODY_SERVED = frozenset(
    {
        "ATTACH_ALONE",
        "INCIDENT_DENIED",
        "INCIDENT_OPEN",
        "NOT_EXPORTED",
        "NOT_MOUNTED",
        "REPLICA_SUSPENDED",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    verdict: Verdict
    findings: tuple[Finding, ...]


def assess(config: AgentConfig, volume: VolumeConfig, snapshot: VolumeSnapshot) -> Readiness:
    """The verdict for one volume on this host, with every reason."""
    judged = _judge(config, volume, snapshot.decidable(), is_held=is_primary(volume, snapshot))
    return dataclasses.replace(judged, findings=named(snapshot, judged.findings))


def _judge(
    config: AgentConfig, volume: VolumeConfig, snapshot: VolumeSnapshot, *, is_held: bool
) -> Readiness:
    if is_held:
        findings = (
            *records_findings(snapshot),
            *unobserved(snapshot),
            *_serving(config, volume, snapshot),
        )
        verdict = Verdict.DEGRADED if _disturb(findings) else Verdict.SERVING
        if any(finding.code in _NOBODY_SERVED for finding in findings):
            verdict = Verdict.BLOCKED
        return Readiness(verdict=verdict, findings=findings)
    findings = refusals(config, volume, snapshot)
    if blockers(findings):
        return Readiness(verdict=Verdict.BLOCKED, findings=findings)
    findings += (
        *_just_in_sync(volume, snapshot),
        *place_findings(config, volume, snapshot),
        *_watched(volume, snapshot),
        *next_assembly_findings(volume, snapshot),
    )
    verdict = Verdict.DEGRADED if _disturb(findings) else Verdict.READY
    return Readiness(verdict=verdict, findings=findings)


def refusals(
    config: AgentConfig, volume: VolumeConfig, snapshot: VolumeSnapshot
) -> tuple[Finding, ...]:
    """What a promotion here would be told if it were asked for now, and the peer had let go: by
    the very decision that it would meet."""
    peer = config.peer_of(config.host)
    request = OperationRequest(
        kind=OperationKind.PROMOTE, volume=volume.name, operation_id="readiness"
    )
    findings = promotion_findings(volume, snapshot, request, peer.name if peer else "")
    if is_half_made(findings) or volume.array.uuid.get(snapshot.host) is None:
        return findings
    if blockers(below := assembly_findings(volume, snapshot)):
        # What keeps the array down comes first; what lies on it can wait.
        return (*below, *(f for f in records_findings(snapshot) if f not in below))
    # Whoever wants to give the grant must see whether anything else is in the way.
    return tuple(
        dataclasses.replace(f, severity=Severity.WARNING)
        if f.code == "PROMOTION_NOT_GRANTED"
        else f
        for f in without_primary_peer(findings)
    )


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
            found += fallback_findings(volume, snapshot, replica, name)
    view = snapshot.array
    if view is not None and not isinstance(view, Unobserved):
        found += assembly_findings(volume, snapshot)
        found += next_assembly_findings(volume, snapshot)
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
                "to ask drbdsetup who is frozen, tried with what it has shown while a handler "
                "ran, and not on a pair that fails over",
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
    found += link_findings(volume, snapshot)
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
        *unwritten_findings(volume, snapshot),
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
