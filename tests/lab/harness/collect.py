"""What a failed scenario leaves behind: logs and kernel state of every guest, as files.

A guest that is dead, cut off or stuck costs its deadline and leaves a note instead.
"""

from __future__ import annotations

import contextlib
import re
import shutil
from pathlib import Path

from .errors import LabError
from .lab import Lab, in_parallel
from .ssh import Host

# File name -> command. Each has its own deadline: one that hangs must not hide the others.
LOOKS = {
    "journal.txt": "journalctl -b --no-pager -o short-precise",
    "agent.txt": "journalctl -b --no-pager -o short-precise -u 'storage-agent*'",
    "dmesg.txt": "dmesg",
    "drbd-events.txt": "drbdsetup events2 --now --statistics",
    "proc.txt": "head -n 100 /proc/drbd /proc/mdstat /proc/self/mountinfo /proc/meminfo",
    "network.txt": "ip -s address; ip route; ip neighbour; ss -tanp",
    "processes.txt": "ps -eo pid,ppid,stat,wchan:30,lstart,args",
    "units.txt": "systemctl list-units --all --no-pager",
    "disks.txt": "lsblk -o NAME,SERIAL,SIZE,TYPE,FSTYPE,MOUNTPOINTS,UUID",
}
LOOK_TIMEOUT_S = 20
CONNECT_TIMEOUT_S = 10

KERNEL_TROUBLE = re.compile(
    r"BUG:|Oops|general protection|hung_task|blocked for more than|Kernel panic|soft lockup"
)


def collect(lab: Lab, folder: Path) -> Path:
    """Fills `folder` with one folder per host and returns it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for console in lab.folder.glob("console-*.log"):
        shutil.copy(console, folder)
    if (lab.folder / "state.json").exists():
        shutil.copy(lab.folder / "state.json", folder)
    in_parallel(list(lab.hosts.values()), lambda host: _collect_host(host, folder / host.name))
    return folder


def _collect_host(host: Host, folder: Path) -> None:
    folder.mkdir()
    try:
        host.run("true", timeout_s=CONNECT_TIMEOUT_S)
    except (LabError, OSError) as error:
        (folder / "unreachable.txt").write_text(f"{error}\n")
        return
    for name, command in LOOKS.items():
        try:
            seen = host.run(command, timeout_s=LOOK_TIMEOUT_S, check=False)
            text = seen.stdout + seen.stderr
        except (LabError, OSError) as error:
            text = f"{error}\n"
        (folder / name).write_text(text)


def kernel_trouble(lab: Lab, *, timeout_s: float = 20) -> list[str]:
    """Lines that no kernel log may hold, `HOST: LINE`. Guests that cannot be asked are left out,
    but a panic shows on the console of a dead one.
    """
    found = []
    for host in lab.hosts.values():
        console = lab.folder / f"console-{host.name}.log"
        texts = [console.read_text(errors="replace")] if console.exists() else []
        if lab.is_on(host.name) and host.name not in lab.state().frozen:
            with contextlib.suppress(LabError):
                texts.append(host.run("dmesg", timeout_s=timeout_s).stdout)
        for line in "\n".join(texts).splitlines():
            if KERNEL_TROUBLE.search(line):
                found.append(f"{host.name}: {line.strip()}")
    return found
