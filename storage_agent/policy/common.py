"""Checks that more than one decision makes."""

from __future__ import annotations

from storage_agent.model.configuration import AgentConfig, Arbitration, VolumeConfig
from storage_agent.model.filesystem import FilesystemView
from storage_agent.model.finding import Finding
from storage_agent.model.finding import blocker as blocker
from storage_agent.model.finding import warning as warning
from storage_agent.model.incident import REBOOT_FROZEN, Incident, IncidentAnswer
from storage_agent.model.observed import Unobserved
from storage_agent.model.operation import OperationRequest
from storage_agent.model.replica import ConnectionState, Replica, Role
from storage_agent.model.sizes import bytes_text as bytes_text
from storage_agent.model.snapshot import VolumeSnapshot

LOOKED_AT = "looked at within its time"


def unobserved(snapshot: VolumeSnapshot) -> tuple[Finding, ...]:
    """Unknown means no: every facet that could not be looked at is a blocker."""
    facets = {
        "array": snapshot.array,
        "replica": snapshot.replica,
        "filesystem": snapshot.filesystem,
        "NFS server": snapshot.nfs,
        "services": snapshot.services,
    }
    return tuple(
        blocker(
            "UNOBSERVED",
            f"the {name} of {snapshot.volume} could not be looked at",
            measured=view.reason,
            limit=LOOKED_AT,
            remedy="see what keeps the agent from looking: storage-agent doctor",
        )
        for name, view in facets.items()
        if isinstance(view, Unobserved)
    )


def host_name_findings(config: AgentConfig, node_name: str) -> tuple[Finding, ...]:
    """drbdadm looks for `on NAME` by the whole of `uname -n` (drbd.conf(5)), and finds no resource
    of this host where that is another name: each of its commands would fail. node_name: empty
    where nobody has looked."""
    is_replicated = any(volume.replica for volume in config.volumes.values())
    if node_name in ("", config.host) or not is_replicated:
        return ()
    return (
        blocker(
            "HOST_NAME",
            f"this host is {config.host} in agent.toml and {node_name} to DRBD, which then knows "
            "no resource of it",
            measured=f"uname -n: {node_name}",
            limit=f"uname -n: {config.host}",
            remedy=f"hostnamectl hostname {config.host} (a domain belongs into /etc/hosts: "
            f"127.0.1.1 {config.host}.DOMAIN {config.host})",
        ),
    )


def thaw(volume: VolumeConfig, snapshot: VolumeSnapshot, replica: Replica, peer: str) -> str:
    """The remedy for frozen writes: what ends this freeze, of those that DRBD knows."""
    incident = snapshot.incident
    answer = incident.answer if isinstance(incident, Incident) else None
    if answer is IncidentAnswer.DENY:
        return (
            f"on {snapshot.host}: {REBOOT_FROZEN} (demote cannot unmount what is frozen, and a "
            "plain reboot waits for it for minutes); it comes back as secondary and resyncs from "
            f"{peer}"
        )
    if answer is IncidentAnswer.NONE:
        return (
            "on the coordinator's machine: storage-coordinator status "
            f"{volume.name}; or bring the link to {peer} back"
        )
    if "fencing" in replica.suspended:
        return f"bring the link to {peer} back; if {peer} was promoted: {REBOOT_FROZEN}"
    if "no-data" in replica.suspended:
        return f"bring {peer} or the link to it back: no copy can be reached from here"
    if "quorum" in replica.suspended:
        return (
            f"bring {peer} or the link to it back: DRBD was told to want a quorum, which the agent "
            f"does not: drbdsetup show {volume.name}"
        )
    return "see since when: storage-agent events; who suspended it by hand lets it go on"


def move_to(volume: VolumeConfig, host: str, peer: str) -> str:
    """How the volume is moved from this host, which serves it, to its peer."""
    if volume.arbitration is Arbitration.COORDINATOR:
        return (
            "on the coordinator's machine: storage-coordinator switchover "
            f"{volume.name} --to {peer}"
        )
    return (
        f"on {peer}: storage-agent promote {volume.name} --wait 60; "
        f"then on {host}: storage-agent demote {volume.name}"
    )


def mounted_elsewhere(volume: VolumeConfig, view: FilesystemView) -> list[str]:
    """Mount points that are not the volume's own."""
    places = [mount.mount_point for mount in view.mounts]
    return [place for place in places if place != volume.mount_point]


def wrong_primary(
    volume: VolumeConfig, snapshot: VolumeSnapshot, request: OperationRequest, peer: str
) -> tuple[Finding, ...]:
    """The caller names another primary than the one that is seen, whatever it asks for. Where none
    is seen, the one that it names may have let go. peer: the other host's name."""
    primary = _seen_primary(snapshot, peer)
    if request.expected_primary is None or primary in (None, request.expected_primary):
        return ()
    return (
        blocker(
            "WRONG_PRIMARY",
            f"{primary} is primary for {volume.name}, not {request.expected_primary} as the caller "
            "believes",
            measured=f"primary: {primary}",
            limit=f"primary: {request.expected_primary}",
            remedy=f"see both hosts: storage-coordinator status {volume.name}; then name {primary}",
        ),
    )


def _seen_primary(snapshot: VolumeSnapshot, peer: str) -> str | None:
    """What a lost peer was last is not seen."""
    replica = snapshot.replica
    if not isinstance(replica, Replica):
        return None
    if replica.role is Role.PRIMARY:
        return snapshot.host
    view = replica.peer
    if view is None or view.connection is not ConnectionState.CONNECTED:
        return None
    return peer if view.role is Role.PRIMARY else None
