"""Nothing that carries, holds or mounts anything is ever overwritten."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from storage_agent.model.array import Disk
from storage_agent.model.configuration import AgentConfig
from storage_agent.model.surroundings import OtherReplica
from storage_agent.operations.creation import with_identity
from storage_agent.policy.creating.creation import creation_findings
from tests.unit.fakes import NOTHING_ELSE, SERIALS, agent_config, volume_config


def uncreated() -> AgentConfig:
    volume = volume_config()
    return agent_config(
        dataclasses.replace(volume, array=dataclasses.replace(volume.array, uuid={}))
    )


def blank(**changes: object) -> tuple[Disk, ...]:
    """Four blank disks, the third with changes."""
    disks = [
        Disk(name=f"vd{i}", path=f"/dev/vd{i}", serial=serial, size_bytes=256 << 20)
        for i, serial in enumerate(SERIALS)
    ]
    disks[2] = dataclasses.replace(disks[2], **changes)  # type: ignore[arg-type]
    return tuple(disks)


def codes(disks: tuple[Disk, ...], config: AgentConfig | None = None) -> list[str]:
    chosen = config or uncreated()
    volume = with_identity(chosen, chosen.volumes["data"])
    return [finding.code for finding in creation_findings(chosen, volume, disks, NOTHING_ELSE)]


def test_blank_disks_may_be_used() -> None:
    assert codes(blank()) == []


@pytest.mark.parametrize(
    ("changes", "named", "is_used"),
    [
        ({"signatures": ("ext4",)}, "ext4", False),
        ({"holders": ("md0",)}, "md0", True),
        ({"mounted_at": ("/home",)}, "/home", True),
        ({"partitions": ("vd2p1",)}, "vd2p1", False),
        ({"claimed": True}, "exclusively", True),
    ],
)
def test_a_disk_in_use_is_named_with_what_uses_it(
    changes: dict[str, object], named: str, is_used: bool
) -> None:
    config = uncreated()
    (finding,) = creation_findings(config, config.volumes["data"], blank(**changes), NOTHING_ELSE)
    assert finding.code == "DISK_IN_USE"
    assert "alpha-2" in finding.summary
    assert named in finding.measured
    assert ("wipefs --all" in finding.remedy) is not is_used


def test_no_disk_that_somebody_has_is_advised_to_be_wiped() -> None:
    """A signature beside another use: not even for the signature's sake."""
    config = uncreated()
    disks = blank(signatures=("swap",), claimed=True)
    for finding in creation_findings(config, config.volumes["data"], disks, NOTHING_ELSE):
        assert finding.code == "DISK_IN_USE"
        assert "wipefs" not in finding.remedy
    hand = OtherReplica(name="hand", place="hand.res:1", disks=("vd2",))
    around = dataclasses.replace(NOTHING_ELSE, replicas=(hand,))
    (finding,) = creation_findings(config, config.volumes["data"], blank(), around)
    assert finding.measured == "DRBD resource hand (hand.res:1)"
    assert "wipefs" not in finding.remedy


def test_missing_duplicate_and_unequal() -> None:
    assert codes(blank()[:3]) == ["MEMBER_MISSING"]
    assert codes(blank(serial="alpha-1")) == ["MEMBER_DUPLICATE", "MEMBER_MISSING"]
    assert codes(blank(size_bytes=128 << 20)) == ["DISK_SIZES_DIFFER"]


def test_fewer_disks_than_the_level_needs() -> None:
    config = uncreated()
    (*missing, few) = creation_findings(config, config.volumes["data"], blank()[:1], NOTHING_ELSE)
    assert [finding.code for finding in missing] == ["MEMBER_MISSING"] * 3
    assert (few.code, few.measured, few.limit) == ("TOO_FEW_DISKS", "1 usable", "at least 2")


def test_an_existing_volume_is_not_created_again() -> None:
    assert codes(blank(), agent_config()) == ["ALREADY_CREATED"]


@pytest.mark.parametrize(
    ("role", "disks", "expected"),
    [
        ("join", {}, []),
        ("first", {}, ["ALREADY_CREATED"]),
        ("join", {"signatures": ("linux_raid_member",)}, ["ALREADY_CREATED"]),
        ("join", {"holders": ("md127",)}, ["ALREADY_CREATED"]),
    ],
)
def test_a_host_with_new_disks_alone_takes_the_other_ones_copy_again(
    role: str, disks: dict[str, Any], expected: list[str]
) -> None:
    config = agent_config()
    found = creation_findings(
        config, config.volumes["data"], blank(**disks), NOTHING_ELSE, role=role
    )
    assert [finding.code for finding in found] == expected
    fewer = creation_findings(
        config, config.volumes["data"], blank()[:3], NOTHING_ELSE, role="join"
    )
    assert [finding.code for finding in fewer] == ["ALREADY_CREATED"]


def test_the_identity_is_the_same_on_both_hosts_and_other_for_other_disks() -> None:
    config = uncreated()
    volume = config.volumes["data"]
    here = with_identity(config, volume)
    there = with_identity(dataclasses.replace(config, host="beta"), volume)
    assert here == there
    assert set(here.array.uuid) == {"alpha", "beta"}
    assert here.array.uuid["alpha"] != here.array.uuid["beta"]
    disks = {**volume.array.disks, "beta": ("beta-0", "beta-1", "beta-2", "other")}
    other = dataclasses.replace(volume, array=dataclasses.replace(volume.array, disks=disks))
    assert with_identity(config, other).array.uuid["alpha"] != here.array.uuid["alpha"]
