"""What codes mean that the command, the daemon and any operation give."""

from __future__ import annotations

from storage_agent.policy.explanation import Explanation

_READ_STATUS = "storage-agent status"
_DAEMON_LOG = "journalctl -u storage-agentd -n 50"

AGENT: dict[str, Explanation] = {
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
        next_steps=("see which codes stand now: storage-agent status",),
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
            "as root, without the daemon: storage-agent status; storage-agent doctor",
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
    "RESYNC_RUNS": Explanation(
        meaning="The command stopped watching before both copies were the same; DRBD goes on.",
        risk="until it has ended, nobody can take over",
        next_steps=("storage-agent status --watch",),
    ),
    "NOT_CONFIRMED": Explanation(
        meaning="What was asked can destroy data and was not confirmed; nothing was changed.",
        next_steps=("read the plan: storage-agent plan OPERATION VOLUME", "give --confirm"),
    ),
    "PLAN_CHANGED": Explanation(
        meaning="The plan that was confirmed is not the one that would run now: disks, "
        "configuration or options have changed since. Nothing was changed.",
        next_steps=("read the plan again with --dry-run", "confirm the new digest"),
    ),
    # Keys of coordinators.
    "BAD_KEY": Explanation(
        meaning="The file does not hold exactly one public key of a kind that is taken: ed25519, "
        "ECDSA, or RSA of 3072 bits and more, without options before it.",
        next_steps=("on the coordinator: ssh-keygen -t ed25519", "give the .pub file"),
    ),
    "PRIVATE_KEY": Explanation(
        meaning="The file holds a private key. Nothing was authorized.",
        risk="whoever reads a private key can move volumes with it",
        next_steps=("delete the file here", "make a new pair if it left the coordinator"),
    ),
    "WEAK_KEY": Explanation(
        meaning="The key is too short to be trusted with volumes.",
        next_steps=("on the coordinator: ssh-keygen -t ed25519",),
    ),
    "KEY_KNOWN": Explanation(
        meaning="The key is authorized already; it has one role and one line.",
        next_steps=("storage-agent authorize list", "storage-agent authorize revoke KEY-ID"),
    ),
    "UNKNOWN_KEY": Explanation(
        meaning="No key of this id is authorized.",
        next_steps=("storage-agent authorize list",),
    ),
    "FOREIGN_KEY_LINE": Explanation(
        meaning="The file of authorized keys has a line that storage-agent did not write. It lets "
        "nobody in, and neither do the keys that it names; all others go on as before.",
        risk="a coordinator that is not let in cannot answer a frozen primary",
        next_steps=(
            "storage-agent authorize list",
            "storage-agent authorize revoke damaged-lines",
            "storage-agent authorize --role ROLE KEYFILE",
        ),
    ),
    "KEY_FILE": Explanation(
        meaning="The file of authorized keys cannot be read or written, or others than root may "
        "write it. While it cannot be read nobody is let in: rights are not guessed.",
        next_steps=("ls -lL /etc/storage-agent/authorized_keys", "df -h /etc"),
    ),
    "UNSAFE_LOCK": Explanation(
        meaning="The file of a lock could be opened, and so held, by others than root.",
        next_steps=("remove that file: it is made anew",),
    ),
    "KEY_REVOKED": Explanation(
        meaning="sshd let the key in, but it is not, or not any more, authorized in this role.",
        next_steps=("on the storage host: storage-agent authorize list",),
    ),
    "INTERNAL": Explanation(
        meaning="storage-agent itself is at fault; what it was doing may be half done.",
        next_steps=(_READ_STATUS, _DAEMON_LOG, "report it with that log"),
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
}
