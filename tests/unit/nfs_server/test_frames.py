"""Hand-made packets."""

from __future__ import annotations

import socket
import struct

from storage_agent.nfs_server.frames import (
    arp_announcements,
    checksum,
    claimant,
    tickle,
)

OWN = bytes.fromhex("02a1b2c3d4e5")


def test_announcements_name_the_address_twice() -> None:
    request, reply = arp_announcements(OWN, "10.9.0.10")
    address = bytes([10, 9, 0, 10])
    head = b"\xff" * 6 + OWN + bytes.fromhex("08060001080006040001")
    assert request == head + OWN + address + b"\0" * 6 + address
    assert reply[20:22] == b"\x00\x02"
    assert reply[28:32] == address == reply[38:42]


def test_who_claims_an_address() -> None:
    other = bytes.fromhex("02ffffffffff")
    for frame in arp_announcements(other, "10.9.0.10"):
        assert claimant(frame, "10.9.0.10", OWN) == other
        assert claimant(frame, "10.9.0.10", other) is None
        assert claimant(frame, "10.9.0.11", OWN) is None
        assert claimant(frame[:41], "10.9.0.10", OWN) is None
        assert claimant(frame[:12] + b"\x08\x00" + frame[14:], "10.9.0.10", OWN) is None
        assert claimant(frame[:14] + b"\x00\x06" + frame[16:], "10.9.0.10", OWN) is None


def test_checksum_of_rfc_1071() -> None:
    assert checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0x220D
    assert checksum(b"\x01") == checksum(b"\x01\x00")


def test_a_tickle_is_an_acknowledgement_with_a_right_checksum() -> None:
    packet = tickle(("10.9.0.10", 2049), ("10.9.0.3", 761))
    assert len(packet) == 40
    assert packet[12:20] == bytes([10, 9, 0, 10, 10, 9, 0, 3])
    source, target, sequence, acknowledged = struct.unpack_from("!HHII", packet, 20)
    assert (source, target, sequence, acknowledged) == (2049, 761, 0, 0)
    assert packet[33] == 0x10
    pseudo = packet[12:20] + struct.pack("!BBH", 0, socket.IPPROTO_TCP, 20)
    assert checksum(pseudo + packet[20:]) == 0
