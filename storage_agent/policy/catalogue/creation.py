"""Explanations of what `create` runs into, and of what it leaves when it is interrupted."""

from __future__ import annotations

from storage_agent.policy.explanation import Explanation

CREATION: dict[str, Explanation] = {
    "DRBD_TAKEN": Explanation(
        meaning="Another DRBD resource of this host, up or down, has the name, the minor, the port "
        "or the disk that the volume is configured with.",
        risk="two definitions that contradict each other make drbdadm refuse every resource",
        next_steps=("drbdadm dump", "storage-agent config check"),
    ),
    "PORT_TAKEN": Explanation(
        meaning="Something on this host listens at the port of the volume's replication.",
        next_steps=("ss -ltnp", "storage-agent config check"),
    ),
    "ARRAY_NAME_TAKEN": Explanation(
        meaning="The name below /dev/md at which the volume's array is to be is another array's.",
        next_steps=("ls -l /dev/md", "cat /etc/mdadm/mdadm.conf", "storage-agent config check"),
    ),
    "CREATION_UNFINISHED": Explanation(
        meaning="A create of this volume has begun on this host and was not brought to its end.",
        risk="what is half made must not come to hold data",
        next_steps=(
            "storage-agent create VOLUME --first (goes on; or --join, as it was begun)",
            "storage-agent create VOLUME --abandon (takes back what it made)",
        ),
    ),
    "CREATION_CHANGED": Explanation(
        meaning="What is there is not what the unfinished create has made, or not as it made it: a "
        "file, the array, or something that lies on it.",
        risk="going on with it or erasing it would take what somebody else did",
        next_steps=("look at what the message names", "storage-agent create VOLUME --abandon"),
    ),
    "CREATION_PARTIAL": Explanation(
        meaning="The unfinished create was ended while it wrote the array to its disks.",
        next_steps=("storage-agent create VOLUME --abandon",),
    ),
    "CREATION_OVERTAKEN": Explanation(
        meaning="The unfinished copy has met another one since, which may have gone on alone.",
        risk="declared the good one again, it would end what the other holds",
        next_steps=("let the two connect", "storage-agent create VOLUME --abandon"),
    ),
    "CREATION_TAKEN_UP": Explanation(
        meaning="The other host is taking its copy from the unfinished one.",
        next_steps=("storage-agent create VOLUME --first (goes on)",),
    ),
    "CREATION_HOLDS_DATA": Explanation(
        meaning="The filesystem of the unfinished volume has been used, and nobody else is seen to "
        "hold what is on it.",
        risk="it would be erased",
        next_steps=("storage-agent create VOLUME --first (goes on; or --join, as it was begun)",),
    ),
    "CREATION_DAMAGED": Explanation(
        meaning="What the agent has noted of an unfinished create cannot be read.",
        risk="what it made and what it found cannot be told apart, so nothing is erased",
        next_steps=("ls -l /var/lib/storage-agent", "lsblk -o NAME,SERIAL,FSTYPE"),
    ),
    "CREATION_FILES": Explanation(
        meaning="A file of create, or the note of it, could not be read or written.",
        next_steps=("df -h / /var/lib/storage-agent", "journalctl -k -n 50"),
    ),
    "NOTHING_TO_ABANDON": Explanation(
        meaning="No create of this volume is unfinished here; one that is made is never taken "
        "back by the agent.",
        next_steps=("storage-agent status VOLUME",),
    ),
    "HOST_ADDRESS": Explanation(
        meaning="No interface of this host has the replication address that it is configured with.",
        next_steps=("ip address", "storage-agent config check"),
    ),
    "ADDRESS_TAKEN": Explanation(
        meaning="A volume's service address is an address of the host itself.",
        risk="it could not move with the volume",
        next_steps=("ip address", "storage-agent config check"),
    ),
    "ADDRESS_OUTSIDE": Explanation(
        meaning="A volume's service address is not in the network of its interface.",
        risk="clients would not reach it",
        next_steps=("ip address", "storage-agent config check"),
    ),
    "ADDRESS_ANSWERS": Explanation(
        meaning="Another machine answers for the service address of a volume that is not made yet.",
        risk="two machines with one address: clients would reach the wrong one",
        next_steps=("ip neighbour", "storage-agent config check"),
    ),
    "SURROUNDINGS_UNSEEN": Explanation(
        meaning="What else there is on this host could not be looked at, so nothing is made.",
        risk="a volume that takes what another one has would end both",
        next_steps=("drbdadm sh-nop", "cat /proc/mdstat", "storage-agent doctor"),
    ),
}
