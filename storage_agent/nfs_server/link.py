"""The link in which the service address lives, its door, and what is sent when it comes up.

Link state, routes and door are changed by ioctl and sysfs, not by processes: they lie in the
time during which clients wait. Host tools: ip, nft (only while preparing).
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import ipaddress
import socket
import struct
from pathlib import Path

from storage_agent.host.drbd.alone import goes_on_alone
from storage_agent.host.network import link_address
from storage_agent.host.nfs.adapter import CANARY_NETWORK, CLOSED_GROUP, LINK, PORT
from storage_agent.host.nfs.settings import ServerSettings
from storage_agent.model.errors import Missing
from storage_agent.nfs_server.frames import (
    ETH_P_ARP,
    arp_announcements,
    claimant,
    tickle,
)

CANARY_LINK = "canary0"
CANARY_PEER = "canary1"
# Longest segment that only acknowledges: 20 IP + 20 TCP + 40 options. A request is longer.
ACK_LIMIT_BYTES = 100
_ORPHAN_RETRIES = Path("/proc/sys/net/ipv4/tcp_orphan_retries")
_SIOCADDRT = 0x890B
_SIOCGIFFLAGS, _SIOCSIFFLAGS = 0x8913, 0x8914
_IFF_UP = 1
_RTF_UP, _RTF_GATEWAY = 1, 2


def hardware_address(settings: ServerSettings, host: str) -> bytes:
    """See link_address."""
    return link_address(settings.volume, settings.address, host)


def link_batch(settings: ServerSettings, host: str, namespace: str) -> str:
    """For `ip -batch` in the host's namespace: makes the link in another. host: its name.
    namespace: a path."""
    made = f"link add link {settings.interface} name {LINK} netns {namespace}"
    if settings.link == "ipvlan":
        # It shares its parent's hardware address; that is what it is for.
        return f"{made} type ipvlan mode l2\n"
    mac = hardware_address(settings, host).hex(":")
    return f"{made} address {mac} type macvlan mode bridge\n"


def address_batch(settings: ServerSettings) -> str:
    """For `ip -batch` inside the namespace; the link stays down."""
    return f"link set lo up\naddress replace {settings.address} brd + dev {LINK}\n"


def canary_batch(canary_namespace: str) -> str:
    """For `ip -batch` inside the server's namespace. canary_namespace: a path."""
    return (
        f"link add {CANARY_LINK} type veth peer name {CANARY_PEER} netns {canary_namespace}\n"
        f"address add {CANARY_NETWORK}1/30 dev {CANARY_LINK}\n"
        f"link set {CANARY_LINK} up\n"
    )


def canary_peer_batch(settings: ServerSettings) -> str:
    """For `ip -batch` inside the canary's namespace."""
    return (
        f"link set lo up\naddress add {CANARY_NETWORK}2/30 dev {CANARY_PEER}\n"
        f"link set {CANARY_PEER} up\n"
        f"route add {settings.service_address()}/32 via {CANARY_NETWORK}1\n"
    )


def door_rules() -> str:
    """For `nft -f -` inside the namespace. While the link is in CLOSED_GROUP, requests and new
    connections are dropped before TCP acknowledges them; acknowledgements of answers still come
    in, so that the send queues show when the last answer has arrived."""
    match = f"iifgroup {CLOSED_GROUP} tcp dport {PORT}"
    return (
        "table ip door\ndelete table ip door\ntable ip door {\n"
        " chain input {\n  type filter hook input priority 0; policy accept;\n"
        f"  {match} tcp flags & (syn | ack) == syn drop\n"
        f"  {match} meta length > {ACK_LIMIT_BYTES} drop\n"
        " }\n}\n"
    )


def end_orphans_soon() -> None:
    """For the namespace that this process is in. A connection that nfsd closes while the link is
    down is else kept for 100 s (8 retries, kernel ip-sysctl.rst). If its client comes back with
    the same port within that time, the old socket answers it where a reset is wanted, and the
    client waits: 90 s, seen in one of 20 moves there and back."""
    _ORPHAN_RETRIES.write_text("1")


def parse_gateway(routes: str, settings: ServerSettings) -> str | None:
    """The host's default gateway through the parent, from /proc/net/route, if the service
    address can reach it too; clients beyond it are answered through it."""
    network = ipaddress.IPv4Interface(settings.address).network
    for line in routes.splitlines()[1:]:
        fields = line.split()
        if len(fields) < 8 or fields[0] != settings.interface or fields[1] != "00000000":
            continue
        gateway = ipaddress.IPv4Address(struct.pack("=I", int(fields[2], 16)))
        if gateway in network and int(fields[3], 16) & _RTF_GATEWAY:
            return str(gateway)
    return None


class ServiceLink:
    """Used inside the namespace. sys: of that namespace."""

    def __init__(
        self, settings: ServerSettings, gateway: str | None, sys: Path = Path("/sys")
    ) -> None:
        self._settings = settings
        self._gateway = gateway
        self._folder = sys / "class/net" / LINK

    def exists(self) -> bool:
        return self._folder.exists()

    def is_up(self) -> bool:
        with _control_socket() as control:
            return bool(self._flags(control) & _IFF_UP)

    def up(self) -> None:
        """Raises Missing where the parent link is gone or down."""
        try:
            with _control_socket() as control:
                self._set_flags(control, self._flags(control) | _IFF_UP)
                if self._gateway:
                    _add_default_route(control, self._gateway)
        except OSError as exc:
            raise Missing(
                f"the link of {self._settings.address} cannot be set up: {exc.strerror}",
                remedy=f"is its parent up? ip link show {self._settings.interface}",
                code="NFS_LINK",
            ) from exc

    def down(self) -> None:
        with _control_socket() as control:
            self._set_flags(control, self._flags(control) & ~_IFF_UP)

    def open_door(self) -> None:
        (self._folder / "netdev_group").write_text("0")

    def close_door(self) -> None:
        (self._folder / "netdev_group").write_text(str(CLOSED_GROUP))

    def is_door_closed(self) -> bool:
        return (self._folder / "netdev_group").read_text().strip() == str(CLOSED_GROUP)

    def listen_to_claims(self) -> socket.socket:
        """Every ARP packet that comes in through the link."""
        packets = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK)
        packets.bind((LINK, ETH_P_ARP))
        return packets

    def claimant(self, frame: bytes) -> bytes | None:
        """The hardware address of another machine that says that it has our address."""
        return claimant(frame, self._settings.service_address(), self._own())

    def may_be_peers(self, claimant: bytes) -> bool:
        """Of the volume's link on another of its hosts; of an ipvlan, which shares its parent's
        address, that cannot be known."""
        settings = self._settings
        return settings.link != "macvlan" or claimant in (
            hardware_address(settings, host) for host in settings.hosts
        )

    def is_known_right(self) -> bool:
        """This host, and not its peer: it has lost the peer and may go on all the same."""
        return self._settings.minor is not None and goes_on_alone(self._settings.minor)

    def announce(self) -> None:
        """Gratuitous ARP, once. A link that cannot send just now is no failure: it is repeated."""
        own = self._own()
        packets = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        with packets, contextlib.suppress(OSError):
            packets.bind((LINK, 0))
            for frame in arp_announcements(own, self._settings.service_address()):
                packets.send(frame)

    def tickle(self, connections: tuple[str, ...]) -> None:
        """connections: `ADDRESS:PORT` of clients that believe to be connected."""
        own = (self._settings.service_address(), PORT)
        packets = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        with packets:
            for connection in connections:
                address, _, port = connection.rpartition(":")
                with contextlib.suppress(OSError):
                    packets.sendto(tickle(own, (address, int(port))), (address, 0))

    def _own(self) -> bytes:
        return bytes.fromhex((self._folder / "address").read_text().strip().replace(":", ""))

    def _flags(self, control: socket.socket) -> int:
        answer = fcntl.ioctl(control, _SIOCGIFFLAGS, _link_request(0))
        return int(struct.unpack_from("=16xH", answer)[0])

    def _set_flags(self, control: socket.socket, flags: int) -> None:
        fcntl.ioctl(control, _SIOCSIFFLAGS, _link_request(flags))


def _control_socket() -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


def _link_request(flags: int) -> bytes:
    # struct ifreq (linux/if.h)
    return struct.pack("=16sH22x", LINK.encode(), flags)


def _add_default_route(control: socket.socket, gateway: str) -> None:
    # struct rtentry (linux/route.h) on a 64-bit kernel
    name = ctypes.create_string_buffer(LINK.encode())
    anywhere = struct.pack("=HH4s8x", socket.AF_INET, 0, b"\0" * 4)
    through = struct.pack("=HH4s8x", socket.AF_INET, 0, socket.inet_aton(gateway))
    flags = _RTF_UP | _RTF_GATEWAY
    request = struct.pack("@L16s16s16sHhLPhP", 0, anywhere, through, anywhere, flags, 0, 0, 0, 0,
                          ctypes.addressof(name))  # fmt: skip
    request += struct.pack("@LLH6x", 0, 0, 0)
    with contextlib.suppress(FileExistsError):
        fcntl.ioctl(control, _SIOCADDRT, request)
