"""What is given to ip and nft, and which gateway is taken."""

from __future__ import annotations

import dataclasses

from storage_agent.nfs_server.link import (
    address_batch,
    canary_batch,
    canary_peer_batch,
    door_rules,
    hardware_address,
    link_batch,
    parse_gateway,
)

from .settings import SETTINGS

ROUTES = (
    "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\n"
    "eth0\t00000000\t0202000A\t0003\t0\t0\t0\t00000000\n"
    "eth2\t0000090A\t00000000\t0001\t0\t0\t0\t00FFFFFF\n"
    "eth2\t00000000\t0100090A\t0003\t0\t0\t0\t00000000\n"
)


def test_a_macvlan_has_a_hardware_address_of_its_own_on_each_host() -> None:
    mac = hardware_address(SETTINGS, "alpha")
    assert mac == hardware_address(dataclasses.replace(SETTINGS, interface="enp3s0"), "alpha")
    assert mac != hardware_address(dataclasses.replace(SETTINGS, volume="mail"), "alpha")
    assert mac != hardware_address(SETTINGS, "beta")
    assert mac[0] & 0b11 == 0b10, "locally administered, not multicast"
    assert link_batch(SETTINGS, "alpha", "/proc/1/fd/9") == (
        "link add link eth2 name nfs0 netns /proc/1/fd/9 "
        f"address {mac.hex(':')} type macvlan mode bridge\n"
    )


def test_an_ipvlan_has_its_parents() -> None:
    batch = link_batch(dataclasses.replace(SETTINGS, link="ipvlan"), "alpha", "/proc/1/fd/9")
    assert batch == "link add link eth2 name nfs0 netns /proc/1/fd/9 type ipvlan mode l2\n"


def test_addresses_are_set_and_the_link_stays_down() -> None:
    assert address_batch(SETTINGS) == (
        "link set lo up\naddress replace 10.9.0.10/24 brd + dev nfs0\n"
    )


def test_the_canarys_wire() -> None:
    assert "peer name canary1 netns /proc/1/fd/9\n" in canary_batch("/proc/1/fd/9")
    assert "route add 10.9.0.10/32 via 169.254.253.1\n" in canary_peer_batch(SETTINGS)


def test_the_door_lets_acknowledgements_in() -> None:
    rules = door_rules()
    assert "iifgroup 99 tcp dport 2049 meta length > 100 drop" in rules
    assert "iifgroup 99 tcp dport 2049 tcp flags & (syn | ack) == syn drop" in rules
    assert "policy accept" in rules


def test_the_gateway_of_the_parent() -> None:
    assert parse_gateway(ROUTES, SETTINGS) == "10.9.0.1"


def test_no_gateway_that_the_service_address_cannot_reach() -> None:
    other = dataclasses.replace(SETTINGS, address="192.168.7.10/24")
    assert parse_gateway(ROUTES, other) is None
    assert parse_gateway(ROUTES, dataclasses.replace(SETTINGS, interface="eth1")) is None
    assert parse_gateway("head\n", SETTINGS) is None
