"""Packets that the supervisor sends by hand: address announcements and tickles. Pure."""

from __future__ import annotations

import socket
import struct

_BROADCAST = b"\xff" * 6
ETH_P_ARP = 0x0806
# Before the sender's addresses: link, network, their lengths, operation.
_ARP_HEADER = struct.pack("!HHBB", 1, 0x0800, 6, 4)
_REQUEST, _REPLY = 1, 2


def arp_announcements(hardware_address: bytes, address: str) -> tuple[bytes, bytes]:
    """Gratuitous ARP as request and as reply (RFC 5227 section 3: some stacks heed only one)."""
    own = socket.inet_aton(address)
    return tuple(  # type: ignore[return-value]
        _BROADCAST
        + hardware_address
        + struct.pack("!H", ETH_P_ARP)
        + _ARP_HEADER
        + struct.pack("!H", operation)
        + hardware_address
        + own
        + (b"\0" * 6 if operation == _REQUEST else _BROADCAST)
        + own
        for operation in (_REQUEST, _REPLY)
    )


def claimant(frame: bytes, address: str, own: bytes) -> bytes | None:
    """Whose hardware address an ARP packet, request or reply, gives out as that of `address`, where
    it is not `own` (RFC 5227 section 2.4)."""
    if len(frame) < 42 or frame[12:14] != struct.pack("!H", ETH_P_ARP):
        return None
    is_ours = frame[14:20] == _ARP_HEADER and frame[28:32] == socket.inet_aton(address)
    return frame[22:28] if is_ours and frame[22:28] != own else None


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
