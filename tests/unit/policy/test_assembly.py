"""Complete and current, or refused with the member named."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from storage_agent.model.array import Array, ArrayMember, ArrayState, ArrayView, Superblock
from storage_agent.model.finding import Severity
from storage_agent.model.observed import Unobserved
from storage_agent.model.replica import DiskState, Role
from storage_agent.model.snapshot import Facet
from storage_agent.policy.array.assembly import (
    assembly_findings,
    only_missing,
    unseen_replica_findings,
)
from tests.unit.fakes import (
    ARRAY_UUID,
    SERIALS,
    FakeHost,
    volume_config,
)
from tests.unit.replicas import in_sync_replica, lost_peer

VOLUME = volume_config()
SYNCED = in_sync_replica()


def superblock(serial: str, role: int | None, **changes: object) -> Superblock:
    block = Superblock(
        disk=f"vd{serial[-1]}",
        serial=serial,
        array_uuid=ARRAY_UUID,
        device_uuid=f"{serial}:0:0:0",
        name="alpha:data",
        level="raid10",
        raid_disks=4,
        role=role,
        events=19,
        array_state="AAAA",
    )
    return dataclasses.replace(block, **changes)  # type: ignore[arg-type]


WHOLE = tuple(superblock(serial, role) for role, serial in enumerate(SERIALS))


def codes(
    attached: tuple[Superblock, ...] = WHOLE,
    *,
    missing: tuple[str, ...] = (),
    blank: tuple[str, ...] = (),
    array: Array | None = None,
) -> list[str]:
    snapshot = FakeHost(array=None).seen(VOLUME)
    view = ArrayView(array=array, attached=attached, missing=missing, blank=blank)
    found = assembly_findings(VOLUME, dataclasses.replace(snapshot, array=view))
    assert all(finding.remedy for finding in found)
    return [finding.code for finding in found]


def test_a_complete_set() -> None:
    assert codes() == []


def test_a_missing_member() -> None:
    assert codes(WHOLE[:3], missing=("alpha-3",)) == ["MEMBER_MISSING"]


def test_a_stale_member_is_named_with_both_counts() -> None:
    stale = dataclasses.replace(WHOLE[2], events=17)
    snapshot = FakeHost(array=None).seen(VOLUME)
    view = ArrayView(array=None, attached=(*WHOLE[:2], stale, WHOLE[3]), missing=())
    (finding,) = assembly_findings(VOLUME, dataclasses.replace(snapshot, array=view))
    assert finding.code == "MEMBER_STALE"
    assert "alpha-2" in finding.summary
    assert (finding.measured, finding.limit) == (
        "event count 17",
        "event count 19, as on alpha-0, alpha-1, alpha-3",
    )


def test_a_foreign_member() -> None:
    foreign = dataclasses.replace(WHOLE[3], array_uuid="9:9:9:9", name="beta:data")
    assert codes((*WHOLE[:3], foreign)) == ["MEMBER_FOREIGN"]


def test_a_clone_that_is_not_configured() -> None:
    clone = superblock("clone-of-3", 3)
    assert codes((*WHOLE, clone)) == ["MEMBER_UNEXPECTED", "MEMBER_DUPLICATE"]


def test_a_blank_disk_in_a_members_place() -> None:
    assert codes(WHOLE[:3], blank=("alpha-3",)) == ["MEMBER_BLANK"]


def test_a_disk_that_carries_something_else() -> None:
    snapshot = FakeHost(array=None).seen(VOLUME)
    view = ArrayView(array=None, attached=WHOLE[:3], missing=(), other=("alpha-3",))
    (finding,) = assembly_findings(VOLUME, dataclasses.replace(snapshot, array=view))
    assert finding.code == "MEMBER_NOT_RAID"


def member(slot: int | None, *state: str) -> ArrayMember:
    return ArrayMember(disk=f"vd{slot}", serial=f"alpha-{slot}", slot=slot, state=state)


@pytest.mark.parametrize(
    ("degraded", "sync_action", "members", "remedy"),
    [
        (1, "idle", (), "replace the disk"),
        # Being rebuilt: md counts it as missing until that has ended.
        (1, "recover", (member(2, "in_sync"), member(3, "spare")), "no disk is to be replaced"),
        # One of two.
        (2, "recover", (member(3, "spare"),), "replace the disk"),
        # Neither a spare without a slot nor what has failed is rebuilt.
        (1, "recover", (member(None, "spare"), member(3, "faulty")), "replace the disk"),
        (1, "frozen", (member(3, "spare"),), "no disk is to be replaced; rebuilding is frozen"),
    ],
)
def test_a_running_degraded_array_is_a_warning(
    degraded: int, sync_action: str, members: tuple[ArrayMember, ...], remedy: str
) -> None:
    array = Array(
        name="md127",
        uuid=ARRAY_UUID,
        level="raid10",
        state=ArrayState.CLEAN,
        raid_disks=4,
        degraded=degraded,
        size_bytes=1,
        sync_action=sync_action,
        members=members,
    )
    snapshot = FakeHost().seen(VOLUME)
    view = ArrayView(array=array, attached=(), missing=("alpha-3",))
    (finding,) = assembly_findings(VOLUME, dataclasses.replace(snapshot, array=view))
    assert (finding.code, finding.severity) == ("ARRAY_DEGRADED", Severity.WARNING)
    assert f"{4 - degraded} of 4" in finding.measured
    assert finding.remedy.startswith(remedy)


def test_not_created_and_not_seen() -> None:
    volume = dataclasses.replace(VOLUME, array=dataclasses.replace(VOLUME.array, uuid={}))
    (finding,) = assembly_findings(volume, FakeHost().seen(volume))
    assert finding.code == "ARRAY_NOT_CREATED"
    blind = FakeHost(blind={Facet.ARRAY: "sysfs unreadable"}).seen(VOLUME)
    assert isinstance(blind.array, Unobserved)
    assert [finding.code for finding in assembly_findings(VOLUME, blind)] == ["UNOBSERVED"]


def test_no_disk_is_attached_to_what_was_not_seen() -> None:
    blind = FakeHost(blind={Facet.REPLICA: "no answer"}).seen(VOLUME)
    assert [f.code for f in unseen_replica_findings(blind)] == ["UNOBSERVED"]
    assert unseen_replica_findings(FakeHost().seen(VOLUME)) == ()
    # Nor is waiting for disks of any other kind for that.
    assert assembly_findings(VOLUME, blind) == ()


def test_waiting_helps_only_while_nothing_but_disks_is_missing() -> None:
    snapshot = FakeHost(array=None).seen(VOLUME)
    late = ArrayView(array=None, attached=WHOLE[:3], missing=("alpha-3",))
    assert only_missing(assembly_findings(VOLUME, dataclasses.replace(snapshot, array=late)))
    stale = dataclasses.replace(WHOLE[0], events=1)
    worse = dataclasses.replace(late, attached=(stale, *WHOLE[1:3]))
    assert not only_missing(assembly_findings(VOLUME, dataclasses.replace(snapshot, array=worse)))
    assert not only_missing(())


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ["ATTACH_ALONE"]),
        ({"disk": DiskState.FAILED}, ["ATTACH_ALONE"]),
        ({"peer": None}, ["ATTACH_ALONE"]),
        ({"peer": SYNCED.peer}, []),
        ({"disk": DiskState.UP_TO_DATE}, []),
        ({"role": Role.SECONDARY}, []),
    ],
    ids=["lone", "failing", "never-connected", "connected", "with-disk", "secondary"],
)
def test_a_lone_primary_does_not_take_its_old_disk_back(
    changes: dict[str, Any], expected: list[str]
) -> None:
    lone = dataclasses.replace(lost_peer(SYNCED), role=Role.PRIMARY, disk=DiskState.DISKLESS)
    host = FakeHost(replica=dataclasses.replace(lone, **changes))
    for array in (ArrayState.CLEAN, None):
        host.array = array
        found = assembly_findings(VOLUME, host.seen(VOLUME))
        assert [f.code for f in found if f.code == "ATTACH_ALONE"] == expected
