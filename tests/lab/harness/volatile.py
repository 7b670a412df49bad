"""Disks that can lose, fail or stall: each is a process of its own (nbd.py) that QEMU talks to.

Works on a LabState that the caller has locked.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from . import process
from .deadline import Deadline
from .errors import LabError, LabTimeout, LabUsage
from .state import Disk, LabState
from .topology import MAX_DISKS, STORAGE_HOSTS
from .vm import Machines

NBD_PROGRAM = "tests.lab.harness.nbd"
ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """`fail`: the kinds of requests get an error. `stall`: none is answered. `heal`: all is well
    again. `look`: how many sectors a power cut could take."""

    do: Literal["fail", "stall", "heal", "look"]
    kinds: tuple[Literal["read", "write", "flush"], ...] = ()
    error: int = errno.EIO


def create(
    machines: Machines, state: LabState, disk: str, images: Path, size_mib: int, deadline: Deadline
) -> None:
    """Makes an empty disk and starts its process."""
    host, _, number = disk.rpartition("-")
    if host not in STORAGE_HOSTS or not number.isdecimal() or int(number) >= MAX_DISKS:
        raise LabUsage(f"{disk}: a disk is HOST-NUMBER, with {' or '.join(STORAGE_HOSTS)}, 0 to 7")
    if disk in state.disks:
        raise LabUsage(f"{disk} exists already")
    image = images / f"{disk}.raw"
    with image.open("wb") as file:
        file.truncate(size_mib << 20)
    data, control = machines.disk_socket(disk), _control(machines, disk)
    for path in (data, control):
        path.unlink(missing_ok=True)
    log = images / f"{disk}.log"
    argv = [sys.executable, "-c", _program(), str(image), str(data), str(control)]
    state.remember(f"nbd-{disk}", process.start(argv, log=log))
    while not (data.exists() and control.exists()):
        if state.process(f"nbd-{disk}") is None:
            raise LabError(f"the process of disk {disk} ended: {log.read_text()[-500:]}")
        deadline.pause()
    state.disks[disk] = Disk(file=str(image), host=None, volatile=True)


def tell(
    machines: Machines, state: LabState, disk: str, order: Order, timeout_s: float
) -> dict[str, Any]:
    """Gives an order to a volatile disk and returns the answer."""
    if disk not in state.disks or not state.disks[disk].volatile:
        raise LabUsage(f"{disk} is not a volatile disk: add_volatile_disk makes one")
    words = {"do": order.do, "kinds": order.kinds, "errno": order.error}
    return _tell(_control(machines, disk), words, timeout_s)


def cut_power(
    machines: Machines, state: LabState, host: str, seed: int | None, timeout_s: float
) -> dict[str, Any]:
    """After the host's QEMU has gone: what each of its volatile disks lost. No seed: nothing."""
    if seed is None:
        return {}
    return {
        name: _tell(_control(machines, name), {"do": "cut", "seed": seed}, timeout_s)
        for name, disk in state.disks.items()
        if disk.volatile and disk.host == host
    }


def require_none(state: LabState) -> None:
    if found := [name for name, disk in state.disks.items() if disk.volatile]:
        raise LabUsage(f"{', '.join(found)}: volatile disks cannot be part of a snapshot")


def _control(machines: Machines, disk: str) -> Path:
    return machines.disk_socket(disk).with_suffix(".control")


def _program() -> str:
    """The server, without a need for PYTHONPATH."""
    return f"import sys; sys.path.insert(0, {os.fspath(ROOT)!r}); " + (
        f"from {NBD_PROGRAM} import main; main(*sys.argv[1:])"
    )


def _tell(path: Path, words: dict[str, Any], timeout_s: float) -> dict[str, Any]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout_s)
        try:
            connection.connect(str(path))
            connection.sendall(json.dumps(words).encode() + b"\n")
            with connection.makefile("rb") as lines:
                answer: dict[str, Any] = json.loads(lines.readline())
        except TimeoutError:
            raise LabTimeout(f"{path.stem}: no answer within {timeout_s:g} s") from None
        except (OSError, ValueError) as error:
            raise LabError(f"{path.stem}: {error}") from error
    if "error" in answer:
        raise LabError(f"{path.stem}: {answer['error']}")
    return answer
