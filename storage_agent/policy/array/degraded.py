"""May the array be started without some of its members, because a person says so?

DRBD does not find out that the half which was started is the older one: its generation lies on
that half, and is as old (drbd_receiver.c drbd_uuid_compare() sees equal generations and syncs
nothing). So what could have gone on without these members must be known not to have.
"""

from __future__ import annotations

from storage_agent.model.array import ArrayView
from storage_agent.model.configuration import VolumeConfig
from storage_agent.model.finding import Finding
from storage_agent.model.members import Members
from storage_agent.model.snapshot import VolumeSnapshot
from storage_agent.policy.array.members import slots_text
from storage_agent.policy.common import blocker, warning


def start_findings(
    volume: VolumeConfig, snapshot: VolumeSnapshot, view: ArrayView, members: Members
) -> tuple[Finding, ...]:
    """members: of an array that does not run, at least one slot of it without one."""
    serials = volume.array.disks.get(snapshot.host, ())
    measured = slots_text(members, serials) if members.chosen else "none of its members attached"
    if not members.chosen or not members.can_run():
        return (
            blocker(
                "DEGRADED_IMPOSSIBLE",
                f"what is attached of {volume.name} cannot carry its array "
                f"({members.level or volume.array.level})",
                measured=measured,
                limit="enough members for the RAID level, fully rebuilt",
                remedy=f"attach the absent ones, then: storage-agent assemble {volume.name}; if "
                f"they are gone for good, so is {snapshot.host}'s copy: name new and blank disks "
                "alone in agent.toml, and take the other host's copy: "
                f"storage-agent create {volume.name} --join",
            ),
        )
    return _newer(volume, snapshot, view, members, measured) or (
        warning(
            "DEGRADED_START",
            f"the array of {volume.name} is started without slot "
            f"{', '.join(map(str, members.absent))}, on a person's word",
            measured=measured,
            limit="a member for each slot",
            remedy=f"if an absent one holds newer data, go no further and attach it: what only it "
            f"has is lost to {snapshot.host}, and it is written over when it is added; else "
            f"confirm, and see how the disk is replaced: storage-agent status {volume.name}",
        ),
    )


def _newer(
    volume: VolumeConfig,
    snapshot: VolumeSnapshot,
    view: ArrayView,
    members: Members,
    measured: str,
) -> tuple[Finding, ...]:
    """That an absent member holds newer data than the chosen ones, or may."""
    if view.seen is None and not members.absent_could_have_run():
        return ()
    ready = [block for block in members.chosen if not block.recovering]
    seen = set(view.seen.in_sync) if view.seen else set[str]()
    fallen_out = [block.serial for block in ready if block.serial not in seen]
    if not fallen_out:
        return ()
    disks = " ".join(f"/dev/{block.disk}" for block in members.chosen)
    uuid = volume.array.uuid.get(snapshot.host, "")
    by_hand = f"mdadm --assemble --run {volume.array_device()} --config=none --uuid={uuid} {disks}"
    attach = f"attach the absent member, then: storage-agent assemble {volume.name}"
    if view.seen is None:
        return (
            blocker(
                "DEGRADED_UNKNOWN",
                f"an absent member of {volume.name} may have gone on without the ones that are "
                "here: this host has no note of who was in the array last",
                measured=measured,
                limit="a note of when the array ran last, or too few absent to run alone",
                remedy=f"{attach}; only if you know that it did not: {by_hand}",
            ),
        )
    return (
        blocker(
            "DEGRADED_OLDER",
            f"the array of {volume.name} has gone on without {', '.join(fallen_out)}: an absent "
            "member holds newer data",
            measured=f"{measured}; in sync when it last ran: {', '.join(view.seen.in_sync)}",
            limit="only members that were in sync when the array last ran",
            remedy=f"{attach}; if that is gone for good, so is {snapshot.host}'s copy: name new "
            "and blank disks alone in agent.toml, and take the other host's copy: "
            f"storage-agent create {volume.name} --join",
        ),
    )
