"""What else is on the host, up or down, is found before anything is made over it."""

from __future__ import annotations

import dataclasses

import pytest

from storage_agent.model.array import Disk
from storage_agent.model.observed import Unobserved
from storage_agent.model.surroundings import ArrayName, Listener, OtherReplica, Surroundings
from storage_agent.policy.surroundings import Collision, collisions, disk_users
from tests.unit.fakes import ARRAY_UUID, NOTHING_ELSE, agent_config, volume_config

CONFIG = agent_config()
VOLUME = volume_config()
HAND = OtherReplica(
    name="hand",
    place="/etc/drbd.d/hand.res:1",
    minors=(7,),
    disks=("/dev/disk/by-id/x", "vdx"),
    address="10.8.0.1",
    port=7700,
)
BLIND = Unobserved(reason="drbdadm sh-resources: Parse error")


def found(*, is_made: bool = False, **seen: object) -> tuple[Collision, ...]:
    around = dataclasses.replace(NOTHING_ELSE, **seen)  # type: ignore[arg-type]
    return collisions(CONFIG, VOLUME, around, is_made=is_made)


def replica(**changes: object) -> OtherReplica:
    return dataclasses.replace(HAND, **changes)  # type: ignore[arg-type]


def test_others_that_have_nothing_of_ours_are_no_collision() -> None:
    elsewhere = ArrayName(path="/dev/md/other", uuid="1", place="the array md1")
    assert found(replicas=(HAND,), arrays=(elsewhere,), listeners=(Listener(address="", port=22),))\
        == ()  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "key", "measured", "remedy"),
    [
        ({"minors": (3, 0)}, ("replica", "minor"), "hand: minor 0", "set minor = 100 under"),
        ({"port": 7789}, ("replica", "port"), "hand: 10.8.0.1:7789", "set port = 8789 under"),
        ({"port": 7789, "address": "0.0.0.0"}, ("replica", "port"), "hand: 0.0.0.0:7789", "set"),
        ({"name": "data"}, (), "data: name data", "rename [volumes.data]"),
        ({"disks": ("/dev/md/data",)}, ("array",), "hand: disk /dev/md/data", "rename"),
    ],
)
def test_what_is_defined_is_taken_also_while_it_is_down(
    changes: dict[str, object], key: tuple[str, ...], measured: str, remedy: str
) -> None:
    (collision,) = found(replicas=(replica(**changes),))
    assert collision.key == key
    assert collision.finding.code == "DRBD_TAKEN"
    assert collision.finding.measured == measured
    assert collision.finding.remedy.startswith(remedy) or remedy in collision.finding.remedy
    assert "/etc/drbd.d/hand.res:1" in collision.finding.summary


def test_another_hosts_end_may_have_the_same_port() -> None:
    assert found(replicas=(replica(port=7789, address="10.8.0.9"),)) == ()


def test_what_is_advised_is_free() -> None:
    others = (replica(minors=(0, 100, 101)), replica(port=7789), replica(port=8789))
    minor, port = (c.finding.remedy for c in found(
        replicas=others, listeners=(Listener(address="1.2.3.4", port=8790),)
    ))  # fmt: skip
    assert "minor = 102 " in minor
    assert "port = 8791 " in port


def test_the_volumes_own_definition_is_no_other() -> None:
    own = replica(name="data", place="/etc/drbd.d/storage-agent-data.res:2", minors=(0,))
    assert found(replicas=(own,)) == ()
    kernel = replica(name="data", place="the kernel", minors=(0,))
    assert [c.key for c in found(replicas=(kernel,))] == [(), ("replica", "minor")]
    assert found(replicas=(kernel,), is_made=True) == ()


@pytest.mark.parametrize(
    ("listener", "said"),
    [
        (Listener(address="", port=7789), "all addresses:7789"),
        (Listener(address="10.8.0.1", port=7789), "10.8.0.1:7789"),
    ],
)
def test_a_port_that_something_listens_at(listener: Listener, said: str) -> None:
    (collision,) = found(replicas=BLIND, listeners=(listener,))[1:]
    assert collision.finding.code == "PORT_TAKEN"
    assert said in collision.finding.measured
    assert "ss -ltnp 'sport = :7789'; set port = 8789" in collision.finding.remedy
    assert [c.finding.code for c in found(listeners=(listener,), is_made=True)] == []


def test_a_listener_at_another_address_is_no_collision() -> None:
    assert found(listeners=(Listener(address="127.0.0.1", port=7789),)) == ()


def test_a_name_below_dev_md() -> None:
    taken = ArrayName(path="/dev/md/data", uuid="9:9:9:9", place="the array md127")
    (collision,) = found(arrays=(taken,))
    assert collision.finding.code == "ARRAY_NAME_TAKEN"
    assert collision.finding.measured == "array 9:9:9:9"
    (nameless,) = found(arrays=(dataclasses.replace(taken, uuid=""),))
    assert nameless.finding.measured == "array without a UUID"
    assert found(arrays=(dataclasses.replace(taken, uuid=ARRAY_UUID.upper()),)) == ()


def test_what_cannot_be_seen_blocks() -> None:
    blind = found(replicas=BLIND, arrays=BLIND, listeners=BLIND)
    assert [c.finding.code for c in blind] == ["SURROUNDINGS_UNSEEN"] * 3
    assert {c.finding.measured for c in blind} == {BLIND.reason}
    local = dataclasses.replace(VOLUME, replica=None)
    around = Surroundings(replicas=BLIND, arrays=(), listeners=BLIND)
    assert collisions(CONFIG, local, around, is_made=False) == ()
    (unseen, taken) = found(
        replicas=(replica(port=7789),), listeners=BLIND
    )[::-1]  # fmt: skip
    assert unseen.key == ("replica", "port")
    assert "port = 8789" in taken.finding.remedy


def test_whose_disk_it_is() -> None:
    disk = Disk(name="vdx", path="/dev/vdx", serial="s", size_bytes=1)
    part = Disk(name="vdy", path="/dev/vdy", serial="s", size_bytes=1, partitions=("vdx",))
    other = Disk(name="vdz", path="/dev/vdz", serial="s", size_bytes=1)
    around = dataclasses.replace(NOTHING_ELSE, replicas=(HAND,))
    assert disk_users(disk, around) == ("DRBD resource hand (/etc/drbd.d/hand.res:1)",)
    assert disk_users(part, around) != ()
    assert disk_users(other, around) == ()
    assert disk_users(disk, dataclasses.replace(around, replicas=BLIND)) == ()


def test_a_host_that_drbd_knows_by_another_name() -> None:
    config = agent_config()
    for name, wanted in (("alpha", []), ("", []), ("alpha.example.org", ["HOST_NAME"])):
        around = dataclasses.replace(NOTHING_ELSE, node_name=name)
        found = collisions(config, config.volumes["data"], around, is_made=False)
        assert [(one.key, one.finding.code) for one in found] == [
            (("replica",), code) for code in wanted
        ]
