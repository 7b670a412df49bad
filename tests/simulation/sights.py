"""What a host shows of its layers, made once for each state: nobody changes what was shown."""

from __future__ import annotations

from functools import lru_cache

from storage_agent.model.array import Array, ArrayState, ArrayView, Superblock
from storage_agent.model.configuration import Arbitration
from storage_agent.model.filesystem import Content, FilesystemView, Holder, Mount
from storage_agent.model.guards import FENCING, HANDLER, SAFETY, TIMEOUTS, Guards
from storage_agent.model.nfs import NfsView, ServerState
from storage_agent.model.replica import (
    ConnectionState,
    DiskState,
    PeerView,
    Replica,
    ReplicationState,
    Role,
)
from storage_agent.model.snapshot import UseView
from tests.simulation.states import CONNECTING, REPLICATION, STANDALONE, WITH_PEER

STATES_KEPT = 4096


@lru_cache(STATES_KEPT)
def proc_drbd(
    role: Role, disk: DiskState, conn: str, pdsk: DiskState, peer: Role, susp: bool
) -> str:
    """The device's line in /proc/drbd (drbd_proc.c drbd_seq_show()). While it stands alone there is
    no net configuration, and a blank in the place of the protocol's letter."""
    protocol = " " if conn == STANDALONE else "C"
    connection = "WFConnection" if conn == CONNECTING else conn
    flags = "s-----" if susp else "r-----"
    return f" 0: cs:{connection} ro:{role}/{peer} ds:{disk}/{pdsk} {protocol} {flags}\n"


@lru_cache(STATES_KEPT)
def replica_view(
    role: Role,
    disk: DiskState,
    conn: str,
    pdsk: DiskState,
    peer: Role,
    susp: bool,
    split_brain: bool,
    out_of_sync: int,
) -> Replica:
    """As events2 shows it. out_of_sync: blocks of 4 KiB."""
    connection = ConnectionState.CONNECTED
    if conn not in WITH_PEER:
        alone = conn == STANDALONE
        connection = ConnectionState.STANDALONE if alone else ConnectionState.CONNECTING
    return Replica(
        resource="data",
        minor=0,
        driver_version="8.4.11",
        role=role,
        disk=disk,
        size_bytes=512 << 20,
        suspended=("fencing",) if susp else (),
        split_brain=split_brain,
        peer=PeerView(
            connection=connection,
            role=peer,
            disk=pdsk,
            replication=REPLICATION.get(conn, ReplicationState.OFF),
            out_of_sync_bytes=4096 * out_of_sync,
        ),
    )


@lru_cache(STATES_KEPT)
def array_view(
    members: tuple[tuple[str, bool, int, str], ...], degraded: int | None, works: bool
) -> ArrayView:
    """members: serial, attached, events, array state.  degraded: None where no array runs."""
    attached = tuple(
        Superblock(
            disk=serial,
            serial=serial,
            array_uuid="8:8:8:8",
            device_uuid=serial,
            name="data",
            level="raid10",
            raid_disks=4,
            role=i,
            events=events,
            array_state=knows,
        )
        for i, (serial, is_attached, events, knows) in enumerate(members)
        if is_attached
    )
    array = None
    if degraded is not None:
        array = Array(
            name="md127",
            uuid="8:8:8:8",
            level="raid10",
            state=ArrayState.ACTIVE if works else ArrayState.BROKEN,
            raid_disks=4,
            degraded=degraded,
            size_bytes=512 << 20,
            sync_action="idle",
            members=(),
            links=("/dev/md/data",),
        )
    missing = tuple(serial for serial, is_attached, *_ in members if not is_attached)
    return ArrayView(array=array, attached=attached, missing=missing)


@lru_cache(STATES_KEPT)
def filesystem_view(mount_point: str, device: str, mounted: bool) -> FilesystemView:
    shown = Mount(
        mount_point=mount_point,
        source=device,
        device="147:0",
        root="/",
        type="ext4",
        read_only=False,
    )
    mounts = (shown,) if mounted else ()
    state = "mounted" if mounted else "ready"
    return FilesystemView(uuid=None, type=None, mounts=mounts, mount_point_state=state)


@lru_cache(STATES_KEPT)
def content_view(kind: str, uuid: str) -> Content:
    return Content(type=kind, uuid=uuid, size_bytes=500 << 20)


@lru_cache(STATES_KEPT)
def use_view(is_held: bool) -> UseView:
    """Of a process that keeps the filesystem busy; what clients write is not counted here."""
    holder = Holder(kind="process", what="process backup (9) works in /srv/data", pid=9)
    return UseView(holders=(holder,) if is_held else (), written_bytes=0, watched_s=2)


@lru_cache(STATES_KEPT)
def guards_view(stonith: bool) -> Guards:
    """As the kernel and the resource file are; what is configured may be something else."""
    arbitration = Arbitration.COORDINATOR if stonith else Arbitration.NONE
    return Guards(
        options={**SAFETY, **TIMEOUTS, "disk.fencing": FENCING[arbitration]},
        minor=0,
        helper="/sbin/drbdadm",
        fence_peer=HANDLER[arbitration],
    )


@lru_cache(STATES_KEPT)
def nfs_view(state: ServerState) -> NfsView:
    return NfsView(state=state, address="10.9.0.10")
