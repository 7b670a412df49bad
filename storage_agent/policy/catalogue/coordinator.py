"""What codes mean that storage-coordinator gives, on the control machine."""

from __future__ import annotations

from storage_agent.policy.explanation import Explanation

_STATUS = "storage-coordinator status"
_PING = "storage-coordinator ping HOST"
_ADOPT = "storage-coordinator adopt VOLUME"
_GO_LIVE = "storage-coordinator go-live VOLUME"

COORDINATOR: dict[str, Explanation] = {
    # Reaching the hosts.
    "HOST_UNREACHABLE": Explanation(
        meaning="There is no SSH connection to the host: it is down, or the network, sshd or the "
        "gateway does not answer.",
        risk="what happens there is not seen; a primary that is frozen there stays so",
        next_steps=(_PING, "look at the host's power and console"),
    ),
    "HOST_SSH_ALGORITHMS": Explanation(
        meaning="The host's sshd was hardened to algorithms of which this machine's paramiko has "
        "none; what it may use is a list of its own, without CBC, SHA-1 and the like.",
        risk="what happens there is not seen; a primary that is frozen there stays so",
        next_steps=(
            "on the host: storage-agent doctor",
            "on the host: sshd -T | grep -iE '^(ciphers|macs|kexalgorithms)'",
            _PING,
        ),
    ),
    "HOST_DISCONNECTED": Explanation(
        meaning="The connection to the host ended before the answer came; what was asked may or "
        "may not have happened.",
        next_steps=(_STATUS, "on the host: storage-agent operation"),
    ),
    "HOST_SILENT": Explanation(
        meaning="The host is connected and did not answer in time.",
        next_steps=("on the host: systemctl status storage-agentd", _STATUS),
    ),
    "HOOKS_MISSING": Explanation(
        meaning="The folder of the site's hooks is not there, and there were some, or it is named "
        "in the configuration: one of them could be against the move.",
        risk="nothing is moved, also not by itself, before it is there again",
        next_steps=("put the folder back", "if no hook is wanted any more: mkdir -m 755 FOLDER"),
    ),
    "HOST_BABBLES": Explanation(
        meaning="The connection was ended because of what the host has sent: no JSON, a number or "
        "a text out of all bounds, or news without an end. Nothing of it was believed.",
        risk="what happens there is not seen; other hosts are served",
        next_steps=(
            "on the host: systemctl status storage-agentd; storage-agent --version",
            "on the host, whether somebody has changed it: dpkg --verify storage-agent",
        ),
    ),
    "HOST_CODE_FOREIGN": Explanation(
        meaning="A host gave an error with a code that only this machine can give. It is the "
        "host's word: it refused, and it says nothing of this machine.",
        next_steps=("on the host: storage-agent --version; dpkg --verify storage-agent", _STATUS),
    ),
    "PARTLY": Explanation(
        meaning="Some of several volumes were served and others were not; each has a line that "
        "says what became of it.",
        next_steps=(_STATUS, "the same command with the volumes that are left"),
    ),
    "HOST_KEY_UNKNOWN": Explanation(
        meaning="No SSH host key of this host is pinned, and none is believed on first sight.",
        next_steps=(
            "on the host: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub",
            "storage-coordinator enroll HOST --fingerprint SHA256:…",
        ),
    ),
    "HOST_KEY_CHANGED": Explanation(
        meaning="The host shows another SSH key than the pinned one: it was installed anew, or "
        "somebody is in between.",
        risk="whoever answers could be told to promote, or hide that it did",
        next_steps=(
            "read the key on the host itself: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub",
            "only if it is right: storage-coordinator enroll HOST --replace --fingerprint …",
        ),
    ),
    "WRONG_HOST": Explanation(
        meaning="Another agent answers at this address than the configuration says.",
        next_steps=("correct the address in /etc/storage-coordinator/coordinator.toml",),
    ),
    "UNKNOWN_HOST": Explanation(
        meaning="No host of this name is in coordinator.toml.",
        next_steps=("storage-coordinator config check",),
    ),
    # Both hosts side by side.
    "VOLUME_MISSING": Explanation(
        meaning="A host of the pair does not have this volume configured.",
        next_steps=("on the host: storage-agent config show", "storage-coordinator config check"),
    ),
    "BOTH_PRIMARY": Explanation(
        meaning="Both hosts call themselves primary and neither is frozen.",
        risk="their data differs by now, and every minute makes it worse",
        next_steps=("stop the clients", "on both: storage-agent status, journalctl -k -g drbd"),
    ),
    "OLD_PRIMARY_FROZEN": Explanation(
        meaning="The volume was given to the other host; the old primary is frozen and still holds "
        "it, without writing.",
        risk="what it has not acknowledged is lost with the reboot; nothing else is",
        next_steps=(
            "on the old primary: reboot --force --no-sync (it cannot be demoted: "
            "unmounting would hang, and so would a plain reboot)",
            _STATUS,
        ),
    ),
    "NO_PRIMARY": Explanation(
        meaning="Both hosts are secondary: nobody serves the volume.",
        next_steps=("storage-coordinator switchover VOLUME --to HOST",),
    ),
    "VIEWS_DIFFER": Explanation(
        meaning="A host sees its peer in another role than the peer itself says.",
        next_steps=(_STATUS, "if it stays: on both hosts storage-agent events"),
    ),
    "DISK_VIEWS_DIFFER": Explanation(
        meaning="A host takes the other one's copy for something else than that one itself does: "
        "a primary that went on alone calls its peer's copy Outdated, which still looks UpToDate "
        "there.",
        risk="the copy that looks better than it is lacks what was written since",
        next_steps=(_STATUS, "believe the worse one; wait for the resync"),
    ),
    "EPOCHS_DIFFER": Explanation(
        meaning="One host has accepted a newer change of ownership than the other: it was the only "
        "one that had to, or the other one was not reached. The coordinator's service tells it as "
        "soon as both copies are in sync.",
        risk="until both know the newest epoch, an older word is still heard by one of them",
        next_steps=(_STATUS, _ADOPT),
    ),
    "ONE_WAY_LINK": Explanation(
        meaning="One host is connected to the other, which is not connected to it.",
        next_steps=(_STATUS, "look at the replication network between the hosts"),
    ),
    "CONFIG_DIFFERS": Explanation(
        meaning="The two hosts of the pair do not have the same configuration.",
        risk="the other host may not serve the volume as this one does",
        next_steps=("on both: storage-agent config show",),
    ),
    "VERSION_DIFFERS": Explanation(
        meaning="The two hosts of the pair do not run the same version of storage-agent.",
        risk="what one of them knows how to do, the other may not",
        next_steps=("install the newer one on both", _STATUS),
    ),
    # Going live.
    "UNSEALED": Explanation(
        meaning="A coordinator is in charge of this volume, and no go-live has proved the pair "
        "yet: capacity, sync, parity, and an export that a client has used.",
        risk="what was never tried may fail the first time it is needed",
        next_steps=(_GO_LIVE,),
    ),
    "SEAL_BROKEN": Explanation(
        meaning="The volume on this host is not what a go-live has proved: its disks, sizes, "
        "filesystem or configuration have changed since.",
        risk="what was proved may not be so any more",
        next_steps=("see what has changed, and whether it should have", _GO_LIVE),
    ),
    "SEAL_UNCHECKED": Explanation(
        meaning="Array or replica cannot be seen, so whether the volume is still what was sealed "
        "cannot be told.",
        next_steps=("storage-agent status VOLUME", "storage-agent doctor"),
    ),
    "SEAL_DIFFERS": Explanation(
        meaning="Between the coordinator's look and the seal something has changed on the host.",
        next_steps=(_GO_LIVE,),
    ),
    "CAPACITY_DIFFERS": Explanation(
        meaning="Array or replica have not the same number of sectors on both hosts.",
        risk="the smaller side cannot hold what the larger one can grow to",
        next_steps=("give the smaller side the same disks as its peer", _GO_LIVE),
    ),
    "GROWTH_DIFFERS": Explanation(
        meaning="Both sides are as large today, but the disks of one have room for a larger array.",
        risk="the volume can grow only as far as the smaller disks go",
        next_steps=("before it is to grow, give that side larger disks", _GO_LIVE),
    ),
    "GROWTH_UNKNOWN": Explanation(
        meaning="The room on the members of an array cannot be seen, because one is missing or the "
        "kernel does not show it.",
        risk="that the other side cannot follow is found out only when the volume grows",
        next_steps=("cat /proc/mdstat", "storage-agent status VOLUME", _GO_LIVE),
    ),
    "EXPORT_UNPROVEN": Explanation(
        meaning="A client could not mount the export, make a file and read it back, or what it "
        "wrote has not arrived on the volume.",
        risk="the users' machines may not be able to either",
        next_steps=(
            "is the client among the volume's `clients`: storage-agent config show",
            "on the client: mount -t nfs ADDRESS:PATH /mnt",
            _GO_LIVE,
        ),
    ),
    "NO_PROOF": Explanation(
        meaning="The file that a client has left on the export to prove it is not on the volume.",
        risk="the client has used another machine's export, or another folder",
        next_steps=(
            "on the client: ip neighbour show ADDRESS",
            "storage-agent status VOLUME",
            _GO_LIVE,
        ),
    ),
    # Moving and taking over.
    "BOTH_MUST_ANSWER": Explanation(
        meaning="A planned move and a takeover of the record need both hosts to answer.",
        next_steps=(_STATUS, "if one is dead: storage-coordinator failover VOLUME --to HOST"),
    ),
    "NOT_IN_SYNC": Explanation(
        meaning="The two copies were not seen in sync by both hosts.",
        next_steps=(_STATUS, "wait for the resync"),
    ),
    "MOVE_UNFINISHED": Explanation(
        meaning="A switchover or failover was begun and its end was not recorded: the coordinator "
        "was interrupted, or a host did not answer.",
        next_steps=(_STATUS, "the same command again goes on where it stopped"),
    ),
    "TARGET_UNKNOWN": Explanation(
        meaning="The host that should take over does not answer, or does not know the volume.",
        next_steps=(_PING,),
    ),
    "PEER_SERVES": Explanation(
        meaning="The other host is alive and serves the volume: it is moved, not replaced.",
        next_steps=("storage-coordinator switchover VOLUME --to HOST",),
    ),
    "PEER_CONNECTED": Explanation(
        meaning="The two copies are connected: the volume can be moved, nobody has to be replaced.",
        next_steps=("storage-coordinator switchover VOLUME --to HOST",),
    ),
    "PERSON_NEEDED": Explanation(
        meaning="Without a coordinator's arbitration nothing keeps the old primary from writing, "
        "and nobody has said that it is off: a fence agent can, or a person by its name.",
        next_steps=(
            "turn the old primary off and make sure of it",
            "storage-coordinator failover VOLUME --to HOST",
        ),
    ),
    "FENCING_FAILED": Explanation(
        meaning="It is not proven that the host is off, so nothing was promoted. It is proven "
        "where the fence agent's `off` exits with 0, and its `status` then writes `Status: OFF` "
        "and exits with 2; an agent that breaks, is silent or says anything else proves nothing.",
        next_steps=("look at the host's power", "storage-coordinator config check"),
    ),
    "FENCE_UNPROVEN": Explanation(
        meaning="The host answers, and its fence agent does not say that it is on: the agent does "
        "not work, or its options name another machine.",
        risk="a failover would not get its proof, or would turn the wrong machine off",
        next_steps=("storage-coordinator config check", "storage-coordinator preflight VOLUME"),
    ),
    "AUTOMATIC_OFF": Explanation(
        meaning="`automatic` is not set for this volume: a person decides.",
        next_steps=("storage-coordinator failover VOLUME --to HOST",),
    ),
    "AUTOMATIC_USED": Explanation(
        meaning="It has failed over by itself once; a second time wants a person to look first.",
        next_steps=(_STATUS, "storage-coordinator acknowledge VOLUME"),
    ),
    "COOLDOWN": Explanation(
        meaning="The volume changed hands too recently to be moved again without a person.",
        next_steps=("storage-coordinator failover VOLUME --to HOST",),
    ),
    "HOOK_REFUSED": Explanation(
        meaning="An executable in hooks.d did not exit 0 before the move, so nothing was changed.",
        next_steps=(
            "see what it says, and what it wants",
            "storage-coordinator switchover VOLUME --to HOST --dry-run",
        ),
    ),
    "HOOK_FAILED": Explanation(
        meaning="The volume has moved, and an executable in hooks.d failed after it.",
        risk="what only the site does (an address, a route, a pager) is not done",
        next_steps=("do by hand what it should have done", _STATUS),
    ),
    "HOOK_UNSAFE": Explanation(
        meaning="hooks.d or something in it can be changed by others than root, and it is called "
        "as root.",
        risk="whoever may write there is root on the control machine",
        next_steps=("ls -l /etc/storage-coordinator/hooks.d", "chown root, chmod go-w"),
    ),
    # The record.
    "NOT_ADOPTED": Explanation(
        meaning="This coordinator has no record of the volume, so it grants nothing for it.",
        next_steps=(_ADOPT,),
    ),
    "EPOCH_AHEAD": Explanation(
        meaning="A host has seen a newer epoch than this coordinator has given: another "
        "coordinator or an admin has acted, or the record was put back from a backup.",
        risk="a frozen primary is not answered by this coordinator",
        next_steps=(_STATUS, "make sure that no other coordinator is in charge", _ADOPT),
    ),
    "EPOCH_IMPLAUSIBLE": Explanation(
        meaning="A host, or the record, has an epoch that is nowhere near to what the others know. "
        "Epochs grow by one, so nobody can have given it; it is neither stored nor given on.",
        risk="no change of this volume is possible before it is mended; what is served goes on",
        next_steps=(
            _STATUS,
            "on the host that is far off, once it is known why: storage-agent events",
            "there, as root: mv /var/lib/storage-agent/epoch-VOLUME /root/ && storage-agent epoch "
            "restore VOLUME NUMBER (as status says)",
            "where the record itself is far off: storage-coordinator reset-epoch VOLUME",
        ),
    ),
    "NOTHING_TO_RESET": Explanation(
        meaning="The record's epoch can have been used, so there is nothing to go back from.",
        next_steps=(_STATUS,),
    ),
    "ADOPTION_UNFINISHED": Explanation(
        meaning="This coordinator began to take the volume over, and not both hosts have accepted "
        "that yet.",
        risk="nothing is granted until they have",
        next_steps=(_ADOPT, "if one host is dead: storage-coordinator trust-record VOLUME"),
    ),
    "RECORD_CHANGED": Explanation(
        meaning="While a move or a takeover was looked at, planned and announced, something else "
        "was decided of the same volume: an incident answered, an adoption, another command.",
        next_steps=(_STATUS, "the same command again, if it is still wanted"),
    ),
    "CONTINUE_WITHDRAWN": Explanation(
        meaning="The frozen primary was told to go on alone and has refused, for it has lost its "
        "own disk; nobody writes, and the other host may take over.",
        risk="the volume stays frozen until somebody acts",
        next_steps=("storage-coordinator failover VOLUME --to HOST", "or bring the link back"),
    ),
    "PEER_HAS_GRANT": Explanation(
        meaning="The other host was allowed to write alone, and both copies were not seen in sync "
        "since: this host's copy may miss acknowledged writes.",
        next_steps=("bring the other host back and wait for the resync", _STATUS),
    ),
    "STORE_UNPROVEN": Explanation(
        meaning="Since the last start of the control machine both agents have not confirmed the "
        "record, so it could be an old backup.",
        risk="nothing is granted until they have",
        next_steps=(_ADOPT, "if one host is dead: storage-coordinator trust-record VOLUME"),
    ),
    "STORE_FAILED": Explanation(
        meaning="The record cannot be read or written, and nothing is granted without it.",
        next_steps=("df -h /var/lib/storage-coordinator", "journalctl -k -n 50"),
    ),
    "STORE_BUSY": Explanation(
        meaning="Another process has been writing the record for ten seconds: a command that "
        "hangs, or somebody's sqlite3.",
        risk="nothing is granted until it lets go",
        next_steps=("fuser -v /var/lib/storage-coordinator/coordinator.sqlite",),
    ),
    "STORE_SCHEMA": Explanation(
        meaning="The record was written by a newer storage-coordinator.",
        next_steps=("install the newer version again",),
    ),
    "OWNER_UNCLEAR": Explanation(
        meaning="Who may have written last cannot be told from what the two hosts show.",
        next_steps=(_STATUS, "bring the copies in sync, then adopt again"),
    ),
}
