"""One guest as a QEMU process: its command line (pure) and what is asked of it while it runs.

Host tools: qemu-system-x86_64.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .topology import HOST_NUMBERS, LINKS, NIC_SLOT, ROOT_SLOT, disk_slot, links_of, mac

# hostname= is set before the first process, so that md and udev know the name in the initramfs.
KERNEL = (
    "root=LABEL=lab-root rw console=ttyS0 quiet panic=5 net.ifnames=0 mitigations=off "
    "hostname={host} systemd.hostname={host} systemd.machine_id={machine_id}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineSpec:
    """All that one start of a guest is made of."""

    host: str
    memory_mib: int
    kernel: Path
    initrd: Path
    root: Path
    disks: Mapping[str, dict[str, Any]]
    ssh_port: int
    switches: Mapping[str, Path]
    qmp: Path
    console: Path
    incoming_fd: int | None = None


def machine_id(host: str) -> str:
    """The same in every lab, different for every host: NFS and journald tell hosts apart by it."""
    return hashlib.sha256(f"storage-agent lab {host}".encode()).hexdigest()[:32]


def image_node(name: str, file: Path) -> dict[str, Any]:
    """A qcow2 file as a block node. Flushes are not passed on: nothing outlives this machine."""
    cache = {"direct": False, "no-flush": True}
    return {
        "driver": "qcow2",
        "node-name": name,
        "cache": cache,
        "discard": "unmap",
        "file": {"driver": "file", "filename": str(file), "cache": cache},
    }


def served_node(name: str, server: Path) -> dict[str, Any]:
    """A disk behind a socket (nbd.py). Here flushes are passed on: they are what it is for."""
    return {"driver": "nbd", "node-name": name, "server": {"type": "unix", "path": str(server)}}


def disk_device(disk: str, node: str) -> dict[str, Any]:
    return {
        "driver": "virtio-blk-pci",
        "id": f"device-{disk}",
        "drive": node,
        "serial": disk,
        "bus": "pci.0",
        "addr": hex(disk_slot(disk)),
    }


def qemu_argv(spec: MachineSpec) -> list[str]:
    """The same devices at the same places, whether it boots or continues from a snapshot."""
    kernel = KERNEL.format(host=spec.host, machine_id=machine_id(spec.host))
    argv = ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none"]
    argv += ["-name", spec.host, "-machine", "pc", "-accel", "tcg,thread=multi", "-cpu", "max"]
    argv += ["-m", str(spec.memory_mib), "-smp", "1", "-rtc", "base=utc"]
    argv += ["-serial", f"file:{spec.console}", "-qmp", f"unix:{spec.qmp},server=on,wait=off"]
    argv += ["-kernel", str(spec.kernel), "-initrd", str(spec.initrd), "-append", kernel]
    for number, link in enumerate(links_of(spec.host)):
        argv += _nic_argv(spec, link, NIC_SLOT + number)
    argv += ["-blockdev", json.dumps(image_node("root", spec.root))]
    argv += ["-device", f"virtio-blk-pci,drive=root,serial=root,bus=pci.0,addr={ROOT_SLOT:#x}"]
    for disk, node in sorted(spec.disks.items()):
        argv += ["-blockdev", json.dumps(node)]
        argv += ["-device", json.dumps(disk_device(disk, disk))]
    if spec.incoming_fd is not None:
        argv += ["-incoming", f"fd:{spec.incoming_fd}"]
    return argv


def recipe() -> str:
    """The devices, for the cache's key: memory fits only the machine that it was saved from."""
    nowhere = Path("/")
    specs = (
        MachineSpec(
            host=host,
            memory_mib=0,
            kernel=nowhere,
            initrd=nowhere,
            root=nowhere,
            disks={"alpha-0": image_node("alpha-0", nowhere)},
            ssh_port=0,
            switches=dict.fromkeys(LINKS, nowhere),
            qmp=nowhere,
            console=nowhere,
        )
        for host in HOST_NUMBERS
    )
    return repr([qemu_argv(spec) for spec in specs])


def _nic_argv(spec: MachineSpec, link: str, slot: int) -> list[str]:
    if link == "control":
        # restrict=on: the guests reach nothing outside themselves.
        backend = f"user,id={link},restrict=on,hostfwd=tcp:127.0.0.1:{spec.ssh_port}-:22"
    else:
        backend = f"vde,id={link},sock={spec.switches[link]}"
    device = f"virtio-net-pci,netdev={link},id=nic-{link},mac={mac(spec.host, link)},addr={slot:#x}"
    return ["-netdev", backend, "-device", device]
