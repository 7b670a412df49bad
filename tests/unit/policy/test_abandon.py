"""An unfinished create goes on only as what it was begun as, and only what it made is erased."""

from __future__ import annotations

import dataclasses

import pytest

from storage_agent.model.array import Array, ArrayState, ArrayView, Disk, Superblock
from storage_agent.model.creation import Creation, FileState
from storage_agent.model.finding import Finding
from storage_agent.model.observed import Unobserved
from storage_agent.model.replica import (
    ConnectionState,
    DiskState,
    GenerationIdentifiers,
    Replica,
    Role,
)
from storage_agent.policy.creating.abandon import (
    Begun,
    abandon_findings,
    going_on_findings,
    unfinished_findings,
)
from storage_agent.policy.creating.creation import creation_findings
from tests.unit.fakes import (
    ARRAY_UUID,
    FILESYSTEM_UUID,
    NOTHING_ELSE,
    NOTHING_MADE,
    SERIALS,
    FakeHost,
    agent_config,
    volume_config,
)
from tests.unit.replicas import in_sync_replica, lost_peer

CONFIG = agent_config()
VOLUME = volume_config()
BLIND = Unobserved(reason="it hangs")
CREATION = Creation(
    operation_id="op-1",
    role="first",
    array_uuid=ARRAY_UUID,
    filesystem_uuid=FILESYSTEM_UUID,
    serials=SERIALS,
)
ALONE = lost_peer(in_sync_replica())
OLD = GenerationIdentifiers(current="00000000000000A1", bitmap="00000000000000B1")


def block(serial: str, uuid: str = ARRAY_UUID) -> Superblock:
    return Superblock(
        disk=serial, serial=serial, array_uuid=uuid, device_uuid="", name="data", level="raid10",
        raid_disks=4, role=0, events=1, array_state="",
    )  # fmt: skip


def array(uuid: str = ARRAY_UUID, state: ArrayState = ArrayState.ACTIVE) -> Array:
    return Array(
        name="md127", uuid=uuid, level="raid10", state=state, raid_disks=4, degraded=0,
        size_bytes=1, sync_action="idle", members=(),
    )  # fmt: skip


def view(*serials: str, **more: object) -> ArrayView:
    kept: dict[str, object] = {"array": None, "missing": ()} | more
    return ArrayView(attached=tuple(map(block, serials)), **kept)  # type: ignore[arg-type]


ALL = view(*SERIALS, array=array())


def begun(
    *,
    seen: ArrayView | Unobserved | None = ALL,
    replica: Replica | Unobserved | None = None,
    role: str = "first",
    creation: Creation = CREATION,
    **made: object,
) -> Begun:
    snapshot = dataclasses.replace(FakeHost().seen(VOLUME), array=seen, replica=replica)
    return Begun(
        creation=creation,
        made=dataclasses.replace(NOTHING_MADE, **made),  # type: ignore[arg-type]
        snapshot=snapshot,
        role=role,
    )


def going_on(found: Begun) -> list[str]:
    return [finding.code for finding in going_on_findings(CONFIG, VOLUME, found)]


def abandoning(found: Begun | None) -> tuple[Finding, ...]:
    snapshot = (found or begun()).snapshot
    return abandon_findings(VOLUME, snapshot, found)


def codes(found: Begun | None) -> list[str]:
    return [finding.code for finding in abandoning(found)]


def test_what_was_begun_goes_on() -> None:
    assert going_on(begun()) == []
    assert going_on(begun(seen=view())) == []
    assert going_on(begun(seen=view(*SERIALS))) == []
    assert going_on(begun(seen=None)) == []


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"role": "join"}, "role"),
        ({"array_uuid": "9:9:9:9"}, "array"),
        ({"filesystem_uuid": ""}, "filesystem"),
        ({"serials": ("x", "y")}, "disks"),
    ],
)
def test_another_thing_does_not_go_on_with_it(change: dict[str, object], what: str) -> None:
    creation = dataclasses.replace(CREATION, **change)  # type: ignore[arg-type]
    (finding,) = going_on_findings(CONFIG, VOLUME, begun(creation=creation, seen=view()))
    assert finding.code == "CREATION_CHANGED"
    assert f"another {what}" in finding.summary
    assert "storage-agent create data --abandon" in finding.remedy


def test_an_array_on_some_disks_cannot_be_gone_on_with() -> None:
    assert going_on(begun(seen=view("alpha-0", "alpha-1"))) == ["CREATION_PARTIAL"]
    assert going_on(begun(seen=view("alpha-0", array=array()))) == []
    stopped = array(state=ArrayState.INACTIVE)
    assert going_on(begun(seen=view("alpha-0", array=stopped))) == ["CREATION_PARTIAL"]
    assert going_on(begun(seen=BLIND)) == ["UNOBSERVED"]


def test_a_copy_that_met_another_is_not_the_good_one_by_itself() -> None:
    assert going_on(begun(replica=ALONE, generation=OLD)) == ["CREATION_OVERTAKEN"]
    assert going_on(begun(replica=in_sync_replica(), generation=OLD)) == []
    without_peer = dataclasses.replace(ALONE, peer=None)
    assert going_on(begun(replica=without_peer, generation=OLD)) == ["CREATION_OVERTAKEN"]
    for current, bitmap in (("4", "0"), ("5", "0"), ("A1", "4"), ("A1", "5")):
        fresh = GenerationIdentifiers(current=current.zfill(16), bitmap=bitmap.zfill(16))
        assert going_on(begun(replica=ALONE, generation=fresh)) == []
    # Declared the good one in two steps, as DRBD does it now and then; a sync leaves a history.
    for bitmap, history, found in (
        ("B1", ("0", "0"), []),
        ("B1", ("4", "0"), ["CREATION_OVERTAKEN"]),
        ("0", ("0", "0"), ["CREATION_OVERTAKEN"]),
    ):
        seen = GenerationIdentifiers(current="A1", bitmap=bitmap, history=history)
        assert going_on(begun(replica=ALONE, generation=seen)) == found
    join = dataclasses.replace(CREATION, role="join")
    assert going_on(begun(replica=ALONE, generation=OLD, role="join", creation=join)) == []
    assert going_on(begun(replica=BLIND)) == ["UNOBSERVED"]
    assert going_on(begun(replica=ALONE, generation=BLIND)) == ["UNOBSERVED"]
    assert going_on(begun(replica=ALONE)) == []


def test_its_own_disks_are_not_in_the_way_and_others_are() -> None:
    config = agent_config(
        dataclasses.replace(VOLUME, array=dataclasses.replace(VOLUME.array, uuid={}))
    )
    disks = tuple(
        Disk(name=s, path=f"/dev/{s}", serial=s, size_bytes=1, claimed=True,
             signatures=("linux_raid_member",), holders=("md127",))
        for s in SERIALS
    )  # fmt: skip

    def found(seen: ArrayView | None, disks: tuple[Disk, ...] = disks) -> list[str]:
        return [
            f.code for f in creation_findings(config, VOLUME, disks, NOTHING_ELSE, begun(seen=seen))
        ]

    assert found(ALL) == []
    assert found(view(*SERIALS, array=array("9:9:9:9"))) != []
    assert found(None) != []
    mounted = (dataclasses.replace(disks[0], mounted_at=("/x",)), *disks[1:])
    assert set(found(ALL, mounted)) == {"DISK_IN_USE"}
    parted = (dataclasses.replace(disks[0], partitions=("x1",)), *disks[1:])
    assert set(found(ALL, parted)) == {"DISK_IN_USE"}
    changed = begun(creation=dataclasses.replace(CREATION, role="join"))
    (finding,) = creation_findings(config, VOLUME, disks, NOTHING_ELSE, changed)
    assert finding.code == "CREATION_CHANGED"


def test_others_are_told_that_it_is_unfinished() -> None:
    (first,) = unfinished_findings(VOLUME, CREATION)
    assert first.code == "CREATION_UNFINISHED"
    assert first.remedy.startswith("go on with it: storage-agent create data --first; or")
    (join,) = unfinished_findings(VOLUME, dataclasses.replace(CREATION, role="join"))
    assert "storage-agent create data --join;" in join.remedy


def test_nothing_but_an_unfinished_one_is_taken_back() -> None:
    assert codes(None) == ["NOTHING_TO_ABANDON"]
    made = (("drbd", "1f"), ("ext4", FILESYSTEM_UUID))
    written = {"etc/x": FileState.WRITTEN, "etc/y": FileState.GONE}
    assert codes(begun(signatures=made, files=written, is_pristine=True)) == []
    assert codes(begun(seen=None)) == []
    assert codes(begun(seen=view("alpha-0", array=array(uuid="")))) == []


def test_a_file_that_somebody_has_changed_is_named() -> None:
    (finding,) = abandoning(begun(files={"etc/drbd.d/x.res": FileState.CHANGED}))
    assert finding.code == "CREATION_CHANGED"
    assert "/etc/drbd.d/x.res" in finding.summary
    assert codes(begun(files=BLIND)) == ["UNOBSERVED"]


@pytest.mark.parametrize("uuid", ["", "another"])
def test_what_lies_there_and_is_not_ours_stays(uuid: str) -> None:
    (finding,) = abandoning(begun(signatures=(("ext4", uuid),)))
    assert finding.code == "CREATION_CHANGED"
    assert finding.measured == f"ext4 {uuid or 'without a UUID'}"
    assert codes(begun(signatures=BLIND)) == ["UNOBSERVED"]


def test_every_disk_must_be_there_and_in_no_other_array() -> None:
    assert codes(begun(seen=view(missing=("alpha-3",)))) == ["MEMBER_MISSING"]
    assert codes(begun(seen=view(array=array("9:9:9:9")))) == ["CREATION_CHANGED"]
    assert codes(begun(seen=BLIND)) == ["UNOBSERVED"]


def test_no_data_goes_that_is_nowhere_else() -> None:
    synced = in_sync_replica()
    assert synced.peer is not None
    taking = dataclasses.replace(
        synced, peer=dataclasses.replace(synced.peer, disk=DiskState.INCONSISTENT)
    )
    assert codes(begun(replica=taking)) == ["CREATION_TAKEN_UP"]
    assert codes(begun(replica=synced, is_pristine=False)) == []
    for replica in (None, ALONE, BLIND):
        assert codes(begun(replica=replica, is_pristine=False)) == ["CREATION_HOLDS_DATA"]
    assert codes(begun(is_pristine=BLIND)) == ["CREATION_HOLDS_DATA"]
    receiving = dataclasses.replace(
        synced,
        disk=DiskState.INCONSISTENT,
        role=Role.SECONDARY,
        peer=dataclasses.replace(synced.peer, connection=ConnectionState.CONNECTED),
    )
    assert codes(begun(replica=receiving, is_pristine=False)) == []
