"""What a replica's promises rest on: DRBD's options as the kernel has them, and the handlers.

Handlers are not in the kernel. It calls its usermode helper (`drbdadm fence-peer minor-N`), which
reads the resource files at that moment; so what will be asked is what they say now.
Source of every option: drbd.conf(5) of drbd-utils, the pages for 8.4 and 9.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass

from storage_agent.model.configuration import AgentConfig, Arbitration, HostConfig, VolumeConfig
from storage_agent.model.replica import ConnectionState, Replica, Role

# Design section 6. With resource-only the primary goes on alone when its peer is lost; with
# resource-and-stonith its writes freeze until the handler has answered. Never `dont-care`: then
# nobody asks before a disconnected copy becomes primary.
FENCING = {
    Arbitration.NONE: "resource-only",
    Arbitration.COORDINATOR: "resource-and-stonith",
}
FENCE_PEER = "/usr/lib/storage-agent/fence-peer"
# Only then may the handler open an incident and wait: without freezing nobody would answer it.
HANDLER = {
    Arbitration.NONE: FENCE_PEER,
    Arbitration.COORDINATOR: f"{FENCE_PEER} coordinator",
}
# Called when a handshake has ended in a split brain that nobody resolves but a person.
SPLIT_BRAIN = "/usr/lib/storage-agent/split-brain"
# The module's own default, and whom drbd-utils installs.
HELPERS = frozenset({"/sbin/drbdadm", "/usr/sbin/drbdadm"})

# What keeps two histories apart, and acknowledged writes on both copies.
SAFETY = {
    "net.protocol": "C",
    "net.allow-two-primaries": "no",
    "net.after-sb-0pri": "disconnect",
    "net.after-sb-1pri": "disconnect",
    "net.after-sb-2pri": "disconnect",
    "net.rr-conflict": "disconnect",
    "disk.on-io-error": "detach",
}
# 9 promotes a secondary that somebody mounts unless it is told not to; 8.4 does neither and does
# not know the option.
SAFETY_9 = {"options.auto-promote": "no"}
# A silent peer is noticed after at most ping-int + ping-timeout = 6 s on an idle link; the
# defaults (10 s, 0.5 s) take longer and yet call a host dead that stood still for half a second.
# 3 s is what an emulated or overloaded host needs, ten times slower than hardware.  timeout (in
# tenths of a second) must be less than ping-int and connect-int.  A peer that answers pings but
# completes no write for ko-count * timeout = 17.5 s is given up.  Every new connection is watched
# for socket-check-timeout before it is used; by default that is ping-timeout.
TIMEOUTS = {
    "net.connect-int": "3",
    "net.ping-int": "3",
    "net.ping-timeout": "30",
    "net.socket-check-timeout": "5",
    "net.timeout": "25",
    "net.ko-count": "7",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Guards:
    """options: `section.option` -> value, of the kernel; none of `disk.` while it has no disk, none
    of `net.` while it stands alone.  local, remote: `ADDRESS:PORT` of the link, empty likewise.
    disk: path of the base, empty likewise.  helper: the program that the kernel calls.
    fence_peer, split_brain: what that would run now, by its files; empty: nothing.
    problem: why it would run nothing, in words; empty where it would.
    is_file_current: the resource file is what the configuration makes of it.
    is_link_current: local and remote, where it has them, are those that are configured.
    """

    options: dict[str, str]
    minor: int | None = None
    local: str = ""
    remote: str = ""
    disk: str = ""
    helper: str = ""
    fence_peer: str = ""
    split_brain: str = ""
    problem: str = ""
    is_file_current: bool = True
    is_link_current: bool = True

    def fencing(self) -> str:
        """Empty while the kernel has none: 8.4 keeps it with the disk, 9 with the connection."""
        return self.options.get("disk.fencing") or self.options.get("net.fencing", "")

    def asks(self, arbitration: Arbitration) -> bool:
        """Whether the kernel's question comes to our handler, called as it has to be."""
        is_ours = self.helper in HELPERS and self.fence_peer == HANDLER[arbitration]
        return is_ours and not self.problem

    def freezes(self) -> bool:
        """A Primary that loses its peer writes nothing more, and asks the coordinator."""
        wanted = FENCING[Arbitration.COORDINATOR]
        return self.fencing() == wanted and self.asks(Arbitration.COORDINATOR)

    def different(self, wanted: Mapping[str, str]) -> tuple[tuple[str, str, str], ...]:
        """Option, kernel's value, wanted one. Not of a section that the kernel does not have now,
        nor of an option that this kernel does not know."""
        return tuple(
            (name, self.options[name], value)
            for name, value in wanted.items()
            if name in self.options and self.options[name] != value
        )


def link_addresses(config: AgentConfig, volume: VolumeConfig) -> tuple[str, str]:
    """`local` and `remote` as configured; empty where there is no peer."""
    here, peer = config.hosts.get(config.host), config.peer_of(config.host)
    if volume.replica is None or here is None or peer is None:
        return "", ""
    return _end(here, volume.replica.port), _end(peer, volume.replica.port)


def _end(host: HostConfig, port: int) -> str:
    address = ipaddress.ip_address(host.address)
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"


def waits_for_word(replica: object, guards: object) -> bool:
    """This host, as it is now, writes nothing without its peer unless a coordinator lets it: by
    DRBD's own guard, and not past it already. Unknown means no."""
    if not isinstance(guards, Guards) or not isinstance(replica, Replica):
        return False
    if replica.why_undecidable():
        return False
    is_alone = replica.peer is None or replica.peer.connection is not ConnectionState.CONNECTED
    writes_alone = replica.role is Role.PRIMARY and is_alone and not replica.suspended
    return guards.freezes() and not writes_alone
