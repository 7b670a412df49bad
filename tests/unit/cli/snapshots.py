"""Volumes as alpha sees them, built by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from storage_agent.model.array import Array, ArrayMember, ArrayState, ArrayView, Superblock
from storage_agent.model.configuration import Arbitration
from storage_agent.model.filesystem import Capacity, FilesystemView, Mount
from storage_agent.model.nfs import NfsClient, NfsView, ServerState
from storage_agent.model.observed import Unobserved
from storage_agent.model.replica import (
    ConnectionState,
    DiskState,
    GenerationIdentifiers,
    PeerView,
    Replica,
    ReplicationState,
    Role,
)
from storage_agent.model.snapshot import VolumeSnapshot
from tests.unit import incidents
from tests.unit.fakes import ARRAY_UUID, CONTENT, SERIALS
from tests.unit.replicas import guards_as, in_sync_replica

GIB = 1 << 30
SIZE_BYTES = 77_201_408_000


# -- snapshots ------------------------------------------------------------------------------------


def array_view(*, state: ArrayState = ArrayState.CLEAN) -> ArrayView:
    return ArrayView(
        array=Array(
            name="md127",
            uuid=ARRAY_UUID,
            level="raid10",
            state=state,
            raid_disks=4,
            degraded=0,
            size_bytes=SIZE_BYTES,
            sync_action="idle",
            members=tuple(
                ArrayMember(disk=f"vd{letter}", serial=serial, slot=slot, state=("in_sync",))
                for slot, (letter, serial) in enumerate(zip("bcde", SERIALS, strict=True))
            ),
        ),
        attached=tuple(
            superblock(f"vd{letter}", serial, slot)
            for slot, (letter, serial) in enumerate(zip("bcde", SERIALS, strict=True))
        ),
        missing=(),
    )


def superblock(disk: str, serial: str, role: int, *, events: int = 42) -> Superblock:
    return Superblock(
        disk=disk,
        serial=serial,
        array_uuid=ARRAY_UUID,
        device_uuid=f"0:0:0:{role}",
        name="alpha:data",
        level="raid10",
        raid_disks=4,
        role=role,
        events=events,
        array_state="AAAA",
    )


def peer_view(**changes: Any) -> PeerView:
    peer = in_sync_replica().peer
    assert peer is not None
    return replace(peer, **changes)


def replica_view(**changes: Any) -> Replica:
    return in_sync_replica(**{"role": Role.PRIMARY, "size_bytes": SIZE_BYTES, **changes})


def serving(**changes: Any) -> VolumeSnapshot:
    """data, served by alpha, all well."""
    base = VolumeSnapshot(
        volume="data",
        host="alpha",
        boot_id="boot-1",
        taken_monotonic_s=999.6,
        taken_wall_s=1_700_000_999.6,
        array=array_view(),
        replica=replica_view(),
        guards=guards_as(Arbitration.NONE),
        content=CONTENT,
        records=(),
        filesystem=FilesystemView(
            uuid=None,
            type=None,
            mounts=(
                Mount(
                    mount_point="/srv/data",
                    source="/dev/drbd0",
                    device="147:0",
                    root="/",
                    type="ext4",
                    read_only=False,
                ),
            ),
            mount_point_state="mounted",
            capacity=Capacity(
                size_bytes=70 * GIB, free_bytes=12 * GIB, inodes=4_000_000, free_inodes=3_990_000
            ),
        ),
        nfs=NfsView(
            state=ServerState.SERVING,
            address="10.9.0.10/24",
            threads=8,
            link_up=True,
            in_grace=False,
            exports=("/srv/data",),
            clients=(
                client("1", "confirmed", opens=9, locks=3),
                client("2", "confirmed", opens=3, locks=1),
                client("3", "courtesy"),
            ),
        ),
        services=(),
    )
    return replace(base, **changes)


def client(number: str, status: str, *, opens: int = 0, locks: int = 0) -> NfsClient:
    return NfsClient(
        client_id=number,
        address=f"10.9.0.2{number}:900",
        name=f"client{number}",
        status=status,
        minor_version=2,
        opens=opens,
        locks=locks,
    )


def secondary(**changes: Any) -> VolumeSnapshot:
    """data, ready to be taken over by alpha."""
    base = serving(
        replica=replica_view(role=Role.SECONDARY, peer=peer_view(role=Role.PRIMARY)),
        filesystem=FilesystemView(uuid=None, type=None, mounts=(), mount_point_state="ready"),
        nfs=NfsView(state=ServerState.STANDBY, address="10.9.0.10/24"),
    )
    return replace(base, **changes)


def ready() -> VolumeSnapshot:
    return secondary(replica=replica_view(role=Role.SECONDARY))


def syncing(*, left_bytes: int = 33 * GIB, at_s: float = 999.6) -> VolumeSnapshot:
    return serving(
        taken_monotonic_s=at_s,
        replica=replica_view(
            peer=peer_view(
                disk=DiskState.INCONSISTENT,
                replication=ReplicationState.SYNC_SOURCE,
                out_of_sync_bytes=left_bytes,
            )
        ),
    )


def split_brain() -> VolumeSnapshot:
    return secondary(
        replica=replica_view(
            role=Role.SECONDARY,
            split_brain=True,
            generation=GenerationIdentifiers(current="A6BAEA7CBC09FDEA", bitmap="ACAF0A112C9C99E2"),
            peer=_left(DiskState.DUNKNOWN),
        )
    )


def standing_alone() -> VolumeSnapshot:
    return serving(replica=replica_view(peer=_left(DiskState.OUTDATED)))


def _left(disk: DiskState) -> PeerView:
    return peer_view(
        connection=ConnectionState.STANDALONE,
        role=Role.UNKNOWN,
        disk=disk,
        replication=ReplicationState.OFF,
        out_of_sync_bytes=64 << 10,
    )


def degraded() -> VolumeSnapshot:
    view = array_view(state=ArrayState.ACTIVE)
    assert view.array is not None
    array = replace(view.array, degraded=1, members=view.array.members[:3])
    attached = view.attached[:3]
    return serving(array=ArrayView(array=array, attached=attached, missing=("alpha-3",)))


def unknown() -> VolumeSnapshot:
    return serving(
        replica=Unobserved(reason="drbdsetup-84: no answer within 5 s, ended"),
        filesystem=Unobserved(reason="/srv/data does not answer"),
        services=Unobserved(reason="systemctl: Failed to connect to bus"),
    )


def contradictory() -> VolumeSnapshot:
    """Both UpToDate and still different; writes frozen; exported and not mounted."""
    return serving(
        replica=replica_view(suspended=("fencing",), peer=peer_view(out_of_sync_bytes=64 << 10)),
        filesystem=FilesystemView(uuid=None, type=None, mounts=(), mount_point_state="not-empty"),
    )


def frozen(answer: str = "none", epoch: int | None = None) -> VolumeSnapshot:
    """alpha lost beta and has asked; its clients are shut out."""
    lost = peer_view(
        connection=ConnectionState.CONNECTING,
        role=Role.UNKNOWN,
        disk=DiskState.DUNKNOWN,
        replication=ReplicationState.OFF,
    )
    return serving(
        replica=replica_view(suspended=("fencing",), peer=lost),
        nfs=NfsView(state=ServerState.STARTED, address="10.9.0.10/24"),
        guards=guards_as(Arbitration.COORDINATOR),
        incident=incidents.incident(answer, epoch),
    )


def unassembled() -> VolumeSnapshot:
    return secondary(
        array=ArrayView(array=None, attached=array_view().attached[:3], missing=("alpha-3",)),
        replica=None,
        nfs=NfsView(state=ServerState.ABSENT, address="10.9.0.10/24"),
    )
