"""Is the volume well here, and would it be well to move it? Shown all the time, decides nothing."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from storage_agent.model.configuration import AgentConfig, VolumeConfig
from storage_agent.model.finding import Finding, Severity, blockers
from storage_agent.model.nfs import NfsView, ServerState
from storage_agent.model.observed import Unobserved
from storage_agent.model.operation import OperationRequest
from storage_agent.model.plan import OperationKind
from storage_agent.model.replica import Replica, Role
from storage_agent.model.snapshot import VolumeSnapshot
from storage_agent.policy.assembly import assembly_findings
from storage_agent.policy.common import blocker, bytes_text, unobserved, warning
from storage_agent.policy.promotion import promotion_findings
from storage_agent.policy.standalone import split_brain, standing_alone

MINIMUM_FREE_RATIO = 0.05


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
            verdict=Verdict.DEGRADED if findings else Verdict.SERVING, findings=findings
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
    if blockers(findings):
        return Readiness(verdict=Verdict.BLOCKED, findings=findings)
    return Readiness(verdict=Verdict.DEGRADED if findings else Verdict.READY, findings=findings)


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
    found = list(_layers(volume, snapshot))
    replica = snapshot.replica
    if isinstance(replica, Replica):
        if replica.suspended:
            found.append(
                blocker(
                    "REPLICA_SUSPENDED",
                    f"DRBD has frozen the writes of {volume.name}",
                    measured=f"suspended: {', '.join(replica.suspended)}",
                    limit="not suspended",
                    remedy="the coordinator answers incidents; see storage-agent events",
                )
            )
        if not replica.in_sync():
            found.append(_fallback(volume, replica, peer.name if peer else "the peer"))
    view = snapshot.array
    if view is not None and not isinstance(view, Unobserved):
        found += assembly_findings(volume, snapshot)
    return tuple(found)


def _layers(volume: VolumeConfig, snapshot: VolumeSnapshot) -> tuple[Finding, ...]:
    """Primary, but something above DRBD is missing."""
    found = []
    view = snapshot.filesystem
    if view is not None and not isinstance(view, Unobserved) and not view.mounts:
        found.append(
            blocker(
                "NOT_MOUNTED",
                f"{volume.name} is primary here but not mounted",
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
    return (*found, *_space(volume, snapshot))


def _space(volume: VolumeConfig, snapshot: VolumeSnapshot) -> tuple[Finding, ...]:
    view = snapshot.filesystem
    if view is None or isinstance(view, Unobserved) or view.capacity is None:
        return ()
    space = view.capacity
    measures = (
        ("bytes", space.free_bytes, space.size_bytes, bytes_text(space.free_bytes)),
        ("inodes", space.free_inodes, space.inodes, f"{space.free_inodes} inodes"),
    )
    return tuple(
        warning(
            "NEARLY_FULL",
            f"{volume.mount_point} runs out of {what}",
            measured=f"{shown} free of {total}",
            limit=f"at least {MINIMUM_FREE_RATIO:.0%} free",
            remedy=f"free some, or grow the volume: df -h {volume.mount_point}",
        )
        for what, free, total, shown in measures
        # Filesystems without a fixed number of inodes say 0.
        if total > 0 and free < total * MINIMUM_FREE_RATIO
    )


def _fallback(volume: VolumeConfig, replica: Replica, peer: str) -> Finding:
    if replica.split_brain:
        return split_brain(volume, replica, peer)
    if replica.stands_alone():
        return standing_alone(volume, replica, peer)
    return _no_fallback(volume, replica, peer)


def _no_fallback(volume: VolumeConfig, replica: Replica, peer: str) -> Finding:
    view = replica.peer
    seen = "no connection configured"
    if view is not None:
        behind = "" if view.out_of_sync_bytes is None else f", {bytes_text(view.out_of_sync_bytes)}"
        seen = f"{view.connection}, {view.replication}, peer disk {view.disk}{behind} out of sync"
    return Finding(
        code="NO_FALLBACK",
        severity=Severity.WARNING,
        summary=f"if this host fails now, {peer} cannot take {volume.name} over",
        measured=seen,
        limit="Connected, Established, peer disk UpToDate, 0 bytes out of sync",
        remedy=f"see storage-agent status on {peer}",
    )
