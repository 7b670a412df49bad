"""Plays the loss of the peer on a host that runs tests.gateway.pair_daemon: what /proc/drbd shows,
and the installed fence-peer handler, as the kernel would call it."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator

from tests.gateway.host import StorageHost

BOOT_ID = "boot-1"
# The handler's world: the host's own but for what the kernel would have to be asked for.
WORLD = "/run/played"
PROC_DRBD = f"{WORLD}/proc/drbd"
IN_SYNC = " 0: cs:Connected ro:Primary/Secondary ds:UpToDate/UpToDate C r-----\n"
FROZEN = " 0: cs:WFConnection ro:Primary/Unknown ds:UpToDate/DUnknown C s-----\n"
HANDLER_WAITS_S = 120
_MAKE = """\
set -eu
mkdir -p "$1/proc/sys/kernel/random" "$1/run"
ln -sfn /run/storage-agent "$1/run/storage-agent"
ln -sfn /proc/uptime "$1/proc/uptime"
ln -sfn /proc/sys/kernel/random/uuid "$1/proc/sys/kernel/random/uuid"
echo "$2" >"$1/proc/sys/kernel/random/boot_id"
"""


def make_world(host: StorageHost) -> None:
    made = host.inside("sh", "-c", _MAKE, "sh", WORLD, BOOT_ID)
    assert made.returncode == 0, made.stderr
    show(host, IN_SYNC)


def show(host: StorageHost, text: str) -> None:
    """What the kernel says of the volume from now on."""
    write = 'printf %s "$1" >"$2.new" && mv "$2.new" "$2"'
    written = host.inside("sh", "-c", write, "sh", text, PROC_DRBD)
    assert written.returncode == 0, written.stderr


@contextlib.contextmanager
def asking(host: StorageHost) -> Iterator[subprocess.Popen[bytes]]:
    """The handler of a primary that has lost its peer; its exit status is the kernel's answer."""
    environment = ("env", "DRBD_RESOURCE=data", "DRBD_MINOR=0")
    argv = ("/usr/lib/storage-agent/fence-peer", "coordinator", WORLD, str(HANDLER_WAITS_S))
    show(host, FROZEN)
    with host.started(*environment, *argv) as handler:
        yield handler
    show(host, IN_SYNC)
