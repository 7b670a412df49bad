"""Every step: the exact commands, what must be seen afterwards, and how it is undone."""

from __future__ import annotations

from collections.abc import Callable

from storage_agent.model.configuration import VolumeConfig
from storage_agent.model.nfs import ServerState
from storage_agent.model.plan import Step, StepKind
from storage_agent.model.replica import Role
from storage_agent.model.snapshot import Facet, VolumeSnapshot
from storage_agent.operations import goals
from storage_agent.operations.creation_steps import CREATION
from storage_agent.operations.definition import Definition, drbdadm, members


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


def _systemctl(verb: str) -> Callable[[VolumeConfig, str], tuple[str, ...]]:
    return lambda volume, host: tuple(f"systemctl {verb} {unit}" for unit in volume.services)


def _server_command(verb: str) -> Callable[[VolumeConfig, str], tuple[str, ...]]:
    return lambda volume, host: (f"storage-agent-nfs {volume.name} {verb}",)


def _assemble(how: str = "") -> Callable[[VolumeConfig, str], tuple[str, ...]]:
    return lambda volume, host: (
        f"mdadm --assemble {how}{volume.array_device()} --config=none "
        f"--uuid={volume.array.uuid.get(host, '')} {members(volume, host)}",
    )


def _mount(volume: VolumeConfig, host: str) -> tuple[str, ...]:
    options = ",".join(volume.filesystem.mount_options())
    kind = volume.filesystem.type
    return (f"mount -t {kind} -o {options} {volume.device()} {volume.mount_point}",)


_ARRAY = frozenset({Facet.ARRAY})
_REPLICA = frozenset({Facet.REPLICA})
_FILESYSTEM = frozenset({Facet.FILESYSTEM})
_NFS = frozenset({Facet.NFS})
_SERVICES = frozenset({Facet.SERVICES})

DEFINITIONS: dict[StepKind, Definition] = {
    **CREATION,
    StepKind.ASSEMBLE_ARRAY: Definition(
        title=lambda v: f"assemble the array {v.array_device()}",
        commands=_assemble(),
        check="the array runs with all members",
        goal=goals.array_runs,
        facets=_ARRAY,
        undo=StepKind.STOP_ARRAY,
        timeout_s=60,
    ),
    StepKind.START_DEGRADED: Definition(
        title=lambda v: f"start the array {v.array_device()} DEGRADED, with these members alone",
        commands=_assemble("--run "),
        check="the array runs with these members",
        goal=goals.array_runs,
        facets=_ARRAY,
        undo=StepKind.STOP_ARRAY,
        timeout_s=60,
    ),
    StepKind.STOP_ARRAY: Definition(
        title=lambda v: f"stop the array {v.array_device()}",
        commands=lambda v, h: (f"mdadm --stop {v.array_device()}",),
        check="the array is gone",
        goal=goals.array_stopped,
        facets=_ARRAY,
        undo=None,
        timeout_s=30,
    ),
    StepKind.REPLICA_UP: Definition(
        title=lambda v: "bring DRBD up, as secondary, without waiting for the peer",
        commands=drbdadm("up"),
        check="the disk is attached",
        goal=goals.replica_up,
        facets=_REPLICA,
        undo=StepKind.REPLICA_DOWN,
        # At boot half of it for this host's address.
        timeout_s=240,
    ),
    StepKind.TAKE_OPTIONS: Definition(
        title=lambda v: "let DRBD take the configured options, without interrupting anything",
        commands=lambda v, h: (
            f"edit /etc/drbd.d/storage-agent-{v.name}.res",
            f"drbdadm -d adjust {v.name}, and of that the lines with -options",
        ),
        check="drbdsetup show and drbdadm dump show them",
        goal=goals.options_taken,
        facets=frozenset({Facet.REPLICA, Facet.GUARDS}),
        undo=None,
        timeout_s=60,
    ),
    StepKind.REPLICA_DOWN: Definition(
        title=lambda v: "take DRBD down",
        commands=drbdadm("down"),
        check="the resource is gone",
        goal=goals.replica_down,
        facets=_REPLICA,
        undo=None,
        timeout_s=30,
    ),
    StepKind.WAIT_FOR_PEER: Definition(
        title=lambda v: "wait for the other host to let go",
        commands=lambda v, h: (f"on the other host: storage-agent demote {v.name}",),
        check="peer role: Secondary",
        goal=goals.peer_let_go,
        facets=_REPLICA,
        undo=None,
        timeout_s=60,
    ),
    StepKind.DISCONNECT: Definition(
        title=lambda v: "leave the peer: it is outdated in order, if it can be reached",
        commands=drbdadm("disconnect"),
        check="connection: StandAlone, writes not frozen",
        goal=goals.stands_alone,
        facets=_REPLICA,
        undo=StepKind.CONNECT,
        timeout_s=30,
    ),
    StepKind.CONNECT: Definition(
        title=lambda v: "look for the peer again; DRBD resyncs what differs",
        commands=drbdadm("connect"),
        check="connection: not StandAlone",
        goal=goals.connecting,
        facets=_REPLICA,
        undo=None,
        timeout_s=30,
    ),
    StepKind.CONNECT_DISCARDING: Definition(
        title=lambda v: f"DISCARD what only this host's copy of {v.name} has, take the peer's",
        commands=drbdadm("connect --discard-my-data"),
        check="connection: not StandAlone",
        goal=goals.connecting,
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
        commands=drbdadm("primary"),
        check="role: Primary",
        goal=goals.has_role(Role.PRIMARY),
        facets=_REPLICA,
        undo=StepKind.SECONDARY,
        timeout_s=30,
    ),
    StepKind.SECONDARY: Definition(
        title=lambda v: "become secondary",
        commands=drbdadm("secondary"),
        check="role: Secondary",
        goal=goals.has_role(Role.SECONDARY),
        facets=_REPLICA,
        undo=None,
        timeout_s=30,
    ),
    StepKind.READ_MARKER: Definition(
        title=lambda v: "look at the filesystem read-only: is it the newest known state?",
        commands=lambda v, h: (
            f"blkid -p {v.device()}",
            f"unshare --mount sh -c 'mount -o ro {v.device()} {v.mount_point} && "
            f"cat {v.mount_point}/.storage-agent/marker'",
        ),
        check="its currency marker is not older than one that was seen before",
        goal=None,
        facets=frozenset({Facet.MARKER}),
        undo=None,
        timeout_s=60,
    ),
    StepKind.WRITE_MARKER: Definition(
        title=lambda v: "write the new epoch to the filesystem",
        commands=lambda v, h: (f"storage-agent writes {v.mount_point}/.storage-agent/marker",),
        check="it is read back",
        goal=None,
        facets=frozenset({Facet.MARKER}),
        undo=None,
        timeout_s=30,
    ),
    StepKind.MOUNT: Definition(
        title=lambda v: f"mount {v.mount_point}",
        commands=_mount,
        check="mountinfo shows it, read-write",
        goal=goals.mounted,
        facets=_FILESYSTEM,
        undo=StepKind.UNMOUNT,
        timeout_s=120,
    ),
    StepKind.UNMOUNT: Definition(
        title=lambda v: f"unmount {v.mount_point}",
        commands=lambda v, h: (f"umount {v.mount_point}",),
        check="mountinfo does not show the device",
        goal=goals.unmounted,
        facets=_FILESYSTEM,
        undo=StepKind.MOUNT,
        timeout_s=30,
    ),
    StepKind.PREPARE_SERVER: Definition(
        title=lambda v: "prepare the NFS server's namespaces, link down",
        commands=lambda v, h: (f"systemctl start storage-agent-nfs@{v.name}",),
        check="the server is in standby",
        goal=goals.server_is(*(state for state in ServerState if state is not ServerState.ABSENT)),
        facets=_NFS,
        undo=None,
        # Longer than the unit's own start, so that systemd says why: after a boot kernel modules
        # are loaded from disks that may be resyncing.
        timeout_s=150,
    ),
    StepKind.START_SERVER: Definition(
        title=lambda v: "start the NFS server, link down",
        commands=_server_command("start"),
        check="nfsd runs and exports the volume",
        goal=goals.server_is(ServerState.STARTED, ServerState.SERVING, ServerState.HALTED),
        facets=_NFS,
        undo=StepKind.STOP_SERVER,
        timeout_s=30,
    ),
    StepKind.STOP_SERVER: Definition(
        title=lambda v: "stop the NFS server",
        commands=_server_command("stop"),
        check="no nfsd thread runs",
        goal=goals.server_is(ServerState.STANDBY, ServerState.ABSENT),
        facets=_NFS,
        undo=StepKind.START_SERVER,
        timeout_s=30,
    ),
    StepKind.START_SERVICES: Definition(
        title=lambda v: f"start {', '.join(v.services)}",
        commands=_systemctl("start"),
        check="all active",
        goal=goals.services_are("active"),
        facets=_SERVICES,
        undo=StepKind.STOP_SERVICES,
        timeout_s=90,
    ),
    StepKind.STOP_SERVICES: Definition(
        title=lambda v: f"stop {', '.join(v.services)}",
        commands=_systemctl("stop"),
        check="none active",
        goal=goals.services_are("inactive", "failed"),
        facets=_SERVICES,
        undo=StepKind.START_SERVICES,
        timeout_s=90,
    ),
    StepKind.LINK_UP: Definition(
        title=lambda v: "let clients in: link up, announce the address, wake connections",
        commands=_server_command("link-up"),
        check="the link is up",
        goal=goals.server_is(ServerState.SERVING),
        facets=_NFS,
        undo=StepKind.LINK_DOWN,
        timeout_s=15,
    ),
    StepKind.LINK_DOWN: Definition(
        title=lambda v: "close the door to clients, let answers out, link down",
        commands=_server_command("link-down"),
        check="the link is down",
        goal=goals.server_is(ServerState.STARTED, ServerState.STANDBY, ServerState.ABSENT),
        facets=_NFS,
        undo=StepKind.LINK_UP,
        timeout_s=15,
    ),
    StepKind.PROVE_EXPORT: Definition(
        title=lambda v: "read and overwrite a file through NFS",
        commands=_server_command("prove"),
        check="what is read lies on the volume, and so does what was written",
        goal=None,
        facets=frozenset(),
        undo=None,
        timeout_s=150,
    ),
}
