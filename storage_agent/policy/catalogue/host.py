"""Explanations of what host tools, the NFS server and the agent's own files can say."""

from __future__ import annotations

from storage_agent.policy.explanation import Explanation

_STATUS = "storage-agent status"
_KERNEL = "dmesg | tail"
_SERVER_LOG = "journalctl -u storage-agent-nfs@VOLUME -n 50"
_STATE_FOLDER = "ls -l /var/lib/storage-agent; df -h /var/lib/storage-agent"

HOST: dict[str, Explanation] = {
    # DRBD, block devices, mounts.
    "DRBD_MODULE": Explanation(
        meaning="The kernel module drbd is not loaded.",
        next_steps=("modprobe drbd", _KERNEL),
    ),
    "DRBD_CONFIGURATION": Explanation(
        meaning="The resource file under /etc/drbd.d could not be written.",
        next_steps=("ls -ld /etc/drbd.d; df -h /etc",),
    ),
    "NO_DEVICE": Explanation(
        meaning="The block device does not exist.",
        next_steps=("lsblk", _STATUS),
    ),
    "HAS_SIGNATURE": Explanation(
        meaning="The device carries something already, so no filesystem was made on it.",
        risk="making one would destroy it",
        next_steps=("blkid -p DEVICE", "wipefs --no-act DEVICE"),
    ),
    "AMBIVALENT_SIGNATURES": Explanation(
        meaning="The device carries the marks of more than one filesystem.",
        next_steps=("wipefs --no-act DEVICE",),
    ),
    "WRONG_FILESYSTEM": Explanation(
        meaning="The device carries another filesystem than the volume's.",
        risk="mounted and exported, clients would see other data",
        next_steps=("blkid DEVICE", "storage-agent config show"),
    ),
    "FILESYSTEM_TOO_LARGE": Explanation(
        meaning="The filesystem says that it is larger than the device that carries it here.",
        risk="it would not mount, or its end would be missing",
        next_steps=(_STATUS, "cat /proc/mdstat", "blockdev --getsize64 /dev/md/VOLUME"),
    ),
    "BUSY_MOUNT": Explanation(
        meaning="Something keeps the filesystem in use, so it stays mounted.",
        next_steps=("end what the message names", "fuser -vm MOUNT_POINT"),
    ),
    "MOUNT_FAILED": Explanation(
        meaning="The kernel refused to mount the filesystem.",
        next_steps=(_KERNEL, "nothing was repaired: look at it with fsck -n first"),
    ),
    "NO_MOUNTINFO": Explanation(
        meaning="The mount table of the host cannot be read.",
        next_steps=("cat /proc/1/mountinfo",),
    ),
    "NO_CAPACITY": Explanation(
        meaning="Free space could not be read.",
        next_steps=("df MOUNT_POINT",),
    ),
    "CALL_STUCK": Explanation(
        meaning="A look at a device or filesystem does not return: it waits for I/O.",
        next_steps=(_KERNEL, _STATUS),
    ),
    "NO_INTERFACE": Explanation(
        meaning="The configured network interface does not exist.",
        next_steps=("ip -brief link", "storage-agent config show"),
    ),
    "INTERFACE_DOWN": Explanation(
        meaning="The configured network interface is down.",
        next_steps=("ip link set INTERFACE up",),
    ),
    "NO_PROBE": Explanation(
        meaning="Whether somebody else answers for the service address could not be asked.",
        next_steps=("arping -D -c 2 -I INTERFACE ADDRESS",),
    ),
    "SERVICE_FAILED": Explanation(
        meaning="A systemd unit did not start or stop.",
        next_steps=("systemctl status UNIT", "journalctl -u UNIT -n 50"),
    ),
    "SERVICE_DOWN": Explanation(
        meaning="A unit that belongs to the volume does not run where the volume is served.",
        next_steps=("systemctl status UNIT",),
    ),
    # The volume's NFS server.
    "NOT_EXPORTED": Explanation(
        meaning="The volume is primary here, but its NFS server does not let clients in.",
        risk="clients wait",
        next_steps=("storage-agent promote VOLUME (completes it) or demote", _SERVER_LOG),
    ),
    "NFS_SERVER_ABSENT": Explanation(
        meaning="The process that holds the volume's NFS namespaces does not run.",
        next_steps=("systemctl start storage-agent-nfs@VOLUME", _SERVER_LOG),
    ),
    "NFS_SERVER_LOST": Explanation(
        meaning="The process of the volume's NFS server is gone, its nfsd may still run.",
        next_steps=(
            _SERVER_LOG,
            "move the volume away first, this interrupts its clients: systemctl restart "
            "storage-agent-nfs@VOLUME",
        ),
    ),
    "NFS_SERVER_ANSWER": Explanation(
        meaning="The volume's NFS server did not answer in time.",
        next_steps=(_SERVER_LOG, _STATUS),
    ),
    "NFS_NOT_PREPARED": Explanation(
        meaning="Nobody has told the NFS server what to serve.",
        next_steps=("storage-agent assemble VOLUME",),
    ),
    "NFS_NOT_STARTED": Explanation(
        meaning="nfsd does not run in the volume's namespaces yet.",
        next_steps=("storage-agent promote VOLUME",),
    ),
    "NFS_NOT_SERVING": Explanation(
        meaning="The link to clients is down, so the export cannot be proved.",
        next_steps=("storage-agent promote VOLUME",),
    ),
    "NFS_LINK": Explanation(
        meaning="The volume's network link could not be made.",
        next_steps=("ip -brief link", "storage-agent config show", _SERVER_LOG),
    ),
    "NFS_NO_CLIENT_TRACKING": Explanation(
        meaning="nfsd would not remember its clients across a move.",
        risk="clients would lose their locks",
        next_steps=(_SERVER_LOG, _KERNEL),
    ),
    "NFSDCLD_START": Explanation(
        meaning="nfsdcld, which remembers nfsd's clients on the volume, did not start.",
        risk="without it clients would lose their locks at the next move",
        next_steps=(_SERVER_LOG,),
    ),
    "NFSD_START": Explanation(
        meaning="nfsd or one of its helpers did not start.",
        next_steps=(_SERVER_LOG, _KERNEL),
    ),
    "NFS_IN_GRACE": Explanation(
        meaning="nfsd still waits for clients of the old server to come back.",
        next_steps=("it ends by itself, at the latest after nfsd's grace period", _STATUS),
    ),
    "NFS_NOT_PROVEN": Explanation(
        meaning="A file written through NFS could not be written or read back.",
        risk="clients would meet the same",
        next_steps=(_SERVER_LOG, _KERNEL),
    ),
    "NFS_RESTART_NEEDED": Explanation(
        meaning="The configuration of a running NFS server was changed in a part that it cannot "
        "take up while it runs.",
        next_steps=("demote the volume, then: systemctl restart storage-agent-nfs@VOLUME",),
    ),
    "VOLUME_FROZEN": Explanation(
        meaning="The volume does not answer: its I/O is frozen.",
        risk="clients wait",
        next_steps=(_STATUS, _KERNEL),
    ),
    # The agent's own files and limits.
    "EPOCH_MISSING": Explanation(
        meaning="The file that says how often the volume has changed hands is missing.",
        risk="a stale request could not be told from a new one, so nothing is changed",
        next_steps=(_STATE_FOLDER, "storage-agent epoch restore VOLUME NUMBER"),
    ),
    "EPOCH_DAMAGED": Explanation(
        meaning="The file that says how often the volume has changed hands is damaged, "
        "or was written by a newer version of the agent.",
        risk="a stale request could not be told from a new one, so nothing is changed",
        next_steps=(_STATE_FOLDER, "storage-agent epoch restore VOLUME NUMBER"),
    ),
    "MARKER_RECORD_DAMAGED": Explanation(
        meaning="The agent's note of the newest marker it has seen is damaged.",
        risk="a copy that has lost writes could be taken for a current one",
        next_steps=(_STATE_FOLDER, "storage-agent epoch restore VOLUME NUMBER"),
    ),
    "JOURNAL_DAMAGED": Explanation(
        meaning="The journal of an operation is not whole, has lost its end, or is another host's. "
        "It is set aside as damaged-ID, and nothing goes on with it.",
        risk="what that operation meant to do is not known; the volume itself can be looked at",
        next_steps=(_STATUS, "rm /var/lib/storage-agent/damaged-ID"),
    ),
    "JOURNAL_LOST": Explanation(
        meaning="The file that says which operations a volume has had on this host is missing, "
        "damaged, older than their journals, or another host's.",
        risk="what was done long ago could be done again, so nothing is changed",
        next_steps=(_STATE_FOLDER, "storage-agent epoch restore VOLUME NUMBER"),
    ),
    "OPERATION_LOST": Explanation(
        meaning="An operation was accepted, has no end, and its journal is gone.",
        risk="the volume may stand half-way",
        next_steps=(_STATUS, "ask for what is wanted: the next operation goes on from there"),
    ),
    "OPERATION_FORGOTTEN": Explanation(
        meaning="An operation of this id was accepted before, or could have been; its record is "
        "gone. It is not run again, and counts as one that may have been carried out.",
        next_steps=(_STATUS, "ask for it under a new id, if it is still wanted"),
    ),
    "GOAL_NOT_SEEN": Explanation(
        meaning="A command ended, but what it should have brought about was not seen.",
        next_steps=(_STATUS, _KERNEL),
    ),
    "IDENTITY_KNOWN": Explanation(
        meaning="The volume's identity file exists and says something else.",
        next_steps=("storage-agent config show --origin",),
    ),
    "BAD_IDENTITY": Explanation(
        meaning="A UUID for the volume's identity file has the wrong form.",
        next_steps=("storage-agent config show --origin",),
    ),
    "IDENTITY_NOT_WRITTEN": Explanation(
        meaning="The volume's identity file could not be written.",
        next_steps=("ls -ld /etc/storage-agent/agent.d; df -h /etc",),
    ),
    "UNKNOWN_OPERATION": Explanation(
        meaning="No operation of this id was ever accepted on this host.",
        next_steps=("storage-agent operation",),
    ),
    "ANSWER_TOO_LARGE": Explanation(
        meaning="The answer is larger than the protocol allows.",
        next_steps=("ask for less: one volume, a smaller --limit",),
    ),
    "TOO_MANY_CONNECTIONS": Explanation(
        meaning="More callers are connected to the agent than it serves at once.",
        next_steps=("end some: ss -xp | grep agent.sock",),
    ),
    "TOO_MANY_REQUESTS": Explanation(
        meaning="So many questions of one key wait to be answered that no more are taken.",
        next_steps=("wait for the answers that are under way",),
    ),
}
