"""Every step: the exact commands, what must be seen afterwards, and how it is undone.

A goal is a pure look at a snapshot: empty where it is reached, else what is still wrong. It is
also what decides, after a crash, whether the step has to be done at all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from storage_agent.model.array import ArrayView
from storage_agent.model.configuration import VolumeConfig
from storage_agent.model.filesystem import FilesystemView
from storage_agent.model.nfs import NfsView, ServerState
from storage_agent.model.observed import Unobserved
from storage_agent.model.plan import Step, StepKind
from storage_agent.model.replica import DiskState, Replica, Role
from storage_agent.model.snapshot import Facet, VolumeSnapshot

Goal = Callable[[VolumeConfig, VolumeSnapshot], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """goal None: the step proves itself while it is done, and is done each time it is reached."""

    title: Callable[[VolumeConfig], str]
    commands: Callable[[VolumeConfig, str], tuple[str, ...]]
    check: str
    goal: Goal | None
    facets: frozenset[Facet]
    undo: StepKind | None
    timeout_s: float


def make_step(kind: StepKind, volume: VolumeConfig, host: str) -> Step:
    """The step for one volume, as a person can read and run it."""
    definition = DEFINITIONS[kind]
    return Step(
        kind=kind,
        title=definition.title(volume),
        commands=definition.commands(volume, host),
        check=definition.check,
        undo=definition.undo,
        timeout_s=definition.timeout_s,
    )


def missing_goal(kind: StepKind, volume: VolumeConfig, snapshot: VolumeSnapshot) -> str:
    """Empty where the step's goal is seen to hold."""
    goal = DEFINITIONS[kind].goal
    return "" if goal is None else goal(volume, snapshot)


def _seen(view: object, name: str) -> str:
    if isinstance(view, Unobserved):
        return f"{name} unknown: {view.reason}"
    return f"no {name}" if view is None else ""


def _array_runs(volume: VolumeConfig, snapshot: VolumeSnapshot) -> str:
    view = snapshot.array
    if not isinstance(view, ArrayView):
        return _seen(view, "array")
    if view.array is None:
        return "no array"
    return "" if view.array.running() else f"array is {view.array.state}"


def _array_stopped(volume: VolumeConfig, snapshot: VolumeSnapshot) -> str:
    view = snapshot.array
    if not isinstance(view, ArrayView):
        return _seen(view, "array")
    return f"array {view.array.name} is {view.array.state}" if view.array else ""


def _replica_up(volume: VolumeConfig, snapshot: VolumeSnapshot) -> str:
    replica = snapshot.replica
    if not isinstance(replica, Replica):
        return _seen(replica, "replica")
    unusable = {DiskState.DISKLESS, DiskState.ATTACHING, DiskState.NEGOTIATING, DiskState.FAILED}
    return f"disk is {replica.disk}" if replica.disk in unusable else ""


def _replica_down(volume: VolumeConfig, snapshot: VolumeSnapshot) -> str:
    replica = snapshot.replica
    if isinstance(replica, Unobserved):
        return _seen(replica, "replica")
    return f"replica is {replica.role}" if replica else ""


def _role(wanted: Role) -> Goal:
    def goal(volume: VolumeConfig, snapshot: VolumeSnapshot) -> str:
        replica = snapshot.replica
        if not isinstance(replica, Replica):
            # A resource that is down is not primary.
            gone = replica is None and wanted is Role.SECONDARY
            return "" if gone else _seen(replica, "replica")
        return "" if replica.role is wanted else f"role is {replica.role}"

    return goal


def _mounted(volume: VolumeConfig, snapshot: VolumeSnapshot) -> str:
    view = snapshot.filesystem
    if not isinstance(view, FilesystemView):
        return _seen(view, "filesystem")
    here = [m for m in view.mounts if m.mount_point == volume.mount_point]
    if not here:
        return f"nothing of {volume.name} is mounted at {volume.mount_point}"
    return f"{volume.mount_point} is mounted read-only" if here[0].read_only else ""


def _unmounted(volume: VolumeConfig, snapshot: VolumeSnapshot) -> str:
    view = snapshot.filesystem
    if not isinstance(view, FilesystemView):
        return _seen(view, "filesystem")
    return f"still mounted at {view.mounts[0].mount_point}" if view.mounts else ""


def _identified(volume: VolumeConfig, snapshot: VolumeSnapshot) -> str:
    view = snapshot.filesystem
    if not isinstance(view, FilesystemView):
        return _seen(view, "filesystem")
    wanted = (volume.filesystem.type, volume.filesystem.uuid)
    return "" if (view.type, view.uuid) == wanted else f"{view.type} {view.uuid} is on the device"


def _server(*wanted: ServerState) -> Goal:
    def goal(volume: VolumeConfig, snapshot: VolumeSnapshot) -> str:
        view = snapshot.nfs
        if not isinstance(view, NfsView):
            return _seen(view, "NFS server")
        return "" if view.state in wanted else f"server is {view.state}"

    return goal


def _services(*wanted: str) -> Goal:
    def goal(volume: VolumeConfig, snapshot: VolumeSnapshot) -> str:
        if isinstance(snapshot.services, Unobserved):
            return _seen(snapshot.services, "services")
        wrong = [s for s in snapshot.services if s.active not in wanted]
        return ", ".join(f"{service.unit} is {service.active}" for service in wrong)

    return goal


def _nothing(volume: VolumeConfig, host: str) -> tuple[str, ...]:
    return ()


def _drbdadm(verb: str) -> Callable[[VolumeConfig, str], tuple[str, ...]]:
    return lambda volume, host: (f"drbdadm {verb} {volume.name}",)


def _systemctl(verb: str) -> Callable[[VolumeConfig, str], tuple[str, ...]]:
    return lambda volume, host: tuple(f"systemctl {verb} {unit}" for unit in volume.services)


def _server_command(verb: str) -> Callable[[VolumeConfig, str], tuple[str, ...]]:
    return lambda volume, host: (f"storage-agent-nfs {volume.name} {verb}",)


def _members(volume: VolumeConfig, host: str) -> str:
    return " ".join(f"SERIAL={serial}" for serial in volume.array.disks.get(host, ()))


def _make_array(volume: VolumeConfig, host: str) -> tuple[str, ...]:
    return (
        f"mdadm --create {volume.array_device()} --level={volume.array.level} "
        f"--uuid={volume.array.uuid.get(host, '')} {_members(volume, host)}",
    )


def _assemble(volume: VolumeConfig, host: str) -> tuple[str, ...]:
    return (
        f"mdadm --assemble {volume.array_device()} --config=none "
        f"--uuid={volume.array.uuid.get(host, '')} {_members(volume, host)}",
    )


def _mount(volume: VolumeConfig, host: str) -> tuple[str, ...]:
    options = f" -o {','.join(volume.filesystem.options)}" if volume.filesystem.options else ""
    return (f"mount -t {volume.filesystem.type}{options} {volume.device()} {volume.mount_point}",)


_ARRAY = frozenset({Facet.ARRAY})
_REPLICA = frozenset({Facet.REPLICA})
_FILESYSTEM = frozenset({Facet.FILESYSTEM})
_NFS = frozenset({Facet.NFS})
_SERVICES = frozenset({Facet.SERVICES})

DEFINITIONS: dict[StepKind, Definition] = {
    StepKind.WRITE_CONFIGURATION: Definition(
        title=lambda v: "write the identity, DRBD and mdadm configuration",
        commands=lambda v, h: (
            f"edit /etc/storage-agent/agent.d/{v.name}.toml",
            f"edit /etc/drbd.d/storage-agent-{v.name}.res",
            "edit /etc/mdadm/mdadm.conf.d/storage-agent.conf",
        ),
        check="the files are there",
        goal=None,
        facets=frozenset(),
        undo=None,
        timeout_s=30,
    ),
    StepKind.MAKE_ARRAY: Definition(
        title=lambda v: f"create the array {v.array_device()}",
        commands=_make_array,
        check="the array runs",
        goal=_array_runs,
        facets=_ARRAY,
        undo=None,
        timeout_s=120,
    ),
    StepKind.MAKE_METADATA: Definition(
        title=lambda v: "write DRBD's metadata",
        commands=_drbdadm("create-md"),
        check="drbdadm dump-md shows it",
        goal=None,
        facets=frozenset(),
        undo=None,
        timeout_s=120,
    ),
    StepKind.FIRST_PRIMARY: Definition(
        title=lambda v: "declare this host's blank copy the good one, once",
        commands=_drbdadm("primary --force"),
        check="role: Primary",
        goal=_role(Role.PRIMARY),
        facets=_REPLICA,
        undo=None,
        timeout_s=30,
    ),
    StepKind.MAKE_FILESYSTEM: Definition(
        title=lambda v: f"make the {v.filesystem.type} filesystem",
        commands=lambda v, h: (
            f"mkfs.{v.filesystem.type} (UUID {v.filesystem.uuid}) {v.device()}",
        ),
        check="its type and UUID are read back",
        goal=_identified,
        facets=frozenset({Facet.FILESYSTEM, Facet.IDENTITY}),
        undo=None,
        timeout_s=600,
    ),
    StepKind.ASSEMBLE_ARRAY: Definition(
        title=lambda v: f"assemble the array {v.array_device()}",
        commands=_assemble,
        check="the array runs with all members",
        goal=_array_runs,
        facets=_ARRAY,
        undo=StepKind.STOP_ARRAY,
        timeout_s=60,
    ),
    StepKind.STOP_ARRAY: Definition(
        title=lambda v: f"stop the array {v.array_device()}",
        commands=lambda v, h: (f"mdadm --stop {v.array_device()}",),
        check="the array is gone",
        goal=_array_stopped,
        facets=_ARRAY,
        undo=None,
        timeout_s=30,
    ),
    StepKind.REPLICA_UP: Definition(
        title=lambda v: "bring DRBD up, as secondary, without waiting for the peer",
        commands=_drbdadm("up"),
        check="the disk is attached",
        goal=_replica_up,
        facets=_REPLICA,
        undo=StepKind.REPLICA_DOWN,
        timeout_s=60,
    ),
    StepKind.REPLICA_DOWN: Definition(
        title=lambda v: "take DRBD down",
        commands=_drbdadm("down"),
        check="the resource is gone",
        goal=_replica_down,
        facets=_REPLICA,
        undo=None,
        timeout_s=30,
    ),
    StepKind.GRANT_PROMOTION: Definition(
        title=lambda v: "leave the answer for DRBD's fence-peer handler",
        commands=lambda v, h: (f"write /run/storage-agent/grants/{v.name}",),
        check="the handler will answer 4 (peer outdated) for this promotion",
        goal=None,
        facets=frozenset(),
        undo=StepKind.WITHDRAW_GRANT,
        timeout_s=5,
    ),
    StepKind.WITHDRAW_GRANT: Definition(
        title=lambda v: "take the handler's answer away again",
        commands=lambda v, h: (f"rm -f /run/storage-agent/grants/{v.name}",),
        check="the file is gone",
        goal=None,
        facets=frozenset(),
        undo=None,
        timeout_s=5,
    ),
    StepKind.PRIMARY: Definition(
        title=lambda v: "become primary",
        commands=_drbdadm("primary"),
        check="role: Primary",
        goal=_role(Role.PRIMARY),
        facets=_REPLICA,
        undo=StepKind.SECONDARY,
        timeout_s=30,
    ),
    StepKind.SECONDARY: Definition(
        title=lambda v: "become secondary",
        commands=_drbdadm("secondary"),
        check="role: Secondary",
        goal=_role(Role.SECONDARY),
        facets=_REPLICA,
        undo=None,
        timeout_s=30,
    ),
    StepKind.MOUNT: Definition(
        title=lambda v: f"mount {v.mount_point}",
        commands=_mount,
        check="mountinfo shows it, read-write",
        goal=_mounted,
        facets=_FILESYSTEM,
        undo=StepKind.UNMOUNT,
        timeout_s=120,
    ),
    StepKind.UNMOUNT: Definition(
        title=lambda v: f"unmount {v.mount_point}",
        commands=lambda v, h: (f"umount {v.mount_point}",),
        check="mountinfo does not show the device",
        goal=_unmounted,
        facets=_FILESYSTEM,
        undo=StepKind.MOUNT,
        timeout_s=30,
    ),
    StepKind.PREPARE_SERVER: Definition(
        title=lambda v: "prepare the NFS server's namespaces, link down",
        commands=lambda v, h: (f"systemctl start storage-agent-nfs@{v.name}",),
        check="the server is in standby",
        goal=_server(ServerState.STANDBY, ServerState.STARTED, ServerState.SERVING),
        facets=_NFS,
        undo=None,
        timeout_s=60,
    ),
    StepKind.START_SERVER: Definition(
        title=lambda v: "start the NFS server, link down",
        commands=_server_command("start"),
        check="nfsd runs and exports the volume",
        goal=_server(ServerState.STARTED, ServerState.SERVING),
        facets=_NFS,
        undo=StepKind.STOP_SERVER,
        timeout_s=30,
    ),
    StepKind.STOP_SERVER: Definition(
        title=lambda v: "stop the NFS server",
        commands=_server_command("stop"),
        check="no nfsd thread runs",
        goal=_server(ServerState.STANDBY, ServerState.ABSENT),
        facets=_NFS,
        undo=StepKind.START_SERVER,
        timeout_s=30,
    ),
    StepKind.START_SERVICES: Definition(
        title=lambda v: f"start {', '.join(v.services)}",
        commands=_systemctl("start"),
        check="all active",
        goal=_services("active"),
        facets=_SERVICES,
        undo=StepKind.STOP_SERVICES,
        timeout_s=90,
    ),
    StepKind.STOP_SERVICES: Definition(
        title=lambda v: f"stop {', '.join(v.services)}",
        commands=_systemctl("stop"),
        check="none active",
        goal=_services("inactive", "failed"),
        facets=_SERVICES,
        undo=StepKind.START_SERVICES,
        timeout_s=90,
    ),
    StepKind.LINK_UP: Definition(
        title=lambda v: "let clients in: link up, announce the address, wake connections",
        commands=_server_command("link-up"),
        check="the link is up",
        goal=_server(ServerState.SERVING),
        facets=_NFS,
        undo=StepKind.LINK_DOWN,
        timeout_s=15,
    ),
    StepKind.LINK_DOWN: Definition(
        title=lambda v: "close the door to clients, let answers out, link down",
        commands=_server_command("link-down"),
        check="the link is down",
        goal=_server(ServerState.STARTED, ServerState.STANDBY, ServerState.ABSENT),
        facets=_NFS,
        undo=StepKind.LINK_UP,
        timeout_s=15,
    ),
    StepKind.PROVE_EXPORT: Definition(
        title=lambda v: "write and read a file through NFS",
        commands=_server_command("prove"),
        check="what was written is read back",
        goal=None,
        facets=frozenset(),
        undo=None,
        timeout_s=150,
    ),
}
