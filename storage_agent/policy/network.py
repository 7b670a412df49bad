"""Do the addresses and interfaces that are configured fit the host that is to have them? Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from storage_agent.model.configuration import AgentConfig, NfsConfig
from storage_agent.model.finding import Finding
from storage_agent.model.surroundings import NetworkView
from storage_agent.policy.common import blocker
from storage_agent.policy.surroundings import Collision

_CHECK = "then: storage-agent config check"


def network_collisions(config: AgentConfig, seen: NetworkView) -> tuple[Collision, ...]:
    """With whole keys: `hosts` or `volumes` first."""
    return (
        *_own_address(config, seen),
        *(
            found
            for volume in config.volumes.values()
            if volume.nfs is not None
            for found in _service(volume.name, volume.nfs, seen)
        ),
    )


def _own_address(config: AgentConfig, seen: NetworkView) -> Iterator[Collision]:
    host = config.hosts[config.host]
    if all(host.address not in _plain(i.addresses) for i in seen.interfaces):
        yield Collision(
            key=("hosts", host.name, "address"),
            finding=blocker(
                "HOST_ADDRESS",
                f"no interface of this host has the address {host.address} of {host.name}",
                measured=", ".join(a for i in seen.interfaces for a in i.addresses) or "none",
                limit=f"{host.address}, of the replication link",
                remedy=f"correct the address of {host.name}, or set the link up: ip address; "
                + _CHECK,
            ),
        )


def _service(name: str, nfs: NfsConfig, seen: NetworkView) -> Iterator[Collision]:
    at = ("volumes", name, "nfs")
    interface = next((i for i in seen.interfaces if i.name == nfs.interface), None)
    service = ipaddress.ip_interface(nfs.address)
    if interface is None or not interface.up:
        yield Collision(key=(*at, "interface"), finding=_parent(name, nfs, interface is None, seen))
    for other in seen.interfaces:
        if str(service.ip) in _plain(other.addresses):
            yield Collision(
                key=(*at, "address"),
                finding=blocker(
                    "ADDRESS_TAKEN",
                    f"the service address {service.ip} of {name} is this host's own",
                    measured=f"on {other.name}",
                    limit="an address that only the volume has, and that moves with it",
                    remedy=f"choose a free one of the same network for {name}, {_CHECK}",
                ),
            )
    if interface is not None and _is_outside(service, interface.addresses):
        yield Collision(
            key=(*at, "address"),
            finding=blocker(
                "ADDRESS_OUTSIDE",
                f"the service address {nfs.address} of {name} is outside the network of "
                f"{nfs.interface}",
                measured=", ".join(interface.addresses),
                limit=f"the same network as {nfs.interface}",
                remedy=f"correct address or interface of {name}, {_CHECK}",
            ),
        )
    if mac := seen.answering.get(str(service.ip)):
        yield Collision(
            key=(*at, "address"),
            finding=blocker(
                "ADDRESS_ANSWERS",
                f"the service address {service.ip} of {name} answers already",
                measured=f"by {mac}",
                limit="nobody, or the volume itself on the other host",
                remedy=f"see who it is: ip neighbour; choose a free one for {name}, {_CHECK}",
            ),
        )


def _parent(name: str, nfs: NfsConfig, is_missing: bool, seen: NetworkView) -> Finding:
    known = ", ".join(i.name for i in seen.interfaces if i.name != "lo")
    if is_missing:
        return blocker(
            "NO_INTERFACE",
            f"there is no network interface {nfs.interface}, which the link of {name} needs",
            measured=f"interfaces: {known or 'none'}",
            limit=f"{nfs.interface}",
            remedy=f"name one of these as the interface of {name}, {_CHECK}",
        )
    return blocker(
        "INTERFACE_DOWN",
        f"network interface {nfs.interface} of {name} is down",
        measured="down",
        limit="up",
        remedy=f"ip link set {nfs.interface} up",
    )


def _is_outside(
    service: ipaddress.IPv4Interface | ipaddress.IPv6Interface, addresses: tuple[str, ...]
) -> bool:
    """False where the interface has no address of that family: then there is nothing to compare."""
    networks = [ipaddress.ip_interface(address).network for address in addresses]
    same = [network for network in networks if network.version == service.version]
    return bool(same) and all(service.ip not in network for network in same)


def _plain(addresses: tuple[str, ...]) -> frozenset[str]:
    return frozenset(address.partition("/")[0] for address in addresses)
