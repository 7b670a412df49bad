"""What every code means, what is at risk while it stands, and what to do: `storage-agent explain`.

A test holds that each code that the program uses is in here.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """One plain sentence each. risk: what one loses by waiting; empty where nothing is at risk.
    next_steps: what to type or check, in order."""

    meaning: str
    risk: str = ""
    next_steps: tuple[str, ...]


_READ_STATUS = "storage-agent status"
_DAEMON_LOG = "journalctl -u storage-agentd -n 50"

CATALOGUE: dict[str, Explanation] = {
    # The command and its connection to the daemon.
    "USAGE": Explanation(
        meaning="The command line is not one that storage-agent understands; nothing was done.",
        next_steps=("storage-agent --help", "storage-agent COMMAND --help"),
    ),
    "UNKNOWN_VOLUME": Explanation(
        meaning="No volume of this name is configured on this host.",
        next_steps=("storage-agent config show", _READ_STATUS),
    ),
    "UNKNOWN_CODE": Explanation(
        meaning="No finding or error has this code.",
        next_steps=("storage-agent status shows the codes that stand now",),
    ),
    "NOT_PERMITTED": Explanation(
        meaning="The caller may not do this: the daemon knows who asks by the socket's peer "
        "credentials, and changes are root's.",
        next_steps=("sudo storage-agent COMMAND", "ls -l /run/storage-agent/agent.sock"),
    ),
    "DAEMON_DOWN": Explanation(
        meaning="storage-agentd does not run, so nothing can be changed and nobody watches.",
        risk="a volume that is served goes on being served, but nobody notices what breaks",
        next_steps=(
            "systemctl start storage-agent.socket",
            "systemctl status storage-agentd",
            _DAEMON_LOG,
            "storage-agent status and doctor still look by themselves, as root",
        ),
    ),
    "DAEMON_SILENT": Explanation(
        meaning="storage-agentd is there but did not answer in time.",
        risk="what it was asked to do may or may not have happened",
        next_steps=("systemctl status storage-agentd", _DAEMON_LOG, _READ_STATUS),
    ),
    "PROTOCOL": Explanation(
        meaning="Command and daemon do not understand each other: they are of two versions.",
        next_steps=(
            "storage-agent --version",
            "systemctl restart storage-agentd (volumes go on being served)",
        ),
    ),
    "INTERRUPTED": Explanation(
        meaning="The command was interrupted; an operation that had begun goes on in the daemon.",
        next_steps=("storage-agent operation", _READ_STATUS),
    ),
    "NOT_CONFIRMED": Explanation(
        meaning="What was asked can destroy data and was not confirmed; nothing was changed.",
        next_steps=("read the plan: storage-agent plan OPERATION VOLUME", "give --confirm"),
    ),
    "PLAN_CHANGED": Explanation(
        meaning="The plan that was confirmed is not the one that would run now: disks, "
        "configuration or options have changed since. Nothing was changed.",
        next_steps=("storage-agent plan create VOLUME --first|--join", "confirm the new digest"),
    ),
    # Any operation.
    "FAILED": Explanation(
        meaning="An operation or a look did not reach its goal; the message names the state.",
        next_steps=(_READ_STATUS, "storage-agent operation ID", _DAEMON_LOG),
    ),
    "REFUSED": Explanation(
        meaning="A safety guard said no and nothing was changed; its findings say why.",
        next_steps=("read the findings", "storage-agent plan OPERATION VOLUME"),
    ),
    "BUSY": Explanation(
        meaning="Another operation holds the volume.",
        next_steps=("storage-agent operation", "wait for it, then try again"),
    ),
    "OUTCOME_UNKNOWN": Explanation(
        meaning="Something was started and its end was not seen: it may have happened.",
        risk="doing it again without looking may undo or repeat it",
        next_steps=("storage-agent operation ID", _READ_STATUS),
    ),
    "COMMAND_TIMEOUT": Explanation(
        meaning="A host tool did not end within its time and was ended.",
        risk="what it was doing may be half done",
        next_steps=(_READ_STATUS, "journalctl -k -n 50"),
    ),
    "COMMAND_STUCK": Explanation(
        meaning="A host tool does not even die of SIGKILL: it waits for I/O that does not return "
        "(a frozen replica, a dead disk).",
        risk="whatever else touches that device will hang too",
        next_steps=(_READ_STATUS, "cat /proc/PID/stack", "journalctl -k -n 50"),
    ),
    "COMMAND_FAILED": Explanation(
        meaning="A host tool ended with an exit status that means failure.",
        next_steps=("run the command by hand to see its whole output", _READ_STATUS),
    ),
    "MISSING": Explanation(
        meaning="A tool, a kernel module or a device is not there.",
        next_steps=("storage-agent doctor",),
    ),
    "CONFIGURATION": Explanation(
        meaning="The configuration is wrong; the message names file, line and key.",
        risk="the daemon goes on with what it read last, and does not start anew",
        next_steps=("storage-agent config check", "storage-agent config show --origin"),
    ),
    "PARSE": Explanation(
        meaning="A host tool printed something that storage-agent does not understand, so what it "
        "shows is unknown, and unknown means no.",
        next_steps=("run the tool by hand", "storage-agent doctor", "report its output"),
    ),
    "STATE_FOLDER": Explanation(
        meaning="storage-agent's own state in /var/lib/storage-agent cannot be read or written.",
        risk="no operation can be journalled, so none is begun",
        next_steps=("df -h /var/lib/storage-agent", "ls -ld /var/lib/storage-agent"),
    ),
    # doctor
    "PACKAGES_MISSING": Explanation(
        meaning="Programs that operations need are not installed.",
        risk="an operation would stop half-way and be rolled back",
        next_steps=("apt install what doctor names",),
    ),
    "MODULE_MISSING": Explanation(
        meaning="The running kernel has no such module, loaded or to be loaded.",
        risk="volumes that need it cannot be brought up on this host",
        next_steps=(
            "apt install linux-image-amd64, and reboot into it",
            "ls /lib/modules/$(uname -r) (an upgraded but not rebooted kernel has lost its own)",
        ),
    ),
    "DRBD_VERSION": Explanation(
        meaning="The DRBD driver is of a generation that storage-agent does not know (8.4 and 9 "
        "are), or does not say which one it is.",
        risk="what it reports may be misread",
        next_steps=("cat /sys/module/drbd/version", "modinfo drbd"),
    ),
    "DRBD_SERVICE": Explanation(
        meaning="drbd.service is enabled and not tamed: at boot it brings up every resource and "
        "waits for the peers, by default for ever.",
        risk="this host may hang at boot while its peer is down",
        next_steps=(
            "systemctl disable drbd.service",
            "or restore the drop-in: apt install --reinstall storage-agent",
        ),
    ),
    "HOST_EXPORT": Explanation(
        meaning="The host's own NFS server exports (part of) a volume's mount point. Each volume "
        "has a server of its own; this one is not moved, not stopped and not proven with it.",
        risk="an empty directory is exported where the volume is not mounted, and the volume "
        "cannot be unmounted where it is",
        next_steps=("remove the line that doctor names", "exportfs -ra"),
    ),
    "FSTAB_VOLUME": Explanation(
        meaning="/etc/fstab mounts something that the agent mounts, or a DRBD device, at boot.",
        risk="boot stops in emergency mode while the device is secondary or missing",
        next_steps=("remove the line, or add the option noauto", "systemctl daemon-reload"),
    ),
    "MD_AUTO_ASSEMBLY": Explanation(
        meaning="mdadm's own boot-time and hot-plug assembly is not switched off for an array of "
        "ours.",
        risk="udev assembles whatever is attached, and after 30 s starts it degraded",
        next_steps=(
            "add the ARRAY <ignore> line that doctor names",
            "update-initramfs -u",
        ),
    ),
    "CLUSTER_MANAGER": Explanation(
        meaning="A cluster manager runs on this host. Two managers of one volume undo each "
        "other's decisions.",
        risk="it may promote, mount or fence while storage-agent moves a volume",
        next_steps=(
            "if it manages the same DRBD resources: use it, and storage-agent only to look "
            "(status, doctor)",
            "else keep it away from storage-agent's resources",
        ),
    ),
    "CLOCK": Explanation(
        meaning="The clock is not synchronised. Nothing is decided by it, but logs and events of "
        "the two hosts cannot be compared.",
        next_steps=("timedatectl", "apt install systemd-timesyncd"),
    ),
    "DOCTOR_STATE_FOLDER": Explanation(
        meaning="/var/lib/storage-agent, which holds journal and epochs, is missing, not root's, "
        "not writable, nearly full, or lies on a replicated volume.",
        risk="operations are refused; on a replicated volume the state would move away with it",
        next_steps=("df -h /var/lib/storage-agent", "systemd-tmpfiles --create"),
    ),
    "NOT_CONFIGURED": Explanation(
        meaning="There is no configuration yet, so the daemon does not start.",
        next_steps=(
            "write /etc/storage-agent/agent.toml, the same on both hosts",
            "storage-agent config check",
            "systemctl start storage-agent.socket",
        ),
    ),
    "REPLICA_UNSAFE": Explanation(
        meaning="A DRBD option that guards against two sets of data is not set as it must be.",
        risk="a split brain may be resolved by throwing away acknowledged writes, or a stale "
        "copy may become primary",
        next_steps=("drbdadm dump VOLUME", "set it as doctor says, then: drbdadm adjust VOLUME"),
    ),
    "REPLICA_TIMEOUT": Explanation(
        meaning="A DRBD time-out is not set or far from what is proposed.",
        risk="a dead peer is noticed late, or boot waits for it without end",
        next_steps=("drbdadm dump VOLUME", "set it as doctor says, then: drbdadm adjust VOLUME"),
    ),
    "HOST_NAME": Explanation(
        meaning="The host's name has a domain in it. DRBD's configuration is matched against it "
        "as a whole, so `on alpha` is not found on `alpha.example.org`.",
        risk="drbdadm refuses every command on this host",
        next_steps=("hostnamectl hostname SHORTNAME",),
    ),
    "NOT_CHECKED": Explanation(
        meaning="doctor could not look at this, so it may be fine or not.",
        next_steps=("run it as root: sudo storage-agent doctor",),
    ),
}
