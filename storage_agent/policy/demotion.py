"""May this host stop serving the volume and give the role back now, or leave its peer?"""

from __future__ import annotations

import dataclasses

from storage_agent.model.configuration import VolumeConfig
from storage_agent.model.finding import Finding, Severity, blockers
from storage_agent.model.observed import Unobserved
from storage_agent.model.operation import SHUTDOWN_ORIGIN, OperationRequest
from storage_agent.model.replica import Replica, Role
from storage_agent.model.snapshot import VolumeSnapshot
from storage_agent.policy.agreement import agreement_findings, as_meant
from storage_agent.policy.arbitration import has_lost_newer_copy
from storage_agent.policy.common import (
    blocker,
    mounted_elsewhere,
    thaw,
    unobserved,
    warning,
)
from storage_agent.policy.liveguard import dependence_findings, service_findings, taken_away
from storage_agent.policy.space import no_room_findings, unwritten_findings
from storage_agent.policy.standalone import standalone_findings


def demotion_findings(
    volume: VolumeConfig, snapshot: VolumeSnapshot, request: OperationRequest, peer: str
) -> tuple[Finding, ...]:
    """For `demote`. A volume that is secondary already has none of them. peer: the other host's
    name, for texts."""
    found = list(unobserved(snapshot))
    replica = snapshot.replica
    if isinstance(replica, Replica) and replica.role is Role.PRIMARY and replica.suspended:
        found.append(
            blocker(
                "REPLICA_SUSPENDED",
                f"DRBD has frozen the writes of {volume.name}: unmounting would hang",
                measured=f"suspended: {', '.join(replica.suspended)}",
                limit="not suspended",
                remedy=thaw(volume, snapshot, replica, peer or "the other host"),
            )
        )
    if not isinstance(snapshot.filesystem, Unobserved) and snapshot.filesystem is not None:
        elsewhere = mounted_elsewhere(volume, snapshot.filesystem)
        if elsewhere:
            found.append(
                blocker(
                    "MOUNTED_ELSEWHERE",
                    f"{volume.device()} is also mounted elsewhere",
                    measured=", ".join(elsewhere),
                    limit=f"only {volume.mount_point}",
                    remedy=f"see who uses it, this interrupts them: fuser -vm {elsewhere[0]}; "
                    f"then: umount {elsewhere[0]}",
                )
            )
    return (
        *found,
        *_nobody_could_start_it(volume, snapshot, request),
        *_nobody_takes_over(volume, snapshot, request, peer),
        *_taken_over_otherwise(volume, snapshot, request, peer),
    )


def leaving_findings(
    volume: VolumeConfig, snapshot: VolumeSnapshot, request: OperationRequest, peer: str
) -> tuple[Finding, ...]:
    """For `leave`: nothing may be served here, and nobody depend on this host's copy, unless
    the caller names it, or it is out of reach anyway."""
    found = (*unobserved(snapshot), *service_findings(volume, snapshot))
    is_named = request.stop_serving == _named(volume, snapshot)
    if is_named or snapshot.replica is None or has_lost_newer_copy(snapshot):
        return found
    return (*found, *dependence_findings(volume, snapshot, peer))


def _nobody_could_start_it(
    volume: VolumeConfig, snapshot: VolumeSnapshot, request: OperationRequest
) -> tuple[Finding, ...]:
    """Seen only while it is mounted, so it is asked before it is let go."""
    found = (*no_room_findings(volume, snapshot), *unwritten_findings(volume, snapshot))
    is_meant = request.stop_serving == _named(volume, snapshot)
    if is_meant or request.origin == SHUTDOWN_ORIGIN:
        return tuple(dataclasses.replace(f, severity=Severity.WARNING) for f in found)
    return found


def _taken_over_otherwise(
    volume: VolumeConfig, snapshot: VolumeSnapshot, request: OperationRequest, peer: str
) -> tuple[Finding, ...]:
    """By a host that has it configured differently: nobody would serve it, or another address."""
    replica = snapshot.replica
    is_primary = isinstance(replica, Replica) and replica.role is Role.PRIMARY
    if not is_primary or request.origin == SHUTDOWN_ORIGIN:
        return ()
    found = agreement_findings(volume, snapshot, peer, lets_go=True)
    return as_meant(found) if request.stop_serving == _named(volume, snapshot) else found


def _nobody_takes_over(
    volume: VolumeConfig, snapshot: VolumeSnapshot, request: OperationRequest, peer: str
) -> tuple[Finding, ...]:
    """A demote is one half of a move: who asks for it with no other half in sight takes the
    service away, and must say so: by name, once the peer is given up by `standalone`."""
    replica = snapshot.replica
    taken = taken_away(volume, snapshot)
    if not taken or (isinstance(replica, Replica) and replica.peer_has_all()):
        return ()
    view = replica.peer if isinstance(replica, Replica) else None
    seen = "no connection" if view is None else f"{view.connection}, {view.replication}"
    disk = "" if view is None else f", peer disk {view.disk}"
    named = _named(volume, snapshot)
    is_given_up = not _may_stand_alone(volume, snapshot, peer)
    is_meant = is_given_up or request.origin == SHUTDOWN_ORIGIN
    make = warning if request.stop_serving == named and is_meant else blocker
    first = "" if is_given_up else f"storage-agent standalone {volume.name}, then: "
    return (
        make(
            "PEER_CANNOT_TAKE_OVER",
            f"{peer or 'no other host'} cannot take {volume.name} over: nobody would serve it",
            measured=f"{seen}{disk}; taken away: {'; '.join(f.measured for f in taken)}",
            limit="Connected, Established, peer disk UpToDate, 0 bytes out of sync",
            remedy=f"bring {peer or 'a peer'} back first; if {volume.name} shall really not be "
            f"served: {first}storage-agent demote {volume.name} --yes-stop-serving {named}",
        ),
    )


def _may_stand_alone(volume: VolumeConfig, snapshot: VolumeSnapshot, peer: str) -> bool:
    """The peer is still counted on, and this host could say that it is not."""
    replica = snapshot.replica
    if not isinstance(replica, Replica) or replica.stands_alone():
        return False
    return not blockers(standalone_findings(volume, snapshot, peer))


def _named(volume: VolumeConfig, snapshot: VolumeSnapshot) -> str:
    return f"{snapshot.host}/{volume.name}"
