"""What must be seen after each step: pure looks at a snapshot.

Empty where the goal is reached, else what is still wrong. A goal also decides, after a crash,
whether its step has to be done at all.
"""

from __future__ import annotations

from collections.abc import Callable

from storage_agent.model.array import ArrayView
from storage_agent.model.configuration import VolumeConfig
from storage_agent.model.filesystem import Content, FilesystemView
from storage_agent.model.nfs import NfsView, ServerState
from storage_agent.model.observed import Unobserved
from storage_agent.model.replica import WITHOUT_DISK, ConnectionState, DiskState, Replica, Role
from storage_agent.model.snapshot import VolumeSnapshot
from storage_agent.policy.guards import not_taken

Goal = Callable[[VolumeConfig, VolumeSnapshot], str]


def _unseen(view: object, name: str) -> str:
    if isinstance(view, Unobserved):
        return f"{name} unknown: {view.reason}"
    return f"no {name}" if view is None else ""


def array_runs(volume: VolumeConfig, snapshot: VolumeSnapshot) -> str:
    view = snapshot.array
    if not isinstance(view, ArrayView):
        return _unseen(view, "array")
    if view.array is None:
        return "no array"
    if not view.array.running():
        return f"array is {view.array.state}"
    # DRBD names this path. An array that an initramfs has assembled has another one.
    device = volume.array_device()
    return "" if device in view.array.links else f"array {view.array.name} is not at {device}"


def array_erased(volume: VolumeConfig, snapshot: VolumeSnapshot) -> str:
    view = snapshot.array
    if not isinstance(view, ArrayView):
        return _unseen(view, "array")
    uuid = volume.array.uuid.get(snapshot.host)
    left = [block.serial for block in view.attached if block.array_uuid == uuid]
    return f"{', '.join(left)} carries the array {uuid}" if left else ""


def first_primary(volume: VolumeConfig, snapshot: VolumeSnapshot) -> str:
    """Nothing has to be declared good any more once the filesystem is there: it is written last
    of all (mke2fs and mkfs.xfs complete their superblock at their end)."""
    return has_role(Role.PRIMARY)(volume, snapshot) if _content_is_other(volume, snapshot) else ""


def _content_is_other(volume: VolumeConfig, snapshot: VolumeSnapshot) -> bool:
    content = snapshot.content
    wanted = (volume.filesystem.type, volume.filesystem.uuid)
    return not isinstance(content, Content) or (content.type, content.uuid) != wanted


def array_stopped(volume: VolumeConfig, snapshot: VolumeSnapshot) -> str:
    view = snapshot.array
    if not isinstance(view, ArrayView):
        return _unseen(view, "array")
    return f"array {view.array.name} is {view.array.state}" if view.array else ""


def good_copy_seen(volume: VolumeConfig, snapshot: VolumeSnapshot) -> str:
    replica = snapshot.replica
    if not isinstance(replica, Replica):
        return _unseen(replica, "replica")
    peer = replica.peer
    if peer is None or peer.connection is not ConnectionState.CONNECTED:
        return f"the other host is not connected ({peer.connection if peer else 'no connection'})"
    return "" if peer.disk is DiskState.UP_TO_DATE else f"the other host's disk is {peer.disk}"


def replica_up(volume: VolumeConfig, snapshot: VolumeSnapshot) -> str:
    replica = snapshot.replica
    if not isinstance(replica, Replica):
        return _unseen(replica, "replica")
    unusable = {
        *WITHOUT_DISK,
        DiskState.ATTACHING,
        DiskState.NEGOTIATING,
        DiskState.DUNKNOWN,
    }
    return f"disk is {replica.disk}" if replica.disk in unusable else ""


def options_taken(volume: VolumeConfig, snapshot: VolumeSnapshot) -> str:
    """By the kernel and the resource file: what is configured proves nothing."""
    return not_taken(volume, snapshot)


def replica_down(volume: VolumeConfig, snapshot: VolumeSnapshot) -> str:
    replica = snapshot.replica
    if isinstance(replica, Unobserved):
        return _unseen(replica, "replica")
    return f"replica is {replica.role}" if replica else ""


def stands_alone(volume: VolumeConfig, snapshot: VolumeSnapshot) -> str:
    replica = snapshot.replica
    if not isinstance(replica, Replica):
        return _unseen(replica, "replica")
    if replica.suspended:
        return f"writes are frozen: {', '.join(replica.suspended)}"
    connection = replica.peer.connection if replica.peer else ""
    return "" if replica.stands_alone() else f"connection is {connection}"


def connecting(volume: VolumeConfig, snapshot: VolumeSnapshot) -> str:
    """Connected, or looking for the peer."""
    replica = snapshot.replica
    if not isinstance(replica, Replica):
        return _unseen(replica, "replica")
    if replica.split_brain:
        return "DRBD found a split brain"
    if replica.peer is not None and replica.peer.connection is ConnectionState.UNKNOWN:
        return "connection is Unknown"
    return "connection is StandAlone" if replica.stands_alone() else ""


def has_role(wanted: Role) -> Goal:
    def goal(volume: VolumeConfig, snapshot: VolumeSnapshot) -> str:
        replica = snapshot.replica
        if not isinstance(replica, Replica):
            # A resource that is down is not primary.
            gone = replica is None and wanted is Role.SECONDARY
            return "" if gone else _unseen(replica, "replica")
        return "" if replica.role is wanted else f"role is {replica.role}"

    return goal


def peer_let_go(volume: VolumeConfig, snapshot: VolumeSnapshot) -> str:
    replica = snapshot.replica
    if not isinstance(replica, Replica):
        return _unseen(replica, "replica")
    if replica.peer is None or replica.peer.connection is not ConnectionState.CONNECTED:
        return "the peer is not connected"
    return "" if replica.peer.role is Role.SECONDARY else f"the peer is {replica.peer.role}"


def mounted(volume: VolumeConfig, snapshot: VolumeSnapshot) -> str:
    view = snapshot.filesystem
    if not isinstance(view, FilesystemView):
        return _unseen(view, "filesystem")
    here = [m for m in view.mounts if m.mount_point == volume.mount_point]
    if not here:
        return f"nothing of {volume.name} is mounted at {volume.mount_point}"
    return f"{volume.mount_point} is mounted read-only" if here[0].read_only else ""


def unmounted(volume: VolumeConfig, snapshot: VolumeSnapshot) -> str:
    view = snapshot.filesystem
    if not isinstance(view, FilesystemView):
        return _unseen(view, "filesystem")
    return f"still mounted at {view.mounts[0].mount_point}" if view.mounts else ""


def identified(volume: VolumeConfig, snapshot: VolumeSnapshot) -> str:
    if not _content_is_other(volume, snapshot):
        return ""
    view = snapshot.filesystem
    if not isinstance(view, FilesystemView):
        return _unseen(view, "filesystem")
    wanted = (volume.filesystem.type, volume.filesystem.uuid)
    return "" if (view.type, view.uuid) == wanted else f"{view.type} {view.uuid} is on the device"


def server_is(*wanted: ServerState) -> Goal:
    def goal(volume: VolumeConfig, snapshot: VolumeSnapshot) -> str:
        view = snapshot.nfs
        if not isinstance(view, NfsView):
            return _unseen(view, "NFS server")
        return "" if view.state in wanted else f"server is {view.state}"

    return goal


def services_are(*wanted: str) -> Goal:
    def goal(volume: VolumeConfig, snapshot: VolumeSnapshot) -> str:
        if isinstance(snapshot.services, Unobserved):
            return _unseen(snapshot.services, "services")
        wrong = [s for s in snapshot.services if s.active not in wanted]
        return ", ".join(f"{service.unit} is {service.active}" for service in wrong)

    return goal
