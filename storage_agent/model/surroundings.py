"""What else there is on a host that a volume may collide with, whether or not it runs now."""

from __future__ import annotations

from dataclasses import dataclass

from storage_agent.model.observed import Unobserved


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherReplica:
    """A DRBD resource that is defined in drbd.conf or that the kernel has, up or down.

    place: `FILE:LINE`, or `the kernel`.  disks: paths as they are written, and the kernel names
    that they lead to.  address, port: this host's end; empty and 0 where it is another host's
    resource, which takes nothing here but its name.
    """

    name: str
    place: str
    minors: tuple[int, ...] = ()
    disks: tuple[str, ...] = ()
    address: str = ""
    port: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayName:
    """Who has a name below /dev/md: an array that runs, or a line of mdadm.conf."""

    path: str
    uuid: str
    place: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """A TCP port that something on this host listens at. address: empty for all of them."""

    address: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HostInterface:
    """A network interface of the host's own namespace. addresses: `10.9.0.1/24`."""

    name: str
    up: bool
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkView:
    """answering: hardware address of whoever else has a service address now, by that address."""

    interfaces: tuple[HostInterface, ...]
    answering: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """node_name: as `uname -n` has it; empty where nobody has looked."""

    replicas: tuple[OtherReplica, ...] | Unobserved
    arrays: tuple[ArrayName, ...] | Unobserved
    listeners: tuple[Listener, ...] | Unobserved
    node_name: str = ""
