"""Explanations of what is decided about a volume: currency, epoch, mount, space."""

from __future__ import annotations

from storage_agent.policy.explanation import Explanation

_NO_NEWER = (
    "only if no host has a newer copy: storage-agent promote VOLUME --marker-lost HOST/VOLUME",
)
_STATUS = "storage-agent status"

VOLUME: dict[str, Explanation] = {
    # Whose it is.
    "WRONG_PRIMARY": Explanation(
        meaning="The caller believes another host to be primary than the one that is.",
        next_steps=(_STATUS,),
    ),
    "STALE_EPOCH": Explanation(
        meaning="The request carries an epoch that was used up by a later change of ownership.",
        risk="acting on it could undo a failover",
        next_steps=(_STATUS, "ask again with the next epoch"),
    ),
    "OTHER_COORDINATOR": Explanation(
        meaning="The host listens to the coordinator that has adopted the volume last, and this "
        "is not the one that asks, or the host knows none: nobody has adopted the volume there, "
        "or its epoch was restored since.",
        risk="two coordinators could each let a host write; a frozen primary is answered by none "
        "but the one that is listened to",
        next_steps=(
            "find out which coordinator is to be in charge, and stop the other one",
            "on that one: storage-coordinator adopt VOLUME",
        ),
    ),
    "EPOCH_JUMP": Explanation(
        meaning="The request's epoch is implausibly far ahead of what this host knows.",
        next_steps=("find out who sent it: journalctl -u storage-agentd",),
    ),
    "EPOCH_NOT_GRANTED": Explanation(
        meaning="A coordinator arbitrates the volume, so a new epoch is its to give: with a grant, "
        "by a key of the role grant. A key of the role operate may name the one that was granted.",
        risk="who uses epochs up takes them from the answer to an incident: a frozen primary would "
        "wait longer",
        next_steps=(
            "storage-coordinator switchover VOLUME --to HOST",
            "for a coordinator of your own: storage-agent authorize --role grant KEYFILE",
        ),
    ),
    "EPOCH_NOT_NEXT": Explanation(
        meaning="The request's epoch is more than one beyond what this host knows, and its key has "
        "the role operate: only the role grant may leave epochs out.",
        next_steps=(_STATUS, "ask again with the next epoch", "storage-coordinator adopt VOLUME"),
    ),
    "MARKER_DISREGARDED": Explanation(
        meaning="A person has said that this copy is to be served whatever its marker says.",
        risk="if another host had a newer copy, what was written there is lost",
        next_steps=("compare what users miss with a backup",),
    ),
    "MARKER_GONE": Explanation(
        meaning="The agent's folder is gone from the volume, with the record of its last owner: "
        "somebody has moved or removed it, or a backup without it was put back.",
        risk="whether this copy is the newest is not proved by the volume itself",
        next_steps=("put the folder back if somebody has moved it", *_NO_NEWER),
    ),
    "MARKER_IMPLAUSIBLE": Explanation(
        meaning="The filesystem's own record of its last owner cannot be true: somebody who can "
        "write as root on the volume has written it.",
        risk="whether this copy is the newest is not proved by the volume itself",
        next_steps=("find out who it was: an export with no_root_squash?", *_NO_NEWER),
    ),
    "MARKER_OLD": Explanation(
        meaning="The filesystem's own record is older than one that was seen before, or was put "
        "back from a backup.",
        risk="this copy may have lost writes although DRBD calls it current",
        next_steps=("do not use either copy before both were looked at", *_NO_NEWER),
    ),
    "MARKER_UNREADABLE": Explanation(
        meaning="The filesystem's own record of its last owner cannot be read.",
        risk="whether this copy is current is not known",
        next_steps=("dmesg | tail", "look at the filesystem read-only", *_NO_NEWER),
    ),
    "MARKER_UNWRITABLE": Explanation(
        meaning="The record of the new owner could not be written to the filesystem.",
        next_steps=("df -h MOUNT_POINT; df -i MOUNT_POINT", "dmesg | tail"),
    ),
    "FOLDER_DISTURBED": Explanation(
        meaning="The agent's own folder on the volume, or what lies in it, was moved, removed or "
        "replaced: by a clean-up, a backup that was put back, or a client's root.",
        risk="without it the next host can neither tell that this copy is the newest nor give "
        "clients their locks back",
        next_steps=("ls -la MOUNT_POINT", "journalctl -u storage-agent-nfs@VOLUME -n 50"),
    ),
    "FOLDER_PUT_RIGHT": Explanation(
        meaning="The agent's own folder on the volume was disturbed, and has been put right. What "
        "was in its place lies beside it, as NAME.aside-NUMBER.",
        risk="where the records of NFS clients were set aside, these cannot reclaim their locks",
        next_steps=("journalctl -u storage-agent-nfs@VOLUME -n 50", "ls -la MOUNT_POINT"),
    ),
    # Filesystem.
    "MOUNT_OPTIONS": Explanation(
        meaning="The volume is mounted without options that it should have: by an earlier version "
        "of the agent, or by hand.",
        risk="a set-user-ID program or a device that a user has put there works on this host",
        next_steps=("findmnt MOUNT_POINT", "mount -o remount,nosuid,nodev MOUNT_POINT"),
    ),
    "MOUNT_POINT": Explanation(
        meaning="The mount point is not an empty, plain directory that only root can write to.",
        next_steps=("ls -ld MOUNT_POINT", "findmnt MOUNT_POINT"),
    ),
    "MOUNT_POINT_MISSING": Explanation(
        meaning="The mount point does not exist.",
        next_steps=("mkdir MOUNT_POINT",),
    ),
    "MOUNT_POINT_UNREADABLE": Explanation(
        meaning="The mount point could not be looked at.",
        next_steps=("ls -ld MOUNT_POINT", "dmesg | tail"),
    ),
    "MOUNTED_ELSEWHERE": Explanation(
        meaning="The volume's device is mounted at a place that is not configured.",
        risk="it cannot be given to the other host while that stands",
        next_steps=("findmnt -S DEVICE", "fuser -vm PLACE (unmounting it interrupts them)"),
    ),
    "NOT_MOUNTED": Explanation(
        meaning="The volume is primary here, but its filesystem is not mounted.",
        risk="clients wait",
        next_steps=("storage-agent promote VOLUME (completes it) or demote",),
    ),
    "FULL": Explanation(
        meaning="Nothing is left on the filesystem for its users, of bytes or of inodes. What the "
        "agent needs there it has held since before, so the volume is served and can be moved; "
        "the proof through NFS then reads and overwrites a file that is there.",
        risk="users' writes fail, or cannot make new files",
        next_steps=("df -h MOUNT_POINT; df -i MOUNT_POINT", "du --inodes -x MOUNT_POINT | sort -n"),
    ),
    "NFS_LINK_GONE": Explanation(
        meaning="The volume's NFS server runs in its namespace, and the link in which the service "
        "address lives is not there: its parent interface has gone, or somebody has deleted it.",
        risk="clients are not reached, or would not be after a promotion",
        next_steps=(
            "ip link show INTERFACE",
            "systemctl restart storage-agent-nfs@VOLUME (interrupts nobody: no client is reached)",
            "ip netns exec storage-agent-VOLUME ip link",
        ),
    ),
    "MARKER_NOT_WRITTEN": Explanation(
        meaning="The agent's marker on the volume could not be written when that was tried last: "
        "the filesystem is read-only, the file or its folder is immutable, or the disk refuses. A "
        "promotion writes its epoch there before it lets clients in.",
        risk="once this host has let go, or has died, no host could serve the volume",
        next_steps=(
            "lsattr MOUNT_POINT/.storage-agent",
            "findmnt MOUNT_POINT",
            "journalctl -k -n 50",
        ),
    ),
    "NO_ROOM_FOR_SERVER": Explanation(
        meaning="The filesystem is full, and the files that its NFS server needs were not made "
        "before it was: nfsdcld could not keep its clients' records.",
        risk="stopped now, the volume could be served neither here nor by the peer",
        next_steps=("df -h MOUNT_POINT; df -i MOUNT_POINT",
                    "remove files until what the finding names is free; the next start of the "
                    "server holds it for good"),
    ),
    "NEARLY_FULL": Explanation(
        meaning="The filesystem is running out of bytes or inodes.",
        risk="writes will fail when nothing is left",
        next_steps=("df -h MOUNT_POINT; df -i MOUNT_POINT",),
    ),
    "UNOBSERVED": Explanation(
        meaning="A part of the volume could not be looked at, and unknown means no.",
        next_steps=("storage-agent doctor", "dmesg | tail"),
    ),
}  # fmt: skip
