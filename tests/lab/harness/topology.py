"""Which guests, disks and links there are, and where each sits. Pure: no files, no processes."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from .errors import LabUsage

LINKS = {"control": "eth0", "replication": "eth1", "service": "eth2"}
NETWORKS = {"replication": "10.8.0", "service": "10.9.0"}
HOST_NUMBERS = {"alpha": 1, "beta": 2, "client": 100}
STORAGE_HOSTS = ("alpha", "beta")
MAX_DISKS = 8
# PCI slots. A disk has the same slot wherever it is plugged in, so slots never collide.
NIC_SLOT, ROOT_SLOT, FIRST_DISK_SLOT = 0x3, 0x6, 0x8


def _number(variable: str, default: int) -> int:
    text = os.environ.get(variable, "")
    if text and not text.isdecimal():
        raise LabUsage(f"{variable}={text}: not a number")
    return int(text) if text else default


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """What may be chosen when the lab is built; part of the layers' keys."""

    disk_mib: int = field(default_factory=lambda: _number("STORAGE_AGENT_LAB_DISK_MIB", 256))
    disks_per_host: int = field(default_factory=lambda: _number("STORAGE_AGENT_LAB_DISKS", 4))
    memory_mib: int = field(default_factory=lambda: _number("STORAGE_AGENT_LAB_MEMORY_MIB", 768))

    def disks(self) -> tuple[str, ...]:
        """All data disks, by serial number."""
        if not 1 <= self.disks_per_host <= MAX_DISKS:
            raise LabUsage(f"{self.disks_per_host} disks per host: 1 to {MAX_DISKS} are possible")
        return tuple(f"{host}-{n}" for host in STORAGE_HOSTS for n in range(self.disks_per_host))


def home_of(disk: str) -> str:
    """The host that a disk belongs to at first: alpha-2 -> alpha."""
    return disk.rpartition("-")[0]


def disk_slot(disk: str) -> int:
    host, _, number = disk.rpartition("-")
    return FIRST_DISK_SLOT + MAX_DISKS * STORAGE_HOSTS.index(host) + int(number)


def mac(host: str, link: str) -> str:
    return f"52:54:00:1a:{list(HOST_NUMBERS).index(host) + 1:02x}:{list(LINKS).index(link):02x}"


def address(host: str, network: str) -> str | None:
    """The host's address in a network between guests; the client has no replication link."""
    if network == "replication" and host not in STORAGE_HOSTS:
        return None
    return f"{NETWORKS[network]}.{HOST_NUMBERS[host]}"


def links_of(host: str) -> tuple[str, ...]:
    return tuple(link for link in LINKS if link == "control" or address(host, link))


def require_host(name: str) -> str:
    if name not in HOST_NUMBERS:
        raise LabUsage(f"no host {name}; there are {', '.join(HOST_NUMBERS)}")
    return name


def require_link(host: str, link: str) -> str:
    if link not in links_of(host):
        raise LabUsage(f"{host} has no link {link}; it has {', '.join(links_of(host))}")
    return link
