"""Explanations of what is decided about a volume's disks and array."""

from __future__ import annotations

from storage_agent.policy.explanation import Explanation

_STATUS = "storage-agent status"
_DISKS = "lsblk -o NAME,SERIAL,SIZE,FSTYPE"

ARRAY: dict[str, Explanation] = {
    "ARRAY_NOT_CREATED": Explanation(
        meaning="The volume is configured, but its array was never made on this host.",
        next_steps=(
            "storage-agent create VOLUME --first (on one host)",
            "storage-agent create VOLUME --join (on the other, afterwards)",
        ),
    ),
    "ARRAY_NOT_RUNNING": Explanation(
        meaning="The volume's array is not assembled here.",
        risk="this host cannot take the volume over",
        next_steps=("storage-agent assemble VOLUME",),
    ),
    "ARRAY_DEGRADED": Explanation(
        meaning="The array runs with at least one member missing or failed.",
        risk="one more failed disk can take this host's copy",
        next_steps=(
            "cat /proc/mdstat",
            "replace the disk, then: mdadm /dev/md/VOLUME --add /dev/disk/by-id/NEW-DISK",
        ),
    ),
    "MEMBER_MISSING": Explanation(
        meaning="A disk that is configured by its serial number is not attached.",
        next_steps=(
            _DISKS,
            "attach it, then: storage-agent assemble VOLUME",
            "gone for good: storage-agent assemble VOLUME --degraded --dry-run",
        ),
    ),
    "MEMBER_BLANK": Explanation(
        meaning="A configured disk is attached but carries no md superblock.",
        risk="it may be the wrong disk, or one that was replaced",
        next_steps=(
            _DISKS,
            "mdadm --examine DISK",
            "replaced: storage-agent assemble VOLUME --degraded --dry-run",
        ),
    ),
    "MEMBER_NOT_RAID": Explanation(
        meaning="A configured disk carries data that is not part of any array.",
        risk="it may be the wrong disk",
        next_steps=(_DISKS, "wipefs --no-act DISK"),
    ),
    "MEMBER_FOREIGN": Explanation(
        meaning="A configured disk belongs to another array.",
        risk="assembling with it would mix two sets of data",
        next_steps=("mdadm --examine DISK", "attach the right disk, or correct agent.toml"),
    ),
    "MEMBER_STALE": Explanation(
        meaning="A member missed writes that the others have: its event count is lower.",
        risk="assembled with it as equal, the array could return old data",
        next_steps=(
            "mdadm --examine DISK...",
            "storage-agent assemble VOLUME --degraded --dry-run",
            "once the array runs: mdadm /dev/md/VOLUME --add DISK",
        ),
    ),
    "MEMBER_DUPLICATE": Explanation(
        meaning="Two attached disks claim to be the same member, as a clone or snapshot does.",
        risk="which one is right cannot be told",
        next_steps=(_DISKS, "detach the copy"),
    ),
    "MEMBER_UNEXPECTED": Explanation(
        meaning="A disk that is not configured carries the volume's array UUID.",
        risk="a clone attached beside its original can be taken for it",
        next_steps=(_DISKS, "detach it, or configure its serial"),
    ),
    "MEMBER_REPLACED": Explanation(
        meaning="A disk that mdadm --add has put into the array is not named in agent.toml. The "
        "agent has seen it in the array, and uses it, also after a restart.",
        risk="if this host's state folder is lost, it is taken for a clone and refused",
        next_steps=(
            "write its serial in place of the old one into agent.toml of both hosts",
            "storage-agent config check",
            "systemctl reload storage-agentd",
        ),
    ),
    "DEGRADED_START": Explanation(
        meaning="The array is started without members that are not there, because a person says "
        "so; the plan shows event counts and times of those that are.",
        risk="what only an absent member has is lost to this host",
        next_steps=("storage-agent status VOLUME (says how the disk is replaced)",),
    ),
    "DEGRADED_IMPOSSIBLE": Explanation(
        meaning="Too few members are attached for the array's RAID level.",
        next_steps=(_DISKS, "attach the others, then: storage-agent assemble VOLUME"),
    ),
    "DEGRADED_OLDER": Explanation(
        meaning="When this host last saw the array run, what is attached now was not in sync any "
        "more: the absent member went on alone.",
        risk="DRBD would not notice that the data are older, and could copy them over the peer's",
        next_steps=("attach the absent member, then: storage-agent assemble VOLUME",),
    ),
    "DEGRADED_UNKNOWN": Explanation(
        meaning="The absent member could have carried the array alone, and this host has no note "
        "of which members it ran with last.",
        risk="the members that are here may be the older ones, which DRBD would not notice",
        next_steps=(
            "attach the absent member, then: storage-agent assemble VOLUME",
            "mdadm --examine DISK... (when was each written last?)",
        ),
    ),
    "DUPLICATE_SERIAL": Explanation(
        meaning="Two attached disks show the same serial number.",
        next_steps=(_DISKS, "detach the copy"),
    ),
    "DUPLICATE_ARRAY": Explanation(
        meaning="Two arrays of one UUID exist at once.",
        next_steps=("cat /proc/mdstat", "mdadm --detail --scan"),
    ),
    "ASSEMBLED_DEGRADED": Explanation(
        meaning="An array came up with fewer members than were given to it.",
        risk="which members hold the newest data must be looked at first",
        next_steps=("cat /proc/mdstat", "mdadm --examine DISK..."),
    ),
    "ARRAY_CHANGING": Explanation(
        meaning="The array changed while it was looked at, again and again.",
        next_steps=("wait a moment, then look again", "cat /proc/mdstat"),
    ),
    "ALREADY_CREATED": Explanation(
        meaning="The volume exists on this host; create makes new ones only. Where its disks are "
        "all new and blank, or DRBD's metadata are gone, --join takes the other host's copy.",
        next_steps=("storage-agent assemble VOLUME", _STATUS),
    ),
    "DISK_IN_USE": Explanation(
        meaning="A disk that create would overwrite carries data or is in use.",
        risk="create would destroy it, so it refuses",
        next_steps=("lsblk DISK", "wipefs --no-act DISK", "name another disk"),
    ),
    "TOO_FEW_DISKS": Explanation(
        meaning="The RAID level needs more disks than are usable here.",
        next_steps=("storage-agent config show", _DISKS),
    ),
    "DISK_SIZES_DIFFER": Explanation(
        meaning="The disks differ in size, so the smallest would silently decide.",
        next_steps=(_DISKS,),
    ),
}
