"""What refusals of the kernel and its tools mean: DRBD's state changes, and mount points."""

from __future__ import annotations

from storage_agent.policy.explanation import Explanation

KERNEL: dict[str, Explanation] = {
    "DRBD_NO_RESOURCE_FILE": Explanation(
        meaning="drbdadm finds no resource of this name for this host.",
        next_steps=("ls /etc/drbd.d", "hostname (must be one of the resource's hosts)"),
    ),
    "DRBD_NO_ADDRESS": Explanation(
        meaning="This host does not have the address that its resource is defined with. After a "
        "boot the agent waits two minutes for it.",
        next_steps=(
            "ip -brief address",
            "storage-agent config show",
            "storage-agent assemble VOLUME",
        ),
    ),
    "DRBD_NOT_UP": Explanation(
        meaning="The resource is not configured in the kernel.",
        next_steps=("storage-agent assemble VOLUME",),
    ),
    "DRBD_ALREADY_UP": Explanation(
        meaning="The kernel uses this address, minor or disk for a resource already.",
        next_steps=("drbdsetup show", "storage-agent config show"),
    ),
    "DRBDADM_GAVE_UP": Explanation(
        meaning="drbdadm waits 5 s for the kernel, which goes on with what it was asked.",
        next_steps=("storage-agent status", "drbdadm status VOLUME"),
    ),
    "DRBD_BUSY": Explanation(
        meaning="Another change of the resource's state is under way.",
        next_steps=("try again in a moment", "drbdadm status VOLUME"),
    ),
    "DRBD_DISK": Explanation(
        meaning="DRBD cannot use its lower disk, the array.",
        next_steps=("cat /proc/mdstat", "journalctl -k -n 50"),
    ),
    "DRBD_DISK_TOO_SMALL": Explanation(
        meaning="This host's array is smaller than the replica.",
        risk="this host cannot hold the volume",
        next_steps=("compare on both hosts: cat /sys/block/md*/size",),
    ),
    "DRBD_NO_METADATA": Explanation(
        meaning="The array carries no DRBD metadata: it is a new one, or the wrong one.",
        risk="writing metadata on the wrong array destroys what is at its end",
        next_steps=(
            "storage-agent status VOLUME",
            "storage-agent create VOLUME --join (takes all of the other host's copy)",
        ),
    ),
    "DRBD_METADATA_EXISTS": Explanation(
        meaning="The array carries DRBD metadata already; it is not overwritten.",
        risk="the copy that it belongs to would be lost",
        next_steps=("drbdadm dump-md VOLUME",),
    ),
    "DRBD_DATA_FOUND": Explanation(
        meaning="Where DRBD's metadata would be written there is something already.",
        risk="it would be overwritten",
        next_steps=("wipefs --no-act /dev/md/VOLUME",),
    ),
    "DRBD_HELD_OPEN": Explanation(
        meaning="Somebody keeps the DRBD device open, so the volume cannot be given up.",
        next_steps=("fuser -vm DEVICE", "ls /sys/block/drbdN/holders", "multipath -l"),
    ),
    "DRBD_PEER_PRIMARY": Explanation(
        meaning="The kernel refused a second primary: the peer is Primary.",
        next_steps=("on the other host: storage-agent demote VOLUME",),
    ),
    "DRBD_NO_UPTODATE_DATA": Explanation(
        meaning="The kernel has no access to up-to-date data, neither here nor at the peer.",
        risk="promoting by force would lose writes",
        next_steps=("connect the host that has it", "storage-agent status --watch"),
    ),
    "DRBD_FENCING_REFUSED": Explanation(
        meaning="The kernel asked the fence-peer handler whether the peer is outdated, and it did "
        "not say so.",
        risk="the peer may still be writing",
        next_steps=(
            "connect the peer",
            "or power it off, then: storage-agent promote VOLUME --peer-is-off HOST",
        ),
    ),
    "DRBD_PEER_REFUSED": Explanation(
        meaning="The peer's kernel refused the change.",
        next_steps=("on the other host: journalctl -k -g drbd",),
    ),
    "DRBD_NO_QUORUM": Explanation(
        meaning="Too few hosts are visible for the resource's quorum.",
        next_steps=("drbdadm status VOLUME", "connect the peer"),
    ),
    "MOUNT_POINT_NOT_EMPTY": Explanation(
        meaning="There are files in the mount point that the mount would hide.",
        risk="somebody wrote there while the volume was not mounted, and will miss these files",
        next_steps=("ls -la MOUNT_POINT", "move them away"),
    ),
    "MOUNT_POINT_OCCUPIED": Explanation(
        meaning="Something else is mounted on the mount point.",
        next_steps=(
            "findmnt MOUNT_POINT",
            "see who uses it: findmnt MOUNT_POINT; fuser -vm MOUNT_POINT",
            "choose another mount point",
        ),
    ),
    "MOUNT_POINT_UNSAFE": Explanation(
        meaning="The mount point is a link, no directory, or others than root may change its path.",
        risk="somebody could put another directory in its place",
        next_steps=("namei -l MOUNT_POINT", "chown root and chmod go-w on each part"),
    ),
}
