"""IPv4 addresses and network interfaces. Host tool: ip (one call).

A service address that another machine still answers for must not be taken: `answerer` asks the
network with an ARP probe (RFC 5227) on a packet socket. That is one round trip instead of the
full second that `arping -D` waits, starts no process, and tells the answerer's hardware address.
"""

from __future__ import annotations

import ipaddress
import json
import socket
import struct
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from storage_agent.host.system.runner import Runner, is_readable
from storage_agent.model.errors import Missing, OperationFailed, ParseError

IP_TIMEOUT_S = 5.0
PROBE_TIMEOUT_S = 0.6
PROBES = 3
ETH_P_ARP = 0x0806
BROADCAST = b"\xff" * 6
_ARP = struct.Struct("!HHBBH6s4s6s4s")
_REQUEST, _REPLY = 1, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """up: set up by the admin.  carrier: the link works, as far as the driver knows.
    addresses: `10.9.0.1/24`, IPv4 and IPv6."""

    name: str
    up: bool
    carrier: bool
    hardware_address: str
    addresses: tuple[str, ...]


def parse_ip_addresses(text: str) -> tuple[Interface, ...]:
    """`ip -j address show`. Of an interface what is missing is not there: not up, no address.
    Raises ParseError (no JSON, an interface without a name or twice)."""
    try:
        entries = json.loads(text or "[]")
        found = tuple(_interface(entry) for entry in entries)
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise ParseError("ip -j address", f"{type(exc).__name__}: {exc}", text) from None
    if len({interface.name for interface in found}) != len(found):
        raise ParseError("ip -j address", "an interface comes twice", text)
    return found


def _interface(entry: Mapping[str, Any]) -> Interface:
    flags = _list(entry, "flags")
    return Interface(
        name=str(entry["ifname"]),
        up="UP" in flags,
        # LOWER_UP is the driver's word; operstate is UNKNOWN for many virtual links.
        carrier="LOWER_UP" in flags and "NO-CARRIER" not in flags,
        hardware_address=str(entry.get("address", "")),
        addresses=tuple(_addresses(_list(entry, "addr_info"))),
    )


def _list(entry: Mapping[str, Any], key: str) -> list[Any]:
    found = entry.get(key)
    return found if isinstance(found, list) else []


def _addresses(entries: Iterable[Any]) -> Iterator[str]:
    """One that is not understood is left out: it is none of those that are configured."""
    for entry in entries:
        try:
            text = f"{entry['local']}/{entry['prefixlen']}"
            yield str(ipaddress.ip_interface(text))
        except (KeyError, TypeError, ValueError):
            continue


def build_probe(hardware_address: bytes, address: str) -> bytes:
    """The ARP part of a probe: sender 0.0.0.0, so nobody's table changes by the question."""
    target = ipaddress.IPv4Address(address).packed
    return _ARP.pack(
        1, 0x0800, 6, 4, _REQUEST, hardware_address, bytes(4), bytes(6), target
    )  # fmt: skip


def parse_answer(frame: bytes, address: str, own: bytes) -> str | None:
    """Hardware address of the machine that uses `address`, or None if the frame is about
    something else. Any ARP packet whose sender claims the address counts, not only a reply."""
    if len(frame) < _ARP.size:
        return None
    hardware, protocol, _, _, operation, sender, claimed, _, _ = _ARP.unpack_from(frame)
    is_arp = (hardware, protocol) == (1, 0x0800) and operation in (_REQUEST, _REPLY)
    if not is_arp or claimed != ipaddress.IPv4Address(address).packed or sender == own:
        return None
    return str(sender.hex(":"))


class Addresses:
    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def interfaces(self) -> tuple[Interface, ...]:
        """Of the host's own network namespace. Raises ParseError, CommandFailed."""
        argv = ("ip", "-j", "address", "show")
        return parse_ip_addresses(self._runner.run(argv, timeout_s=IP_TIMEOUT_S).stdout)

    def require_up(self, name: str) -> Interface:
        """Raises Missing: no such interface, it is down, or it has no link."""
        interface = next((i for i in self.interfaces() if i.name == name), None)
        if interface is None:
            raise Missing(
                f"there is no network interface {name}", remedy="ip link", code="NO_INTERFACE"
            )
        if not interface.up:
            raise Missing(
                f"network interface {name} is down",
                remedy=f"ip link set {name} up",
                code="INTERFACE_DOWN",
            )
        if not interface.carrier:
            raise Missing(
                f"network interface {name} has no link",
                remedy=f"look at its cable or switch: ip link show {name}",
                code="INTERFACE_DOWN",
            )
        return interface

    def here(self, address: str) -> str | None:
        """Name of the interface of this host's namespace that carries `address` (a prefix
        length is ignored), None if none does."""
        wanted = address.partition("/")[0]
        for interface in self.interfaces():
            if any(own.partition("/")[0] == wanted for own in interface.addresses):
                return interface.name
        return None

    def answerer(
        self, address: str, interface: str, *, timeout_s: float = PROBE_TIMEOUT_S
    ) -> str | None:
        """Hardware address of another machine that has `address` (a prefix length is ignored),
        None if nobody answered in `timeout_s`. A macvlan or ipvlan link on this same interface
        cannot be heard from here. Raises Missing (no such interface), OperationFailed."""
        target = address.partition("/")[0]
        try:
            with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM) as probe:
                probe.bind((interface, ETH_P_ARP))
                return _ask(probe, interface, target, timeout_s)
        except PermissionError as exc:
            raise OperationFailed(
                f"{interface}: not allowed to ask the network for {target}",
                remedy="do it as root",
                code="NO_PROBE",
            ) from exc
        except OSError as exc:
            raise Missing(
                f"{interface}: cannot ask the network for {target}: {exc.strerror or exc}",
                remedy=f"ip link show {interface}",
                code="NO_INTERFACE",
            ) from exc


def _ask(probe: socket.socket, interface: str, target: str, timeout_s: float) -> str | None:
    own: bytes = probe.getsockname()[4]
    request = build_probe(own, target)
    begin_s = time.monotonic()
    for number in range(1, PROBES + 1):
        # A single frame may be lost.
        probe.sendto(request, (interface, ETH_P_ARP, 0, 0, BROADCAST))
        until_s = begin_s + timeout_s * number / PROBES
        while (left_s := until_s - time.monotonic()) > 0:
            if not is_readable(probe.fileno(), left_s):
                break
            answer = parse_answer(probe.recv(1500), target, own)
            if answer is not None:
                return answer
    return None
