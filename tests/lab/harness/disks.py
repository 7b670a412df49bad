"""Data disks in a running guest: out of one host, into another. The caller holds the lock."""

from __future__ import annotations

from .errors import LabUsage
from .machine import disk_device
from .state import Disk, LabState
from .vm import Machines


def unplug(machines: Machines, state: LabState, host: str, disk: str, *, timeout_s: float) -> None:
    """Asks the guest's kernel to let go (as a hot-plug slot does) and waits until it has."""
    found = _require_disk(state, disk)
    if found.host != host:
        raise LabUsage(f"{disk} is not in {host}: {_where(found)}")
    if state.process(f"qemu-{host}"):
        with machines.qmp(state, host, timeout_s=timeout_s) as qmp:
            device = f"device-{disk}"
            qmp.execute("device_del", id=device)
            qmp.wait_event("DEVICE_DELETED", device=device)
            qmp.execute("blockdev-del", **{"node-name": disk})
    found.host = None


def plug(machines: Machines, state: LabState, host: str, disk: str, *, timeout_s: float) -> None:
    """Puts a disk that is nowhere into a host; one that is off sees it when it boots."""
    found = _require_disk(state, disk)
    if found.host:
        raise LabUsage(f"{disk} is {_where(found)}; to move it: plug {host} {disk} --from HOST")
    if state.process(f"qemu-{host}"):
        with machines.qmp(state, host, timeout_s=timeout_s) as qmp:
            qmp.execute("blockdev-add", **machines.disk_node(state, disk))
            qmp.execute("device_add", **disk_device(disk, disk))
    found.host = host


def _require_disk(state: LabState, disk: str) -> Disk:
    if disk not in state.disks:
        raise LabUsage(f"no disk {disk}; there are {', '.join(sorted(state.disks))}")
    return state.disks[disk]


def _where(disk: Disk) -> str:
    return f"in {disk.host}" if disk.host else "unplugged"
