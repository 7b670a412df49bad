"""What is done in the guests before they are recorded: names, packages, and calm."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from .deadline import Deadline
from .errors import LabError
from .lab import Lab, in_parallel
from .ssh import Host
from .topology import STORAGE_HOSTS

BOOT_TIMEOUT_S = 900
INSTALL_TIMEOUT_S = 600
SETTLE_TIMEOUT_S = 600
CALM_LOAD_TICKS = 20

Progress = Callable[[str], None]


def prepare_guests(lab: Lab, progress: Progress) -> None:
    """First boot: each guest gets its name on disk."""
    progress("base: booting three guests")
    began_s = time.monotonic()
    lab.boot(timeout_s=BOOT_TIMEOUT_S)
    progress(f"base: ssh on all hosts after {time.monotonic() - began_s:.0f} s")
    for host in lab.hosts.values():
        host.write_file("/etc/hostname", f"{host.name}\n")


def install_packages(lab: Lab, packages: Sequence[Path], progress: Progress) -> None:
    """As a user would: apt install ./NAME.deb, on both storage hosts, without a network."""
    names = ", ".join(package.name for package in packages)
    progress(f"ready: apt install {names} on {' and '.join(STORAGE_HOSTS)}")
    hosts = [lab.hosts[name] for name in STORAGE_HOSTS]
    in_parallel(hosts, partial(_install, packages=packages))


def _install(host: Host, packages: Sequence[Path]) -> None:
    host.run("mkdir -p /root/packages", timeout_s=30)
    for package in packages:
        host.copy_in(package, "/root/packages/", timeout_s=60)
    files = " ".join(shlex.quote(f"./{package.name}") for package in packages)
    host.run(
        "cd /root/packages && DEBIAN_FRONTEND=noninteractive "
        f"apt-get install -y --no-install-recommends {files}",
        timeout_s=INSTALL_TIMEOUT_S,
    )


def settle(lab: Lab, progress: Progress) -> None:
    """Until every guest has finished booting, holds no failed unit and has nothing to do."""
    progress("waiting until the guests are calm")
    in_parallel(list(lab.hosts.values()), _settle_host)


def _settle_host(host: Host) -> None:
    deadline = Deadline(SETTLE_TIMEOUT_S, f"calm on {host.name}")
    left_s = deadline.remaining_s()
    system = host.run("systemctl is-system-running --wait", timeout_s=left_s, check=False)
    failed = host.run("systemctl --failed --no-legend --plain", timeout_s=30).stdout
    if failed.strip():
        raise LabError(f"{host.name} is {system.stdout.strip()}: failed units: {failed.strip()}")
    # An idle second three times in a row: what was started at boot has run out.
    calm = 0
    while calm < 3:
        busy = host.run(BUSY_TICKS, timeout_s=deadline.remaining_s()).stdout
        calm = calm + 1 if int(busy) < CALM_LOAD_TICKS else 0
    host.run("udevadm settle && sync", timeout_s=deadline.remaining_s())


# Ticks (1/100 s) of one second that were not idle.
BUSY_TICKS = (
    "a=$(awk '/^cpu /{print $5}' /proc/stat); sleep 1; "
    "b=$(awk '/^cpu /{print $5}' /proc/stat); echo $((100 - b + a))"
)
