"""Situations that scenarios start from, made the way an admin makes them: by the command.

Each is made once a session and kept as a snapshot of all guests (conftest.lab_stage).
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from tests.lab import coordination
from tests.lab.harness.lab import Lab
from tests.lab.harness.ssh import Host

HOSTS = ("alpha", "beta")
# With the boot of a guest before it, which takes minutes where the machine does other work too.
SYNC_TIMEOUT_S = 420
OPERATION_TIMEOUT_S = 420
ADDRESSES = {"data": "10.9.0.10", "logs": "10.9.0.11"}

_HEAD = """
[hosts.alpha]
address = "10.8.0.1"
[hosts.beta]
address = "10.8.0.2"
"""

_VOLUME = """
[volumes.{name}]
mount_point = "/srv/{name}"
[volumes.{name}.array]
level = "{level}"
[volumes.{name}.array.disks]
alpha = {alpha}
beta = {beta}
[volumes.{name}.replica]
minor = {minor}
port = {port}
[volumes.{name}.filesystem]
type = "ext4"
[volumes.{name}.nfs]
address = "{address}/24"
interface = "eth2"
clients = ["10.9.0.0/24"]
options = ["rw", "sync", "no_root_squash"]
"""


def one_volume() -> str:
    """`data`: RAID10 of all four disks."""
    return _HEAD + _volume("data", "raid10", range(4), 0)


def two_volumes() -> str:
    """`data` and `logs`: RAID1 of two disks each."""
    return _HEAD + _volume("data", "raid1", range(2), 0) + _volume("logs", "raid1", range(2, 4), 1)


def _volume(name: str, level: str, disks: range, minor: int) -> str:
    serials = {host: json.dumps([f"{host}-{number}" for number in disks]) for host in HOSTS}
    return _VOLUME.format(
        name=name,
        level=level,
        minor=minor,
        port=7789 + minor,
        address=ADDRESSES[name],
        **serials,
    )


# --- what an admin types -------------------------------------------------------------------------


def configure(lab: Lab, text: str) -> None:
    """The same file on both hosts; a running daemon takes it up."""
    for name in HOSTS:
        host = lab.hosts[name]
        host.write_file("/etc/storage-agent/agent.toml", text)
        host.run("systemctl restart storage-agentd", timeout_s=60)


def agent(host: Host, *words: str, check: bool = True, timeout_s: float = 60) -> Any:
    """The data of `storage-agent WORDS --json`; with check=False also that of a refusal."""
    command = shlex.join(("storage-agent", *words, "--json"))
    done = host.run(command, timeout_s=timeout_s, check=check)
    return json.loads(done.stdout)["data"]


# One request on the daemon's socket, as the gateway carries a coordinator's.
_ASK = """
import json, socket, sys
link = socket.socket(socket.AF_UNIX)
link.connect("/run/storage-agent/agent.sock")
link.sendall(sys.stdin.buffer.read())
print(link.makefile().readline())
"""


def ask(host: Host, method: str, **parameters: Any) -> Any:
    """The whole JSON-RPC answer: `result` or `error`."""
    request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}
    line = json.dumps(request) + "\n"
    done = host.run(["python3", "-c", _ASK], stdin=line, timeout_s=60)
    return json.loads(done.stdout)


def operate(host: Host, verb: str, volume: str, *more: str, check: bool = True) -> Any:
    """Runs promote, demote or assemble and returns the operation's record."""
    return agent(host, verb, volume, *more, check=check, timeout_s=OPERATION_TIMEOUT_S)


def move(lab: Lab, volume: str, source: str, target: str) -> tuple[Any, Any]:
    """A planned move: the target is asked first and waits. Returns both hosts' records."""
    with ThreadPoolExecutor(1) as pool:
        # Not in the background of the guest: asking whether it has ended would slow it down.
        waiting = pool.submit(operate, lab.hosts[target], "promote", volume, "--wait", "120")
        lab.wait_until(
            f"{target} has prepared itself",
            lambda: is_waiting(lab.hosts[target], volume),
            timeout_s=OPERATION_TIMEOUT_S,
        )
        demoted = operate(lab.hosts[source], "demote", volume)
        return demoted, waiting.result(OPERATION_TIMEOUT_S)


def is_waiting(host: Host, volume: str) -> bool:
    """A promotion of the volume waits for the other host."""
    return any(
        operation["request"]["volume"] == volume
        and operation["steps"]
        and operation["steps"][-1]["kind"] == "wait-for-peer"
        for operation in agent(host, "status")["operations"]
    )


def create(host: Host, volume: str, how: str) -> None:
    """how: `--first` or `--join`."""
    plan = agent(host, "create", volume, how, "--dry-run")
    operate(host, "create", volume, how, "--confirm", plan["digest"])


# --- what can be seen ----------------------------------------------------------------------------


def status(host: Host, volume: str) -> Any:
    """The volume's part of `storage-agent status --json`."""
    return agent(host, "status")["snapshot"]["volumes"][volume]


def proc_drbd(host: Host) -> str:
    return host.run("cat /proc/drbd", timeout_s=20).stdout


def is_in_sync(host: Host, minor: int = 0) -> bool:
    """By the kernel's own word, not by the agent's."""
    for line in proc_drbd(host).splitlines():
        if line.strip().startswith(f"{minor}:"):
            return "cs:Connected" in line and "ds:UpToDate/UpToDate" in line
    return False


def role(host: Host, minor: int = 0) -> str:
    """`Primary`, `Secondary` or `` where the device is not configured, by /proc/drbd."""
    for line in proc_drbd(host).splitlines():
        if line.strip().startswith(f"{minor}:") and "ro:" in line:
            return line.split("ro:")[1].split("/")[0]
    return ""


def is_mounted(host: Host, volume: str) -> bool:
    done = host.run(f"findmnt -n /srv/{volume}", timeout_s=20, check=False)
    return done.exit_status == 0


def is_at_rest(host: Host) -> bool:
    """No operation runs: the one that assembles at boot has ended."""
    return bool(agent(host, "status")["operations"] == [])


# --- situations ----------------------------------------------------------------------------------


def created(lab: Lab, text: str, volumes: tuple[str, ...]) -> None:
    """Volumes exist on both hosts, in sync, secondary everywhere."""
    configure(lab, text)
    for volume in volumes:
        create(lab.hosts["alpha"], volume, "--first")
        create(lab.hosts["beta"], volume, "--join")
    lab.wait_until(
        "in sync",
        lambda: all(is_in_sync(lab.hosts["alpha"], minor) for minor in range(len(volumes))),
        timeout_s=SYNC_TIMEOUT_S * len(volumes),
    )
    for name in HOSTS:
        for volume in volumes:
            wait_for_evidence(lab, name, volume)


def wait_for_evidence(lab: Lab, name: str, volume: str) -> None:
    """Until that host's copy could be promoted if the other host died (policy/evidence.py)."""

    def is_proven() -> bool:
        return bool(status(lab.hosts[name], volume)["attachment"]["in_sync_until_loss"])

    lab.wait_until(f"{name} has long been in sync", is_proven, timeout_s=SYNC_TIMEOUT_S)


def assert_same_data(lab: Lab, minor: int = 0) -> None:
    """I18: in sync, the two copies below DRBD are the same, byte for byte. Whoever serves it lets
    go first, so that nothing changes while they are read."""
    for name in HOSTS:
        if role(lab.hosts[name], minor) == "Primary":
            operate(lab.hosts[name], "demote", "data")
    size_bytes = 512 * int(lab.hosts["alpha"].read_file(f"/sys/block/drbd{minor}/size"))
    # Past the page cache, which knows nothing of what DRBD writes.
    line = (
        f"dd if=/dev/md/data iflag=direct,count_bytes count={size_bytes} bs=1M status=none"
        " | sha256sum"
    )
    sums = {name: lab.hosts[name].run(line, timeout_s=120).stdout for name in HOSTS}
    assert len(set(sums.values())) == 1, sums


def data_in_sync(lab: Lab) -> None:
    created(lab, one_volume(), ("data",))


def data_on_volatile_disks(lab: Lab, *, size_mib: int = 96) -> None:
    """`data` in sync, on disks that lose what was not flushed when their host's power is cut.
    No snapshot can hold such disks: each scenario makes it for itself."""
    numbers = range(4, 6)
    for host in HOSTS:
        for number in numbers:
            lab.add_volatile_disk(host, f"{host}-{number}", size_mib=size_mib)
        lab.hosts[host].run("udevadm settle", timeout_s=60)
    created(lab, _HEAD + _volume("data", "raid1", numbers, 0), ("data",))


def arbitrated_serving_on_alpha(lab: Lab) -> None:
    """`data` with a coordinator to arbitrate it; none runs, the scenario speaks for it."""
    text = one_volume().replace("mount_point", 'arbitration = "coordinator"\nmount_point')
    created(lab, text, ("data",))
    operate(lab.hosts["alpha"], "promote", "data")


def data_serving_on_alpha(lab: Lab) -> None:
    """From data-in-sync."""
    operate(lab.hosts["alpha"], "promote", "data")


def mirror_serving_on_alpha(lab: Lab) -> None:
    """`data` on RAID1 of two disks; each host has two blank ones left."""
    created(lab, _HEAD + _volume("data", "raid1", range(2), 0), ("data",))
    operate(lab.hosts["alpha"], "promote", "data")


def few_inodes_serving_on_alpha(lab: Lab) -> None:
    """`data` on a filesystem with some hundred inodes."""
    for name in HOSTS:
        lab.hosts[name].run("sed -i 's/inode_ratio = .*/inode_ratio = 524288/' /etc/mke2fs.conf")
    created(lab, _HEAD + _volume("data", "raid1", range(2), 0), ("data",))
    operate(lab.hosts["alpha"], "promote", "data")


def two_serving_apart(lab: Lab) -> None:
    """`data` on alpha, `logs` on beta."""
    created(lab, two_volumes(), ("data", "logs"))
    operate(lab.hosts["alpha"], "promote", "data")
    operate(lab.hosts["beta"], "promote", "logs")


@dataclass(frozen=True, slots=True)
class Situation:
    """base: the situation it goes on from; None: hosts with nothing but the package."""

    base: str | None
    build: Callable[[Lab], None]


SITUATIONS = {
    "data-in-sync": Situation(None, data_in_sync),
    "data-serving-on-alpha": Situation("data-in-sync", data_serving_on_alpha),
    "mirror-serving-on-alpha": Situation(None, mirror_serving_on_alpha),
    "few-inodes-serving-on-alpha": Situation(None, few_inodes_serving_on_alpha),
    "two-serving-apart": Situation(None, two_serving_apart),
    "arbitrated-serving-on-alpha": Situation(None, arbitrated_serving_on_alpha),
    "coordinated-by-hand": Situation("data-serving-on-alpha", coordination.by_hand),
    "arbitrated-by-hand": Situation("arbitrated-serving-on-alpha", coordination.by_hand),
    "coordinated-by-itself": Situation("arbitrated-serving-on-alpha", coordination.by_itself),
}
