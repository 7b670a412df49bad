"""The host's interfaces, and who answers for a service address. Host tool: ip (one call)."""

from __future__ import annotations

import contextlib
import hashlib

from storage_agent.host.nfs.address import Addresses
from storage_agent.host.system.runner import Runner
from storage_agent.model.configuration import AgentConfig
from storage_agent.model.errors import AgentError
from storage_agent.model.surroundings import HostInterface, NetworkView


def link_address(volume: str, address: str, host: str) -> bytes:
    """Hardware address of the volume's own link on that host, locally administered. Each host's
    own: a frame of a host that was replaced and does not know it yet would draw the clients back
    to it if switches took it for the new one's."""
    digest = hashlib.sha256(f"{volume} {address} {host}".encode()).digest()
    return bytes([0x02, *digest[:5]])


def look_at_network(config: AgentConfig, runner: Runner) -> NetworkView:
    """Asks the network only for volumes that are not made here: one that is may be served. Needs
    root for that; without, nobody is heard. Raises AgentError."""
    addresses = Addresses(runner)
    interfaces = tuple(
        HostInterface(name=i.name, up=i.up, addresses=i.addresses) for i in addresses.interfaces()
    )
    up = {interface.name for interface in interfaces if interface.up}
    answering = {}
    for volume in config.volumes.values():
        nfs = volume.nfs
        if nfs is None or config.host in volume.array.uuid or nfs.interface not in up:
            continue
        with contextlib.suppress(AgentError):
            mac = addresses.answerer(nfs.address, nfs.interface)
            # The other host may serve the volume already.
            own = {link_address(volume.name, nfs.address, host).hex(":") for host in config.hosts}
            if mac and mac not in own:
                answering[nfs.address.partition("/")[0]] = mac
    return NetworkView(interfaces=interfaces, answering=answering)
