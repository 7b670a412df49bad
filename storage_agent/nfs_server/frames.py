"""Packets that the supervisor sends by hand: address announcements and tickles. Pure."""

from __future__ import annotations

import socket
import struct

_BROADCAST = b"\xff" * 6
_ARP = 0x0806
_REQUEST, _REPLY = 1, 2


def arp_announcements(hardware_address: bytes, address: str) -> tuple[bytes, bytes]:
    """Gratuitous ARP as request and as reply (RFC 5227 section 3: some stacks heed only one)."""
    own = socket.inet_aton(address)
    return tuple(  # type: ignore[return-value]
        _BROADCAST
        + hardware_address
        + struct.pack("!HHHBBH", _ARP, 1, 0x0800, 6, 4, operation)
        + hardware_address
        + own
        + (b"\0" * 6 if operation == _REQUEST else _BROADCAST)
        + own
        for operation in (_REQUEST, _REPLY)
    )


def tickle(source: tuple[str, int], target: tuple[str, int]) -> bytes:
    """An IPv4 packet: an ACK that fits no connection.

    A client that believes to be connected answers with its own numbers; the server's kernel,
    which knows no such connection, resets it; the client connects anew at once instead of at its
    next retransmission (CTDB's and resource-agents' portblock's trick).
    """
    addresses = socket.inet_aton(source[0]) + socket.inet_aton(target[0])
    segment = struct.pack("!HHIIBBHHH", source[1], target[1], 0, 0, 5 << 4, 0x10, 1024, 0, 0)
    pseudo = addresses + struct.pack("!BBH", 0, socket.IPPROTO_TCP, len(segment))
    segment = segment[:16] + struct.pack("!H", checksum(pseudo + segment)) + segment[18:]
    # The kernel fills in length, identification and header checksum (raw(7), IP_HDRINCL).
    header = struct.pack("!BBHHHBBH", 0x45, 0, 40, 0, 0, 64, socket.IPPROTO_TCP, 0)
    return header + addresses + segment


def checksum(content: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    if len(content) % 2:
        content += b"\0"
    total: int = sum(struct.unpack(f"!{len(content) // 2}H", content))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
