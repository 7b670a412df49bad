"""Can the volume's mount point take its filesystem, and is that mounted nowhere else? Pure."""

from __future__ import annotations

import shlex

from storage_agent.model.configuration import VolumeConfig
from storage_agent.model.doctor import automount_unit
from storage_agent.model.finding import Finding
from storage_agent.model.observed import Unobserved
from storage_agent.model.snapshot import VolumeSnapshot
from storage_agent.policy.common import blocker, mounted_elsewhere


def mount_point_findings(volume: VolumeConfig, snapshot: VolumeSnapshot) -> tuple[Finding, ...]:
    view = snapshot.filesystem
    if isinstance(view, Unobserved) or view is None:
        return ()
    remedies = {
        "missing": f"mkdir {volume.mount_point}",
        "not-empty": f"move what is in it away: ls -la {volume.mount_point}",
        "occupied": f"see what is mounted there: findmnt {volume.mount_point}; an automount "
        f"(autofs) ends with: systemctl stop {shlex.quote(automount_unit(volume.mount_point))}",
        "unsafe": "it must be a plain directory that only root can write to, "
        f"not reached through a symlink: namei -l {volume.mount_point}",
    }
    found = []
    if view.mount_point_state in remedies:
        found.append(
            blocker(
                "MOUNT_POINT",
                f"{volume.mount_point} cannot take the filesystem of {volume.name}",
                measured=view.mount_point_state,
                limit="an empty directory",
                remedy=remedies[view.mount_point_state],
            )
        )
    elsewhere = mounted_elsewhere(volume, view)
    if elsewhere:
        found.append(
            blocker(
                "MOUNTED_ELSEWHERE",
                f"{volume.device()} is mounted where it does not belong",
                measured=", ".join(elsewhere),
                limit=volume.mount_point,
                remedy=f"see who uses it, this interrupts them: fuser -vm {elsewhere[0]}; "
                f"then: umount {elsewhere[0]}",
            )
        )
    return tuple(found)
