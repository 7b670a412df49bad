"""May this host stop serving the volume and give the role back now?"""

from __future__ import annotations

from storage_agent.model.configuration import VolumeConfig
from storage_agent.model.finding import Finding
from storage_agent.model.observed import Unobserved
from storage_agent.model.operation import OperationRequest
from storage_agent.model.replica import Replica, Role
from storage_agent.model.snapshot import VolumeSnapshot
from storage_agent.policy.common import blocker, mounted_elsewhere, unobserved


def demotion_findings(
    volume: VolumeConfig, snapshot: VolumeSnapshot, request: OperationRequest
) -> tuple[Finding, ...]:
    """Blockers for `demote`. A volume that is secondary already has none of them."""
    found = list(unobserved(snapshot))
    replica = snapshot.replica
    if isinstance(replica, Replica) and replica.role is Role.PRIMARY:
        if replica.suspended:
            found.append(
                blocker(
                    "REPLICA_SUSPENDED",
                    f"DRBD has frozen the writes of {volume.name}: unmounting would hang",
                    measured=f"suspended: {', '.join(replica.suspended)}",
                    limit="not suspended",
                    remedy="answer the incident first; see storage-agent status",
                )
            )
        if request.expected_primary not in (None, snapshot.host):
            found.append(
                blocker(
                    "WRONG_PRIMARY",
                    f"{snapshot.host} is primary for {volume.name}, "
                    f"not {request.expected_primary} as the caller believes",
                    measured=f"primary: {snapshot.host}",
                    limit=f"primary: {request.expected_primary}",
                    remedy="look again, then name the host that is primary",
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
                    remedy=f"umount {elsewhere[0]}",
                )
            )
    return tuple(found)
