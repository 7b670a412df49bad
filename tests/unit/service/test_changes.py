"""Which changes are events, and how they read."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from storage_agent.model.agreement import Agreement, Silence
from storage_agent.model.array import Array, ArrayMember, ArrayState, ArrayView
from storage_agent.model.filesystem import Capacity, FilesystemView, Mount
from storage_agent.model.nfs import NfsClient, NfsView, ServerState
from storage_agent.model.observed import Unobserved
from storage_agent.model.replica import ConnectionState, DiskState, ReplicationState, Role
from storage_agent.model.snapshot import HostSnapshot, ServiceView, VolumeSnapshot
from storage_agent.service.observing.changes import (
    NOT_LOOKED_AT,
    Event,
    EventRing,
    describe_changes,
    describe_volume_changes,
)
from tests.unit.replicas import (
    in_sync_replica,
    lost_peer,
    with_peer,
)

ARRAY = Array(
    name="md127",
    uuid="1:2:3:4",
    level="raid10",
    state=ArrayState.CLEAN,
    raid_disks=4,
    degraded=0,
    size_bytes=512 << 20,
    sync_action="idle",
    members=(ArrayMember(disk="vdb", serial="alpha-0", slot=0, state=("in_sync",)),),
)
MOUNT = Mount(
    mount_point="/srv/data",
    source="/dev/drbd0",
    device="147:0",
    root="/",
    type="ext4",
    read_only=False,
)
FILESYSTEM = FilesystemView(uuid=None, type=None, mounts=(), mount_point_state="ready")
NFS = NfsView(state=ServerState.SERVING, address="10.9.0.10", link_up=True, in_grace=False)
CLIENT = NfsClient(
    client_id="0x1", address="10.9.0.3:700", name="c", status="confirmed", minor_version=2
)


def volume(**changes: Any) -> VolumeSnapshot:
    parts: dict[str, Any] = {
        "array": ArrayView(array=ARRAY, attached=(), missing=()),
        "replica": in_sync_replica(),
        "filesystem": FILESYSTEM,
        "nfs": NFS,
        "services": (ServiceView(unit="a.service", active="active", sub="running", enabled="x"),),
    }
    return VolumeSnapshot(
        volume="data",
        host="alpha",
        boot_id="b",
        taken_monotonic_s=1.0,
        taken_wall_s=2.0,
        **{**parts, **changes},
    )


def array(**changes: Any) -> ArrayView:
    return ArrayView(array=dataclasses.replace(ARRAY, **changes), attached=(), missing=())


def lines(old: VolumeSnapshot, new: VolumeSnapshot) -> list[str]:
    return [event.text for event in describe_volume_changes(old, new)]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"replica": with_peer(in_sync_replica(), disk=DiskState.DISKLESS)},
            [
                "data: replica peer disk UpToDate → Diskless",
                "data: replica in sync yes → no",
            ],
        ),
        (
            {"replica": dataclasses.replace(in_sync_replica(), role=Role.PRIMARY)},
            ["data: replica role Secondary → Primary"],
        ),
        (
            {"replica": dataclasses.replace(in_sync_replica(), suspended=("fencing",))},
            ["data: replica writes flowing → frozen: fencing"],
        ),
        ({"replica": None}, ["data: replica up → absent"]),
        (
            {"replica": Unobserved(reason="drbdsetup hangs")},
            ["data: replica up → unknown: drbdsetup hangs"],
        ),
        ({"array": array(degraded=1)}, ["data: array missing members 0 → 1"]),
        (
            {"array": array(sync_action="recover", sync_completed_ratio=0.1)},
            ["data: array sync idle → recover"],
        ),
        (
            {
                "array": array(
                    members=(ArrayMember(disk="vdb", serial="alpha-0", slot=0, state=("faulty",)),)
                )
            },
            ["data: array member alpha-0 in_sync → faulty"],
        ),
        (
            {"array": array(members=())},
            ["data: array member alpha-0 in_sync → absent"],
        ),
        (
            {"array": ArrayView(array=ARRAY, attached=(), missing=("alpha-3",))},
            ["data: array disk alpha-3 absent → not attached"],
        ),
        (
            {"array": array(state=ArrayState.READ_AUTO)},
            ["data: array writes absent → read-auto"],
        ),
        ({"array": array(state=ArrayState.BROKEN)}, ["data: array running → broken (missing "
         "members 0, sync idle, member alpha-0 in_sync)"]),
        (
            {"filesystem": dataclasses.replace(FILESYSTEM, mounts=(MOUNT,))},
            ["data: filesystem not mounted → mounted at /srv/data (mount point ready)"],
        ),
        (
            {"nfs": dataclasses.replace(NFS, link_up=False)},
            ["data: nfs link up → down"],
        ),
        (
            {"nfs": dataclasses.replace(NFS, clients=(CLIENT,))},
            ["data: nfs client 10.9.0.3:700 absent → confirmed"],
        ),
        (
            {
                "services": (
                    ServiceView(unit="a.service", active="failed", sub="failed", enabled="x"),
                )
            },
            ["data: services a.service active/running → failed/failed"],
        ),
    ],
)  # fmt: skip
def test_a_change_is_told_in_one_line(changes: dict[str, Any], expected: list[str]) -> None:
    assert lines(volume(), volume(**changes)) == expected


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"array": array(state=ArrayState.ACTIVE)},
        {"array": array(sync_completed_ratio=0.5, mismatch_count=8)},
        {"nfs": dataclasses.replace(NFS, bytes_read=1, bytes_written=2, threads=8)},
        {
            "filesystem": dataclasses.replace(
                FILESYSTEM,
                capacity=Capacity(size_bytes=1, free_bytes=1, inodes=1, free_inodes=1),
            )
        },
    ],
)
def test_numbers_that_tick_are_no_events(changes: dict[str, Any]) -> None:
    assert lines(volume(), volume(**changes)) == []


def test_a_running_resync_is_one_event_not_many() -> None:
    syncing = with_peer(
        in_sync_replica(), replication=ReplicationState.SYNC_SOURCE, out_of_sync_bytes=1 << 20
    )
    less = with_peer(syncing, out_of_sync_bytes=1 << 19)
    assert lines(volume(replica=syncing), volume(replica=less)) == []
    assert "data: replica replication Established → SyncSource" in lines(
        volume(), volume(replica=syncing)
    )


def test_what_is_known_again_is_told_whole() -> None:
    hung = volume(replica=Unobserved(reason="hung"))
    told = lines(hung, volume(replica=lost_peer(in_sync_replica())))
    assert told == [
        "data: replica unknown: hung → up (role Secondary, disk UpToDate, writes flowing, "
        "connection Connecting, peer role Unknown, peer disk DUnknown, replication Off, "
        "in sync no)"
    ]


def test_the_first_look_is_no_change() -> None:
    blank = volume(replica=Unobserved(reason=NOT_LOOKED_AT))
    assert lines(blank, volume()) == []


def host(**volumes: VolumeSnapshot) -> HostSnapshot:
    return HostSnapshot(
        host="alpha",
        boot_id="b",
        taken_monotonic_s=1.0,
        taken_wall_s=2.0,
        volumes=volumes,
        drbd_version="8.4.11",
    )


def test_only_known_volumes_have_changes() -> None:
    new = host(data=volume(replica=None), other=volume())
    assert describe_changes(None, new) == ()
    assert [e.text for e in describe_changes(host(data=volume()), new)] == [
        "data: replica up → absent"
    ]


def test_another_driver_is_told() -> None:
    new = dataclasses.replace(host(), drbd_version="9.1.23")
    assert describe_changes(host(), new) == (Event(wall_s=2.0, text="drbd driver 8.4.11 → 9.1.23"),)


def test_lines_are_bounded() -> None:
    clients = tuple(dataclasses.replace(CLIENT, address=f"10.9.0.{n}:700") for n in range(200))
    told = lines(volume(nfs=None), volume(nfs=dataclasses.replace(NFS, clients=clients)))
    assert len(told) == 1
    assert len(told[0]) <= 400


def test_the_ring_keeps_the_last() -> None:
    ring = EventRing(size=3)
    ring.add(tuple(Event(wall_s=float(n), text=str(n)) for n in range(5)))
    assert [event.text for event in ring.last(10)] == ["2", "3", "4"]
    assert [event.text for event in ring.last(2)] == ["3", "4"]
    assert ring.last(0) == ()


@pytest.mark.parametrize(
    ("role", "split_brain", "words"),
    [
        (Role.PRIMARY, False, "StandAlone, NO FALLBACK"),
        (Role.SECONDARY, False, "StandAlone"),
        (Role.PRIMARY, True, "StandAlone, SPLIT BRAIN"),
    ],
)
def test_standing_alone_is_loud(role: Role, split_brain: bool, words: str) -> None:
    together = in_sync_replica(role=role)
    alone = with_peer(
        dataclasses.replace(together, split_brain=split_brain),
        connection=ConnectionState.STANDALONE,
    )
    events = describe_volume_changes(volume(replica=together), volume(replica=alone))
    assert f"data: replica connection Connected → {words}" in [event.text for event in events]


@pytest.mark.parametrize(
    ("agreement", "text"),
    [
        (Agreement(has_secret=False), "not compared"),
        (Agreement(has_secret=True, silence=Silence.REFUSED), "unknown: refused"),
        (
            Agreement(has_secret=True, differing={"volumes.data.mount_point": ("a", "b")}),
            "differs: volumes.data.mount_point",
        ),
    ],
)
def test_whether_the_hosts_agree_is_an_event(agreement: Agreement, text: str) -> None:
    alike = Agreement(has_secret=True, peer_version="0.1.0")
    old, new = volume(agreement=alike), volume(agreement=agreement)
    assert lines(old, new) == [f"data: agreement alike → {text}"]
    newer = dataclasses.replace(alike, peer_version="0.2.0")
    assert lines(old, volume(agreement=newer)) == []
