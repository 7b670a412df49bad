"""Explanations of what is decided about a volume's replica, and who may write."""

from __future__ import annotations

from storage_agent.policy.explanation import Explanation

_STATUS = "storage-agent status"
_WATCH = "storage-agent status --watch"
_DISKS = "lsblk -o NAME,SERIAL,SIZE,FSTYPE"

REPLICA: dict[str, Explanation] = {
    "COPY_GIVEN_UP": Explanation(
        meaning="In a split brain somebody has given this host's copy up, and the other host has "
        "not been told to keep its own: until then the two do not connect.",
        risk="there is one copy less, and nothing is resynced",
        next_steps=("on the other host: storage-agent split-brain VOLUME --keep",),
    ),
    "REPLICA_DOWN": Explanation(
        meaning="The DRBD resource is not configured in the kernel of this host. Where a "
        "coordinator arbitrates, the agent takes it down by itself once its disk is gone and the "
        "peer's data are older: connected, the peer would go on with those.",
        risk="nothing is replicated",
        next_steps=("storage-agent events", _DISKS, "storage-agent assemble VOLUME"),
    ),
    "METADATA_LOST": Explanation(
        meaning="The array runs, and what DRBD keeps at its end is not there: it was wiped, or the "
        "array was made anew. Nobody can say how this copy differs from the other host's.",
        risk="this host cannot take the volume over until all of it was copied again",
        next_steps=(
            "on the other host, is its copy UpToDate: storage-agent status VOLUME",
            "storage-agent create VOLUME --join --dry-run",
        ),
    ),
    "METADATA_PRESENT": Explanation(
        meaning="A copy was to be made anew for lack of DRBD's metadata, and they are not seen to "
        "be gone.",
        next_steps=("storage-agent assemble VOLUME", _STATUS),
    ),
    "COPY_REMADE": Explanation(
        meaning="What lies on this host's array is erased, and all of the other host's copy is "
        "copied here; only after that host was seen to have it.",
        risk="until the copy is whole there is no fallback",
        next_steps=(_WATCH,),
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
        next_steps=(
            "on the coordinator's machine: storage-coordinator watch",
            'or set arbitration = "none" in agent.toml on both hosts',
        ),
    ),
    "ARBITRATION_NOT_IN_FORCE": Explanation(
        meaning="What DRBD is told to do when the hosts lose each other is not what is configured: "
        "it keeps its options until it is told others, and its handlers are what its files say.",
        risk="the primary may write on alone beside one that was promoted, or stand still with "
        "nobody to ask",
        next_steps=(
            "storage-agent assemble VOLUME (on both hosts; it interrupts nothing)",
            "drbdsetup show --show-defaults VOLUME",
            "drbdadm dump VOLUME",
        ),
    ),
    "FREEZE_STILL_NEEDED": Explanation(
        meaning="DRBD would be told not to freeze any more, on a primary that has lost its peer.",
        risk="the peer may have been promoted because this host stands still",
        next_steps=("bring the link to the other host back, then: storage-agent assemble VOLUME",),
    ),
    "FREEZE_STILL_PROMISED": Explanation(
        meaning="DRBD would be told not to freeze any more, and the peer's agent does not say that "
        "it is configured so, too. A coordinator that cannot see this host goes by the peer.",
        risk="it may grant the peer while this host goes on alone: two hosts that write",
        next_steps=(
            "storage-agent pair-secret VOLUME",
            "the same agent.toml on both hosts, then: storage-agent assemble VOLUME",
        ),
    ),
    "REPLICA_UNREAD": Explanation(
        meaning="DRBD describes the resource with a word that this version of the agent does not "
        "know. The rest is shown; nothing is decided on it.",
        risk="the volume is neither moved nor taken over until it is known",
        next_steps=("drbdsetup status --verbose VOLUME", "storage-agent status VOLUME"),
    ),
    "REPLICA_NOT_A_PAIR": Explanation(
        meaning="The DRBD resource has a third host or a second volume. The agent knows a pair: of "
        "another copy it knows neither whether it is newer nor whether it is used.",
        risk="the volume is neither moved nor taken over by the agent",
        next_steps=(
            "drbdsetup status --verbose VOLUME",
            "take what is not the pair's out of the resource file, then: drbdadm adjust VOLUME",
        ),
    ),
    "REPLICA_ELSEWHERE": Explanation(
        meaning="DRBD works with another address or minor than the configuration says: such things "
        "it takes only anew.",
        risk="after a restart the hosts may not find each other",
        next_steps=("drbdsetup show VOLUME", "storage-agent config show"),
    ),
    "ARBITRATION_NEEDS_84": Explanation(
        meaning="A coordinator is configured, and the driver is DRBD 9: there the fence-peer "
        "handler asks drbdsetup for role and freeze, which was tried with what it has shown there "
        "while a handler ran, and not on a pair that fails over.",
        risk="should it fail, the primary freezes and nobody can answer it once the hosts lose "
        "each other",
        next_steps=(
            "modinfo -F version drbd",
            'use the driver of the kernel, or set arbitration = "none"',
        ),
    ),
    "INCIDENT_OPEN": Explanation(
        meaning="The primary lost its peer, has frozen all writes, and asks the coordinator.",
        risk="clients wait; nothing that was acknowledged is lost",
        next_steps=(
            "on the coordinator's machine: storage-coordinator status",
            "bring the link between the hosts back: it then goes on by itself",
        ),
    ),
    "INCIDENT_DENIED": Explanation(
        meaning="The coordinator has chosen the other host; this one stays frozen and shuts its "
        "clients out.",
        risk="writes that were never acknowledged are lost with the reboot; no others",
        next_steps=(
            "on this host: reboot --force --no-sync (it cannot be demoted: "
            "unmounting would hang, and so would a plain reboot)",
            "afterwards, the resync: storage-agent status --watch",
        ),
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
        next_steps=(
            "on the coordinator's machine: storage-coordinator failover VOLUME --to HOST",
            'or set arbitration = "none" in agent.toml on both hosts, then: '
            "storage-agent promote VOLUME --peer-is-off HOST",
        ),
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
        next_steps=(
            "keep the other host off until it has rejoined",
            "connected first, it would have been outdated in order",
        ),
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
        next_steps=(
            "on both hosts, and compare: storage-agent split-brain VOLUME",
            "copy what must be kept of the side that is given up",
            "there: storage-agent split-brain VOLUME --discard; on the other: "
            "storage-agent split-brain VOLUME --keep",
        ),
    ),
    "NO_SPLIT_BRAIN": Explanation(
        meaning="DRBD has not found a split brain here, so no copy has to be given up.",
        next_steps=("storage-agent rejoin VOLUME", _STATUS),
    ),
    "STILL_USED": Explanation(
        meaning="A copy can be discarded only where it is Secondary and not mounted.",
        next_steps=(
            "storage-agent demote VOLUME --yes-stop-serving HOST/VOLUME",
            "findmnt -S DEVICE",
        ),
    ),
    "PEER_NOT_PROVEN_OFF": Explanation(
        meaning="The other host is silent, and a silent host may still be serving.",
        risk="promoted beside it, two hosts would write",
        next_steps=(
            "power it off and make sure of it",
            "storage-agent promote VOLUME --peer-is-off HOST",
        ),
    ),
    "PEER_MAY_HAVE_WRITTEN": Explanation(
        meaning="Without a coordinator a primary that loses its peer goes on alone.",
        risk="writes it acknowledged alone are not in this copy, and promoting it gives them up",
        next_steps=(
            "find out whether it still served after the connection was lost",
            "if it did, bring it back instead of promoting here",
        ),
    ),
    "ATTACH_ALONE": Explanation(
        meaning="This host is Primary, has lost its own disk, and cannot reach the other copy.",
        risk="its own disk, taken back now, may lack what was written to the other copy alone",
        next_steps=(
            "bring the other host or the link back: DRBD then compares both copies",
            "storage-agent demote VOLUME --yes-stop-serving HOST/VOLUME",
        ),
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
    "OWN_COPY_OLD": Explanation(
        meaning="The host that serves the volume has a copy that DRBD does not call current, and "
        "is not connected to the other host, which may have newer data. DRBD refuses to connect "
        "a Primary to newer data.",
        risk="clients are served what may be old, and what they write now and what the other host "
        "has are two histories, of which one will be lost",
        next_steps=(
            "on this host: storage-agent demote VOLUME --yes-stop-serving HOST/VOLUME",
            "then: storage-agent rejoin VOLUME",
            "where status says that it can be: storage-agent promote VOLUME",
        ),
    ),
    "OWN_COPY_BEHIND": Explanation(
        meaning="The host that serves the volume is being resynced: what its own copy does not "
        "have yet it reads from the other host's, which holds everything.",
        risk="if the other host or the link fails, nobody serves the volume until it is back",
        next_steps=(
            _WATCH,
            "on the other host: storage-agent promote VOLUME --wait 60",
            "then on this one: storage-agent demote VOLUME",
        ),
    ),
}
