"""A configuration that is right in itself, on a host that it does not fit."""

from __future__ import annotations

import dataclasses

import pytest

from storage_agent.model.observed import Unobserved
from storage_agent.model.surroundings import HostInterface, NetworkView, OtherReplica
from storage_agent.policy.host_check import host_collisions
from storage_agent.policy.network import network_collisions
from tests.unit.fakes import NOTHING_ELSE, agent_config, volume_config

CONFIG = agent_config()
LINK = HostInterface(name="eth1", up=True, addresses=("10.8.0.1/24", "fd00::1/64"))
SERVICE = HostInterface(name="eth2", up=True, addresses=("10.9.0.1/24", "fd00:9::1/64"))
FIT = NetworkView(interfaces=(LINK, SERVICE), answering={})


def found(*interfaces: HostInterface, **answering: str) -> list[tuple[str, str, str]]:
    view = NetworkView(
        interfaces=interfaces, answering={a.replace("_", "."): mac for a, mac in answering.items()}
    )
    return [
        (".".join(c.key), c.finding.code, c.finding.measured)
        for c in network_collisions(CONFIG, view)
    ]


def test_what_fits() -> None:
    assert found(LINK, SERVICE) == []
    # Without any address of that family there is nothing to compare.
    assert found(LINK, dataclasses.replace(SERVICE, addresses=("fd00:9::1/64",))) == []
    assert found(LINK, dataclasses.replace(SERVICE, addresses=())) == []


@pytest.mark.parametrize(
    ("interfaces", "expected"),
    [
        ((SERVICE,), ("hosts.alpha.address", "HOST_ADDRESS", "10.9.0.1/24, fd00:9::1/64")),
        ((LINK,), ("volumes.data.nfs.interface", "NO_INTERFACE", "interfaces: eth1")),
        (
            (LINK, dataclasses.replace(SERVICE, up=False)),
            ("volumes.data.nfs.interface", "INTERFACE_DOWN", "down"),
        ),
        (
            (LINK, dataclasses.replace(SERVICE, addresses=("10.9.0.10/24",))),
            ("volumes.data.nfs.address", "ADDRESS_TAKEN", "on eth2"),
        ),
        (
            (LINK, dataclasses.replace(SERVICE, addresses=("10.7.0.1/24",))),
            ("volumes.data.nfs.address", "ADDRESS_OUTSIDE", "10.7.0.1/24"),
        ),
    ],
)
def test_what_does_not_fit_is_named_by_its_key(
    interfaces: tuple[HostInterface, ...], expected: tuple[str, str, str]
) -> None:
    assert found(*interfaces) == [expected]


def test_a_service_address_that_answers() -> None:
    assert found(LINK, SERVICE, **{"10_9_0_10": "52:54:00:00:00:01"}) == [
        ("volumes.data.nfs.address", "ADDRESS_ANSWERS", "by 52:54:00:00:00:01")
    ]


def test_no_interface_at_all() -> None:
    assert [code for _, code, _ in found()] == ["HOST_ADDRESS", "NO_INTERFACE"]


def test_all_of_it_by_whole_keys_and_what_is_not_seen_left_out() -> None:
    volume = volume_config()
    unmade = dataclasses.replace(volume, array=dataclasses.replace(volume.array, uuid={}))
    local = dataclasses.replace(unmade, name="local", nfs=None, replica=None)
    config = agent_config(unmade, local)
    hand = OtherReplica(name="hand", place="/etc/drbd.d/hand.res:1", minors=(0,))
    around = dataclasses.replace(
        NOTHING_ELSE, replicas=(hand,), listeners=Unobserved(reason="no /proc")
    )
    keys = [".".join(c.key) for c in host_collisions(config, around, FIT)]
    assert keys == ["volumes.data.replica.minor"]
    assert [".".join(c.key) for c in host_collisions(config, around, None)] == keys
