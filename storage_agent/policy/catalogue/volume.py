"""Explanations of what is decided about a volume: array, replica, currency, epoch, mount."""

from __future__ import annotations

from storage_agent.policy.explanation import Explanation

_NO_NEWER = (
    "only if no host has a newer copy: storage-agent promote VOLUME --marker-lost HOST/VOLUME",
)
_STATUS = "storage-agent status"
_WATCH = "storage-agent status --watch"
_DISKS = "lsblk -o NAME,SERIAL,SIZE,FSTYPE"

VOLUME: dict[str, Explanation] = {
    # Disks and array.
    "ARRAY_NOT_CREATED": Explanation(
        meaning="The volume is configured, but its array was never made on this host.",
        next_steps=("storage-agent create VOLUME --first (on one host)",
                    "storage-agent create VOLUME --join (on the other, afterwards)"),
    ),
    "ARRAY_NOT_RUNNING": Explanation(
        meaning="The volume's array is not assembled here.",
        risk="this host cannot take the volume over",
        next_steps=("storage-agent assemble VOLUME",),
    ),
    "ARRAY_DEGRADED": Explanation(
        meaning="The array runs with at least one member missing or failed.",
        risk="one more failed disk can take this host's copy",
        next_steps=("cat /proc/mdstat", "replace the disk, then: mdadm /dev/md/VOLUME --add DISK"),
    ),
    "MEMBER_MISSING": Explanation(
        meaning="A disk that is configured by its serial number is not attached.",
        next_steps=(_DISKS, "attach it, then: storage-agent assemble VOLUME"),
    ),
    "MEMBER_BLANK": Explanation(
        meaning="A configured disk is attached but carries no md superblock.",
        risk="it may be the wrong disk, or one that was replaced",
        next_steps=(_DISKS, "mdadm --examine DISK"),
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
        next_steps=("mdadm --examine DISK...",
                    "start the array without it by hand, then mdadm --add it"),
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
        meaning="The volume exists on this host; create makes new ones only.",
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
    # Replica.
    "REPLICA_DOWN": Explanation(
        meaning="The DRBD resource is not configured in the kernel of this host. Where a "
        "coordinator arbitrates, the agent takes it down by itself once its disk is gone and the "
        "peer's data are older: connected, the peer would go on with those.",
        risk="nothing is replicated",
        next_steps=("storage-agent events", _DISKS, "storage-agent assemble VOLUME"),
    ),
    "REPLICA_SUSPENDED": Explanation(
        meaning="DRBD has frozen all writes of the volume until somebody decides.",
        risk="whoever writes waits; nothing acknowledged is lost",
        next_steps=(_STATUS, "storage-agent events"),
    ),
    # Arbitration by a coordinator.
    "COORDINATOR_NEEDED": Explanation(
        meaning="The volume's configuration leaves it to a coordinator who may write when the "
        "hosts lose each other.",
        risk="without one that watches, the volume stands still from then on",
        next_steps=("on the coordinator's machine: storage-coordinator watch",
                    'or set arbitration = "none" in agent.toml on both hosts'),
    ),
    "ARBITRATION_NOT_IN_FORCE": Explanation(
        meaning="What DRBD is told to do when the hosts lose each other is not what is configured: "
        "it keeps its options until it is told others, and its handlers are what its files say.",
        risk="the primary may write on alone beside one that was promoted, or stand still with "
        "nobody to ask",
        next_steps=("storage-agent assemble VOLUME (on both hosts; it interrupts nothing)",
                    "drbdsetup show --show-defaults VOLUME", "drbdadm dump VOLUME"),
    ),
    "FREEZE_STILL_NEEDED": Explanation(
        meaning="DRBD would be told not to freeze any more, on a primary that has lost its peer.",
        risk="the peer may have been promoted because this host stands still",
        next_steps=("bring the link to the other host back, then: storage-agent assemble VOLUME",),
    ),
    "REPLICA_ELSEWHERE": Explanation(
        meaning="DRBD works with another address or minor than the configuration says: such things "
        "it takes only anew.",
        risk="after a restart the hosts may not find each other",
        next_steps=("drbdsetup show VOLUME", "storage-agent config show"),
    ),
    "ARBITRATION_NEEDS_84": Explanation(
        meaning="A coordinator is configured, but with DRBD 9 the fence-peer handler cannot tell "
        "a frozen primary from a promoting secondary.",
        risk="when the hosts lose each other, the primary freezes and nobody can answer it",
        next_steps=("modinfo -F version drbd",
                    'use the driver of the kernel, or set arbitration = "none"'),
    ),
    "INCIDENT_OPEN": Explanation(
        meaning="The primary lost its peer, has frozen all writes, and asks the coordinator.",
        risk="clients wait; nothing that was acknowledged is lost",
        next_steps=("on the coordinator's machine: storage-coordinator status",
                    "bring the link between the hosts back: it then goes on by itself"),
    ),
    "INCIDENT_DENIED": Explanation(
        meaning="The coordinator has chosen the other host; this one stays frozen and shuts its "
        "clients out.",
        risk="writes that were never acknowledged are lost with the reboot; no others",
        next_steps=("on this host: reboot --force --no-sync (it cannot be demoted: "
                    "unmounting would hang, and so would a plain reboot)",
                    "afterwards, the resync: storage-agent status --watch"),
    ),
    "INCIDENT_UNKNOWN": Explanation(
        meaning="An answer names an incident that does not wait here: forged, old, or of another "
        "boot.",
        next_steps=(_STATUS, "journalctl -t storage-agent-fence-peer"),
    ),
    "INCIDENT_ANSWERED": Explanation(
        meaning="The incident has its answer, and another one was given.",
        risk="two answers mean two deciders: find out whether two coordinators run",
        next_steps=(_STATUS, "storage-agent events"),
    ),
    "INCIDENT_GONE": Explanation(
        meaning="The frozen host stopped asking while it was being answered: the peer came back, "
        "or it had waited nine minutes.",
        risk="whether the answer was heard is not known",
        next_steps=(_STATUS, "journalctl -t storage-agent-fence-peer"),
    ),
    "GRANT_NOT_USED": Explanation(
        meaning="A grant was sent for a volume that no coordinator arbitrates.",
        next_steps=("storage-agent config show", "the coordinator's configuration"),
    ),
    "PROMOTION_NOT_GRANTED": Explanation(
        meaning="The other host is silent, and only the coordinator can say that it does not "
        "write.",
        risk="promoted beside it, two hosts would write",
        next_steps=("on the coordinator's machine: storage-coordinator failover VOLUME --to HOST",
                    'or set arbitration = "none" in agent.toml on both hosts, then: '
                    "storage-agent promote VOLUME --peer-is-off HOST"),
    ),
    "DISK_NOT_UPTODATE": Explanation(
        meaning="This host's copy is known not to be the current data.",
        risk="promoted, it would serve old or torn data",
        next_steps=(_WATCH, "bring the other host back"),
    ),
    "PEER_IS_PRIMARY": Explanation(
        meaning="The other host serves the volume now.",
        next_steps=("on the other host: storage-agent demote VOLUME",),
    ),
    "PEER_ROLE_UNKNOWN": Explanation(
        meaning="The other host is connected, but its role is not known.",
        next_steps=(_STATUS, "drbdadm status VOLUME"),
    ),
    "PEER_NOT_IN_SYNC": Explanation(
        meaning="The other host is still receiving data from this one.",
        risk="if this host fails before the end, nobody can take over",
        next_steps=(_WATCH,),
    ),
    "PEER_DISKLESS": Explanation(
        meaning="The other host has lost its copy while it stays connected.",
        risk="if this host fails now, nobody can take over",
        next_steps=("on the other host: storage-agent status",),
    ),
    "OUT_OF_SYNC": Explanation(
        meaning="The copies differ although both call themselves current, or a comparison runs.",
        risk="the wrong copy could be served",
        next_steps=("drbdadm status VOLUME", "wait for a running verify or resync"),
    ),
    "STAND_ALONE": Explanation(
        meaning="DRBD has given up its connection and does not look for the other host.",
        risk="the copies drift apart while nothing is replicated",
        next_steps=("storage-agent rejoin VOLUME", "why: journalctl -k -g drbd"),
    ),
    "STANDING_ALONE": Explanation(
        meaning="The volume is served here without any second copy being kept.",
        risk="if this host fails, what was written since is gone or unreachable until it is back",
        next_steps=("make the other host well again", "storage-agent rejoin VOLUME"),
    ),
    "PEER_NOT_TOLD": Explanation(
        meaning="DRBD did not outdate the other host's copy, which so does not know that it gets "
        "old: it was not reached, or it was not in sync, or the agent did not see how they parted.",
        risk="a person who declares this host to be off could promote that old copy",
        next_steps=("keep the other host off until it has rejoined",
                    "connected first, it would have been outdated in order"),
    ),
    "COORDINATOR_NOT_ASKED": Explanation(
        meaning="The volume goes on alone by a local decision that the coordinator has no part in.",
        risk="it could still hold the other host for a fallback",
        next_steps=("tell whoever runs the coordinator", "storage-agent rejoin VOLUME, soon"),
    ),
    "NOT_PRIMARY": Explanation(
        meaning="Only the host that serves the volume can drop its peer and go on alone.",
        next_steps=(_STATUS, "run it on the other host"),
    ),
    "NO_REPLICA": Explanation(
        meaning="The volume is kept on one host only, so there is no peer to leave or rejoin.",
        next_steps=("storage-agent config show",),
    ),
    "SPLIT_BRAIN": Explanation(
        meaning="Both hosts wrote to their copies apart from each other; DRBD keeps them apart.",
        risk="one side's writes must be given up, and only a person can say which",
        next_steps=("on both hosts, and compare: storage-agent split-brain VOLUME",
                    "copy what must be kept of the side that is given up",
                    "there: storage-agent split-brain VOLUME --discard; on the other: "
                    "storage-agent split-brain VOLUME --keep"),
    ),
    "NO_SPLIT_BRAIN": Explanation(
        meaning="DRBD has not found a split brain here, so no copy has to be given up.",
        next_steps=("storage-agent rejoin VOLUME", _STATUS),
    ),
    "STILL_USED": Explanation(
        meaning="A copy can be discarded only where it is Secondary and not mounted.",
        next_steps=("storage-agent demote VOLUME --yes-stop-serving HOST/VOLUME",
                    "findmnt -S DEVICE"),
    ),
    "PEER_NOT_PROVEN_OFF": Explanation(
        meaning="The other host is silent, and a silent host may still be serving.",
        risk="promoted beside it, two hosts would write",
        next_steps=("power it off and make sure of it",
                    "storage-agent promote VOLUME --peer-is-off HOST"),
    ),
    "PEER_MAY_HAVE_WRITTEN": Explanation(
        meaning="Without a coordinator a primary that loses its peer goes on alone.",
        risk="writes it acknowledged alone are not in this copy, and promoting it gives them up",
        next_steps=("find out whether it still served after the connection was lost",
                    "if it did, bring it back instead of promoting here"),
    ),
    "ATTACH_ALONE": Explanation(
        meaning="This host is Primary, has lost its own disk, and cannot reach the other copy.",
        risk="its own disk, taken back now, may lack what was written to the other copy alone",
        next_steps=("bring the other host or the link back: DRBD then compares both copies",
                    "storage-agent demote VOLUME --yes-stop-serving HOST/VOLUME"),
    ),
    "JUST_IN_SYNC": Explanation(
        meaning="Both copies are in sync by this host's view, and not for long enough that the "
        "other host must know it too.",
        risk="if the other host died now, this copy could not be proven to be current",
        next_steps=("wait half a minute", _STATUS),
    ),
    "CURRENCY_UNPROVEN": Explanation(
        meaning="This copy was not seen in sync right up to the moment it lost its peer.",
        risk="promoted, it could miss writes that clients were told are safe",
        next_steps=("bring the other host back: DRBD then compares both copies", _STATUS),
    ),
    "NO_FALLBACK": Explanation(
        meaning="The volume is served, but the other host could not take it over.",
        risk="if this host fails, the data is unavailable until it is repaired",
        next_steps=("on the other host: storage-agent status", _WATCH),
    ),
    "OWN_DISK_LOST": Explanation(
        meaning="The host that serves the volume has lost its own disk. It reads and writes the "
        "other host's copy over the replication link, which holds everything.",
        risk="if the other host or the link fails, nobody serves the volume until it is back",
        next_steps=(
            "on the other host: storage-agent promote VOLUME --wait 60",
            "then on this one: storage-agent demote VOLUME",
            "once the array here is repaired: storage-agent assemble VOLUME",
        ),
    ),
    "OWN_COPY_BEHIND": Explanation(
        meaning="The host that serves the volume is being resynced: what its own copy does not "
        "have yet it reads from the other host's, which holds everything.",
        risk="if the other host or the link fails, nobody serves the volume until it is back",
        next_steps=(_WATCH, "on the other host: storage-agent promote VOLUME --wait 60",
                    "then on this one: storage-agent demote VOLUME"),
    ),
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
        next_steps=("findmnt -S DEVICE", "umount the other place"),
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
