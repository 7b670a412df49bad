"""Hand-built snapshots of host alpha, and a context whose daemon is a table of answers."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from storage_agent.cli.context import Context
from storage_agent.cli.terminal import Screen
from storage_agent.model.array import (
    Array,
    ArrayMember,
    ArrayState,
    ArrayView,
    Disk,
    Superblock,
)
from storage_agent.model.configuration import AgentConfig
from storage_agent.model.doctor import (
    KERNEL_MODULES,
    TOOL_PACKAGES,
    DoctorFacts,
    StateFolder,
    UnitFact,
)
from storage_agent.model.errors import AgentError, ConfigurationError
from storage_agent.model.filesystem import Capacity, FilesystemView, Mount
from storage_agent.model.finding import Finding
from storage_agent.model.nfs import NfsClient, NfsView, ServerState
from storage_agent.model.observed import Unobserved
from storage_agent.model.operation import (
    OperationRecord,
    OperationRequest,
    OperationState,
    StepOutcome,
    StepRecord,
)
from storage_agent.model.plan import OperationKind, StepKind
from storage_agent.model.replica import (
    ConnectionState,
    DiskState,
    PeerView,
    Replica,
    ReplicationState,
    Role,
)
from storage_agent.model.snapshot import HostSnapshot, VolumeSnapshot
from storage_agent.model.wire import to_wire
from storage_agent.policy.readiness import assess
from tests.unit.fakes import ARRAY_UUID, SERIALS, FakeClock, agent_config

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
    base = PeerView(
        connection=ConnectionState.CONNECTED,
        role=Role.SECONDARY,
        disk=DiskState.UP_TO_DATE,
        replication=ReplicationState.ESTABLISHED,
        out_of_sync_bytes=0,
    )
    return replace(base, **changes)


def replica_view(**changes: Any) -> Replica:
    base = Replica(
        resource="data",
        minor=0,
        driver_version="8.4.11",
        role=Role.PRIMARY,
        disk=DiskState.UP_TO_DATE,
        size_bytes=SIZE_BYTES,
        peer=peer_view(),
    )
    return replace(base, **changes)


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
            peer=peer_view(
                connection=ConnectionState.STANDALONE,
                role=Role.UNKNOWN,
                disk=DiskState.DUNKNOWN,
                replication=ReplicationState.OFF,
                out_of_sync_bytes=64 << 10,
            ),
        )
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


def unassembled() -> VolumeSnapshot:
    return secondary(
        array=ArrayView(array=None, attached=array_view().attached[:3], missing=("alpha-3",)),
        replica=None,
        nfs=NfsView(state=ServerState.ABSENT, address="10.9.0.10/24"),
    )


# -- answers --------------------------------------------------------------------------------------


def status_result(*volumes: VolumeSnapshot, **more: Any) -> dict[str, Any]:
    """What the daemon answers to `status`, judged by the real policy."""
    config = agent_config()
    snapshot = HostSnapshot(
        host="alpha",
        boot_id="boot-1",
        taken_monotonic_s=999.6,
        taken_wall_s=1_700_000_999.6,
        volumes={volume.volume: volume for volume in volumes},
        drbd_version="8.4.11",
        problems=more.pop("unseen", ()),
    )
    readiness = {v.volume: assess(config, config.volumes["data"], v) for v in volumes}
    return {
        "host": "alpha",
        "agent_version": "0.1.0",
        "config_digest": "0123456789ab",
        "age_s": 0.4,
        "snapshot": to_wire(snapshot),
        "readiness": to_wire(readiness),
        "operations": [],
        "problems": [],
        **more,
    }


def record(
    state: OperationState = OperationState.SUCCEEDED,
    *outcomes: StepOutcome,
    kind: OperationKind = OperationKind.PROMOTE,
    message: str = "data: serving on alpha",
    **changes: Any,
) -> OperationRecord:
    titles = {
        StepKind.PRIMARY: "make DRBD primary",
        StepKind.MOUNT: "mount /srv/data",
        StepKind.START_SERVER: "start the NFS server",
    }
    steps = tuple(
        StepRecord(
            kind=step,
            title=title,
            outcome=outcome,
            duration_s=None if outcome is StepOutcome.RUNNING else 0.3,
            detail="mount: /dev/drbd0: wrong medium type" if outcome is StepOutcome.FAILED else "",
        )
        for (step, title), outcome in zip(titles.items(), outcomes, strict=False)
    )
    base = OperationRecord(
        request=OperationRequest(
            kind=kind, volume="data", operation_id="00000000000000aa", origin="uid 0 pid 7"
        ),
        state=state,
        changed=state is not OperationState.REFUSED,
        epoch=7,
        message=message,
        steps=steps,
        started_wall_s=1_700_000_990.0,
        duration_s=None if state is OperationState.RUNNING else 3.2,
    )
    return replace(base, **changes)


# -- this host ------------------------------------------------------------------------------------


class FakeSession:
    """Answers from a table: a value, an exception, or a function of the parameters."""

    def __init__(self, answers: dict[str, Any], asked: list[tuple[str, dict[str, Any]]]) -> None:
        self.answers = answers
        self.asked = asked
        self.closed = False

    def call(
        self,
        method: str,
        params: dict[str, Any],
        *,
        silence_s: float = 1.0,
        on_notification: Callable[[str, Any], None] | None = None,
        on_tick: Callable[[], None] | None = None,
    ) -> Any:
        self.asked.append((method, params))
        answer = self.answers[method]
        if isinstance(answer, list):
            # Notifications first, the last one is the result.
            *notifications, answer = answer
            for notification in notifications:
                if on_notification:
                    on_notification("operation.progress", to_wire(notification))
                if on_tick:
                    on_tick()
        if callable(answer):
            answer = answer(params)
        if isinstance(answer, BaseException):
            raise answer
        return to_wire(answer)

    def close(self) -> None:
        self.closed = True


class FakeLocal:
    """Implements cli.context.LocalHost."""

    def __init__(self) -> None:
        self.loaded: AgentConfig | AgentError = agent_config()
        self.problems: tuple[str, ...] = ()
        self.snapshot: dict[str, Any] | AgentError = status_result(serving(), agent_version="")
        self.found: DoctorFacts = facts()

    def config(self) -> AgentConfig:
        if isinstance(self.loaded, AgentError):
            raise self.loaded
        return self.loaded

    def config_problems(self) -> tuple[str, ...]:
        return self.problems

    def config_document(self, *, origin: bool) -> dict[str, Any]:
        document = {"config": {"host": "alpha", "hosts": {"beta": {"address": "10.8.0.2"}}}}
        if origin:
            document["origin"] = {"hosts.beta.address": "/etc/storage-agent/agent.toml:5"}
        return document

    def status(self) -> dict[str, Any]:
        if isinstance(self.snapshot, AgentError):
            raise self.snapshot
        return self.snapshot

    def facts(self, config: AgentConfig | None) -> DoctorFacts:
        return self.found

    def disks(self, serials: Iterable[str]) -> tuple[Disk, ...]:
        return tuple(
            Disk(name=f"vd{n}", path=f"/dev/vd{n}", serial=serial, size_bytes=20 * GIB)
            for n, serial in zip("bcde", serials, strict=False)
        )


class Terminal(io.StringIO):
    """isatty as told."""

    def __init__(self, text: str = "", *, tty: bool = False) -> None:
        super().__init__(text)
        self._tty = tty

    def isatty(self) -> bool:
        return self._tty


class World:
    """One command's surroundings; `run` gives its exit status, `out` and `err` its texts."""

    def __init__(self, *, tty: bool = False, typed: str = "", root: bool = True) -> None:
        self.answers: dict[str, Any] = {}
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.local = FakeLocal()
        self.clock = FakeClock()
        self.down: OSError | None = None
        self._out, self._err = Terminal(tty=tty), Terminal(tty=tty)
        self.context = Context(
            out=Screen(stream=self._out, is_terminal=tty, width=100),
            err=Screen(stream=self._err, is_terminal=tty, width=100),
            stdin=Terminal(typed, tty=tty),
            clock=self.clock,
            connect=self._connect,
            local=self.local,
            is_root=root,
            new_id=lambda: "00000000000000aa",
        )

    def _connect(self) -> FakeSession:
        if self.down is not None:
            raise self.down
        return FakeSession(self.answers, self.asked)

    def run(self, *arguments: str) -> int:
        from storage_agent.cli.dispatch import run

        return run(arguments, self.context)

    @property
    def out(self) -> str:
        return self._out.getvalue()

    @property
    def err(self) -> str:
        return self._err.getvalue()


def facts(**changes: Any) -> DoctorFacts:
    """A host on which all is well."""
    unit = UnitFact(
        name="drbd.service",
        load="loaded",
        active="inactive",
        enabled="enabled",
        drop_ins=("/lib/systemd/system/drbd.service.d/storage-agent.conf",),
    )
    base = DoctorFacts(
        host="alpha",
        is_root=True,
        has_configuration=True,
        tools=frozenset(TOOL_PACKAGES),
        modules=frozenset(KERNEL_MODULES),
        drbd_version="8.4.11",
        units={unit.name: unit},
        fstab=(),
        exports=(),
        mdadm_lines=(f"ARRAY <ignore> UUID={ARRAY_UUID}",),
        is_clock_synchronised=True,
        state_folder=StateFolder(
            mode=0o700, owner_uid=0, source="/dev/vda1", read_only=False, free_bytes=GIB
        ),
        replica_settings={"data": good_settings()},
    )
    return replace(base, **changes)


def good_settings(**changes: str) -> dict[str, str]:
    return {
        "net.protocol": "C",
        "net.ping-int": "3",
        "net.ping-timeout": "30",
        "disk.fencing": "resource-only",
        "startup.wfc-timeout": "5",
        **{key.replace("__", ".").replace("_", "-"): value for key, value in changes.items()},
    }


def blocked(code: str = "PEER_IS_PRIMARY") -> Finding:
    from storage_agent.policy.common import blocker

    return blocker(
        code,
        "beta is Primary for data",
        measured="peer role: Primary",
        limit="peer role: Secondary",
        remedy="on beta: storage-agent demote data",
    )


NO_CONFIGURATION = ConfigurationError(
    "/etc/storage-agent/agent.toml:1: No such file or directory", remedy="write it"
)
