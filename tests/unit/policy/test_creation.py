"""Nothing that carries, holds or mounts anything is ever overwritten."""

from __future__ import annotations

import dataclasses

import pytest

from storage_agent.model.array import Disk
from storage_agent.model.configuration import AgentConfig
from storage_agent.operations.creation import with_identity
from storage_agent.policy.creation import creation_findings
from tests.unit.fakes import SERIALS, agent_config, volume_config


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
    return [finding.code for finding in creation_findings(chosen, volume, disks)]


def test_blank_disks_may_be_used() -> None:
    assert codes(blank()) == []


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"signatures": ("ext4",)}, "ext4"),
        ({"holders": ("md0",)}, "md0"),
        ({"mounted_at": ("/home",)}, "/home"),
        ({"partitions": ("vd2p1",)}, "vd2p1"),
    ],
)
def test_a_disk_in_use_is_named_with_what_uses_it(changes: dict[str, object], named: str) -> None:
    config = uncreated()
    (finding,) = creation_findings(config, config.volumes["data"], blank(**changes))
    assert finding.code == "DISK_IN_USE"
    assert "alpha-2" in finding.summary
    assert named in finding.measured


def test_missing_duplicate_and_unequal() -> None:
    assert codes(blank()[:3]) == ["MEMBER_MISSING"]
    assert codes(blank(serial="alpha-1")) == ["MEMBER_DUPLICATE", "MEMBER_MISSING"]
    assert codes(blank(size_bytes=128 << 20)) == ["DISK_SIZES_DIFFER"]


def test_fewer_disks_than_the_level_needs() -> None:
    config = uncreated()
    (*missing, few) = creation_findings(config, config.volumes["data"], blank()[:1])
    assert [finding.code for finding in missing] == ["MEMBER_MISSING"] * 3
    assert (few.code, few.measured, few.limit) == ("TOO_FEW_DISKS", "1 usable", "at least 2")


def test_an_existing_volume_is_not_created_again() -> None:
    assert codes(blank(), agent_config()) == ["ALREADY_CREATED"]


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
