"""Interfaces and addresses, and the question who else answers for an address."""

from __future__ import annotations

import json

import pytest

from storage_agent.host.nfs.address import Addresses, build_probe, parse_answer, parse_ip_addresses
from storage_agent.model.errors import Missing, ParseError
from tests.unit.host.recorded import ScriptedRunner, recorded

ANSWER = recorded("ip-address", "6.1.0", "link-macvlan-no-carrier-namespace")
OWN = bytes.fromhex("1a958c790e18")
OTHER = bytes.fromhex("a23c68fa7097")


def arp(operation: int, sender: bytes, claimed: str, *, hardware: int = 1) -> bytes:
    address = bytes(int(part) for part in claimed.split("."))
    head = hardware.to_bytes(2, "big") + b"\x08\x00\x06\x04" + operation.to_bytes(2, "big")
    return head + sender + address + OWN + bytes(4)


def test_interfaces() -> None:
    found = {interface.name: interface for interface in parse_ip_addresses(ANSWER.stdout)}
    assert list(found) == ["lo", "v0", "mv0", "v3", "v2"]
    assert found["v0"].addresses[:2] == ("10.9.0.1/24", "fd00::1/64")
    assert {name: (i.up, i.carrier) for name, i in found.items()} == {
        "lo": (True, True),
        "v0": (True, True),
        "mv0": (False, False),
        "v3": (False, False),
        "v2": (True, False),
    }


def test_unknown_key_changes_nothing() -> None:
    entries = json.loads(ANSWER.stdout)
    for entry in entries:
        entry["xxx"] = {"bla": 1}
        for address in entry["addr_info"]:
            address["xxx"] = "bla"
    assert parse_ip_addresses(json.dumps(entries)) == parse_ip_addresses(ANSWER.stdout)


@pytest.mark.parametrize(
    "text",
    [
        ANSWER.stdout.replace('"ifname":"mv0"', '"ifname":"v0"'),
        ANSWER.stdout[:-20],
        "{}{}",
        "[1]",
        "lo: up",
    ],
)
def test_wrong_value(text: str) -> None:
    with pytest.raises(ParseError):
        parse_ip_addresses(text)


@pytest.mark.parametrize(
    ("right", "wrong", "kept"),
    [
        ('"10.9.0.1"', '"10.9.0.500"', {"up", "carrier"}),
        ('"prefixlen":24', '"prefixlen":240', {"up", "carrier"}),
        ('"addr_info"', '"xxx"', {"up", "carrier"}),
        ('"flags"', '"xxx"', {"addresses"}),
    ],
)
def test_what_is_not_understood_of_an_interface_is_not_there(
    right: str, wrong: str, kept: set[str]
) -> None:
    assert right in ANSWER.stdout
    whole = parse_ip_addresses(ANSWER.stdout)
    odd = parse_ip_addresses(ANSWER.stdout.replace(right, wrong))
    assert [one.name for one in odd] == [one.name for one in whole]
    for before, after in zip(whole, odd, strict=True):
        assert all(getattr(before, name) == getattr(after, name) for name in kept)
        assert set(after.addresses) <= set(before.addresses)
        assert (after.up, after.carrier) <= (before.up, before.carrier)


def test_here_and_require_up() -> None:
    addresses = Addresses(ScriptedRunner(ip=ANSWER))
    assert addresses.here("10.9.0.1/24") == "v0"
    assert addresses.here("10.9.0.1") == "v0"
    assert addresses.here("10.9.0.10") is None
    assert addresses.here("9.0.1") is None
    assert addresses.require_up("v0").hardware_address == "5a:f3:08:ac:a9:87"


@pytest.mark.parametrize(
    ("name", "code"), [("v2", "INTERFACE_DOWN"), ("mv0", "INTERFACE_DOWN"), ("x", "NO_INTERFACE")]
)
def test_require_up_refuses(name: str, code: str) -> None:
    with pytest.raises(Missing) as caught:
        Addresses(ScriptedRunner(ip=ANSWER)).require_up(name)
    assert caught.value.code == code
    assert name in caught.value.message


def test_probe_claims_nothing() -> None:
    probe = build_probe(OWN, "10.9.0.10")
    assert probe.hex() == "0001080006040001" + OWN.hex() + "00000000" + "000000000000" + "0a09000a"


def test_answers() -> None:
    padded = arp(2, OTHER, "10.9.0.10") + bytes(18)
    assert parse_answer(padded, "10.9.0.10", OWN) == "a2:3c:68:fa:70:97"
    assert parse_answer(arp(1, OTHER, "10.9.0.10"), "10.9.0.10", OWN) is not None, "it announces"


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(arp(2, OTHER, "10.9.0.11"), id="another address"),
        pytest.param(arp(1, OTHER, "0.0.0.0"), id="another one's probe"),
        pytest.param(arp(2, OWN, "10.9.0.10"), id="our own"),
        pytest.param(arp(3, OTHER, "10.9.0.10"), id="not a question, not an answer"),
        pytest.param(arp(2, OTHER, "10.9.0.10", hardware=6), id="not Ethernet"),
        pytest.param(arp(2, OTHER, "10.9.0.10")[:20], id="cut off"),
        pytest.param(b"", id="empty"),
    ],
)
def test_no_answers(frame: bytes) -> None:
    assert parse_answer(frame, "10.9.0.10", OWN) is None
