"""A clock, a store and a host in memory, behind the same ports as the real ones."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from storage_agent.model.agreement import Agreement
from storage_agent.model.array import Array, ArrayState, ArrayView, Disk, SeenMembers, Superblock
from storage_agent.model.clock import Deadline
from storage_agent.model.configuration import (
    AgentConfig,
    Arbitration,
    ArrayConfig,
    FilesystemConfig,
    HostConfig,
    NfsConfig,
    ReplicaConfig,
    VolumeConfig,
)
from storage_agent.model.creation import MadeView
from storage_agent.model.errors import OperationFailed
from storage_agent.model.filesystem import Content, FilesystemView, Mount
from storage_agent.model.guards import (
    Guards,
)
from storage_agent.model.incident import Incident
from storage_agent.model.nfs import NfsView, ServerState
from storage_agent.model.observed import Unobserved
from storage_agent.model.operation import Marker, OperationRequest
from storage_agent.model.plan import Step, StepKind
from storage_agent.model.ports import Progress
from storage_agent.model.replica import (
    ConnectionState,
    DiskState,
    Replica,
    ReplicationState,
    Role,
)
from storage_agent.model.snapshot import (
    CHEAP_FACETS,
    JUDGED_FACETS,
    Attachment,
    Facet,
    ServiceView,
    UseView,
    VolumeSnapshot,
)
from storage_agent.model.surroundings import Surroundings
from tests.unit.replicas import guards_as, in_sync_replica, with_peer

ARRAY_UUID = "11111111:22222222:33333333:44444444"
FILESYSTEM_UUID = "0f4c2a36-9b5e-4b5e-8f4e-3f1f6f1e9a10"
# The claim by which a coordinator has adopted the volume.
COORDINATOR = "claim-1"
CONTENT = Content(type="ext4", uuid=FILESYSTEM_UUID, size_bytes=500 << 20)
QUIET = UseView(holders=(), written_bytes=0, watched_s=2)
NOTHING_ELSE = Surroundings(replicas=(), arrays=(), listeners=())
NOTHING_MADE = MadeView(files={}, signatures=None, generation=None)
SERIALS = ("alpha-0", "alpha-1", "alpha-2", "alpha-3")


def volume_config(name: str = "data", *, services: tuple[str, ...] = ()) -> VolumeConfig:
    return VolumeConfig(
        name=name,
        mount_point=f"/srv/{name}",
        arbitration=Arbitration.NONE,
        array=ArrayConfig(
            level="raid10",
            disks={"alpha": SERIALS, "beta": ("beta-0", "beta-1", "beta-2", "beta-3")},
            uuid={"alpha": ARRAY_UUID},
        ),
        replica=ReplicaConfig(minor=0, port=7789),
        filesystem=FilesystemConfig(type="ext4", uuid=FILESYSTEM_UUID, options=()),
        nfs=NfsConfig(
            address="10.9.0.10/24",
            interface="eth2",
            link="macvlan",
            clients=("10.9.0.0/24",),
            options=("rw", "sync"),
            threads=8,
        ),
        services=services,
    )


def agent_config(*volumes: VolumeConfig) -> AgentConfig:
    chosen = volumes or (volume_config(),)
    return AgentConfig(
        host="alpha",
        hosts={
            "alpha": HostConfig(name="alpha", address="10.8.0.1"),
            "beta": HostConfig(name="beta", address="10.8.0.2"),
        },
        volumes={volume.name: volume for volume in chosen},
    )


class FakeClock:
    """Sleeping moves it."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s

    def wall(self) -> float:
        return 1_700_000_000.0 + self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


class Crash(BaseException):
    """The daemon is killed here."""


class MemoryStore:
    """crash_at: number of the write before (or, with after=True, behind) which to crash."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.writes = 0
        self.crash_at: int | None = None
        self.crash_after = False
        self.full = False

    def read(self, name: str) -> bytes | None:
        return self.files.get(name)

    def replace(self, name: str, content: bytes) -> None:
        self._write(name, content)

    def append(self, name: str, content: bytes) -> None:
        self._write(name, self.files.get(name, b"") + content)

    def names(self, prefix: str) -> tuple[str, ...]:
        return tuple(sorted(name for name in self.files if name.startswith(prefix)))

    def remove(self, name: str) -> None:
        self.files.pop(name, None)

    def require_writable(self) -> None:
        if self.full:
            raise OperationFailed("No space left on device", code="STATE_FOLDER")

    def _write(self, name: str, content: bytes) -> None:
        if self.full:
            raise OperationFailed("No space left on device", code="STATE_FOLDER")
        self.writes += 1
        if self.writes == self.crash_at and not self.crash_after:
            raise Crash
        self.files[name] = content
        if self.writes == self.crash_at:
            raise Crash


T = TypeVar("T")
Fault = Callable[[], None]


@dataclass
class FakeHost:
    """alpha, with its array assembled and DRBD connected and in sync, unless a test says else.

    performed: every step that acted, in order.  faults: called before a step acts.
    deaf: steps that return without doing anything, as tools that exit 0 do.  written: what clients
    have left on the volume, by name.
    """

    clock: FakeClock = field(default_factory=FakeClock)
    array: ArrayState | None = ArrayState.ACTIVE
    array_bytes: int = 512 << 20
    possible_bytes: int | None = 512 << 20
    attached: tuple[Superblock, ...] = ()
    missing: tuple[str, ...] = ()
    seen_members: SeenMembers | None = None
    has_metadata: bool | None = None
    replica: Replica | None = None
    mounted: bool = False
    server: ServerState = ServerState.STANDBY
    services_active: bool = False
    mount_point_state: str = "ready"
    attachment: Attachment | None = None
    filesystem_uuid: str | None = None
    boot: str = "boot-1"
    blind: dict[Facet, str] = field(default_factory=dict)
    performed: list[StepKind] = field(default_factory=list)
    faults: dict[StepKind, Fault] = field(default_factory=dict)
    deaf: set[StepKind] = field(default_factory=set)
    disk_list: tuple[Disk, ...] = ()
    marker: Marker | None = None
    incident: Incident | Unobserved | None = None
    use: UseView = QUIET
    content: Content | None = CONTENT
    around: Surroundings = NOTHING_ELSE
    made_view: MadeView = NOTHING_MADE
    answered: list[Incident] = field(default_factory=list)
    written: dict[str, bytes] = field(default_factory=dict)
    # What the kernel does when the hosts lose each other; None: what is configured.
    guards: Guards | None = None
    # What the peer's agent says; None: there is nobody to compare with.
    agreement: Agreement | Unobserved | None = None

    def __post_init__(self) -> None:
        if self.replica is None:
            self.replica = in_sync_replica()

    def boot_id(self) -> str:
        return self.boot

    def made(self, volume: VolumeConfig) -> MadeView:
        return self.made_view

    def surroundings(self) -> Surroundings:
        return self.around

    def disks(self, serials: tuple[str, ...]) -> tuple[Disk, ...]:
        return tuple(disk for disk in self.disk_list if disk.serial in serials)

    def observe(
        self, volume: VolumeConfig, facets: frozenset[Facet] = CHEAP_FACETS
    ) -> VolumeSnapshot:
        def look(facet: Facet, view: Callable[[], T]) -> T | Unobserved:
            if facet in self.blind:
                return Unobserved(reason=self.blind[facet])
            return view() if facet in facets else Unobserved(reason="not asked")

        return VolumeSnapshot(
            volume=volume.name,
            host="alpha",
            boot_id=self.boot,
            taken_monotonic_s=self.clock.monotonic(),
            taken_wall_s=self.clock.wall(),
            attachment=self.attachment,
            array=look(Facet.ARRAY, self._array_view),
            replica=look(Facet.REPLICA, lambda: self.replica),
            filesystem=look(Facet.FILESYSTEM, lambda: self._filesystem_view(volume, facets)),
            nfs=look(Facet.NFS, lambda: NfsView(state=self.server, address="10.9.0.10")),
            services=look(Facet.SERVICES, lambda: self._services_view(volume)),
            marker=look(Facet.MARKER, lambda: self.marker),
            use=look(Facet.USE, lambda: self.use),
            content=look(Facet.CONTENT, lambda: self.content),
            incident=look(Facet.INCIDENT, lambda: self.incident),
            guards=look(Facet.GUARDS, lambda: self._guards(volume)),
            agreement=None
            if self.agreement is None
            else look(Facet.AGREEMENT, lambda: self.agreement),
        )

    def seen(self, volume: VolumeConfig) -> VolumeSnapshot:
        """What the observer would show of it."""
        return self.observe(volume, JUDGED_FACETS)

    def take_proof(self, volume: VolumeConfig, name: str) -> str:
        if name not in self.written:
            raise OperationFailed(f"{name}: No such file or directory", code="NO_PROOF")
        return hashlib.sha256(self.written.pop(name)).hexdigest()

    def _guards(self, volume: VolumeConfig) -> Guards | None:
        if self.replica is None:
            return None
        return self.guards or guards_as(volume.arbitration)

    def answer(self, incident: Incident) -> None:
        self.answered.append(incident)
        self.incident = incident

    def perform(
        self,
        step: Step,
        volume: VolumeConfig,
        request: OperationRequest,
        deadline: Deadline,
        progress: Progress,
    ) -> None:
        self.clock.now_s += 0.1
        if fault := self.faults.get(step.kind):
            fault()
        self.performed.append(step.kind)
        if step.kind not in self.deaf:
            self._act(step.kind)
        if step.kind is StepKind.TAKE_OPTIONS and step.kind not in self.deaf:
            self.guards = guards_as(volume.arbitration)
        if step.kind is StepKind.WRITE_MARKER and step.kind not in self.deaf:
            assert request.epoch is not None
            self.marker = Marker(
                epoch=request.epoch,
                counter=self.marker.counter + 1 if self.marker else 1,
                operation_id=request.operation_id,
                host="alpha",
                boot_id=self.boot,
                wall_s=self.clock.wall(),
            )

    def _act(self, kind: StepKind) -> None:
        changes: dict[StepKind, dict[str, object]] = {
            StepKind.MAKE_ARRAY: {"array": ArrayState.ACTIVE},
            StepKind.ASSEMBLE_ARRAY: {"array": ArrayState.ACTIVE},
            StepKind.START_DEGRADED: {"array": ArrayState.ACTIVE},
            StepKind.MAKE_METADATA: {"has_metadata": True},
            StepKind.STOP_ARRAY: {"array": None},
            StepKind.REPLICA_DOWN: {"replica": None},
            StepKind.MOUNT: {"mounted": True},
            StepKind.UNMOUNT: {"mounted": False},
            StepKind.START_SERVER: {"server": ServerState.STARTED},
            StepKind.STOP_SERVER: {"server": ServerState.STANDBY},
            StepKind.PREPARE_SERVER: {"server": ServerState.STANDBY},
            StepKind.LINK_UP: {"server": ServerState.SERVING},
            StepKind.LINK_DOWN: {"server": ServerState.STARTED},
            StepKind.START_SERVICES: {"services_active": True},
            StepKind.STOP_SERVICES: {"services_active": False},
            StepKind.MAKE_FILESYSTEM: {"filesystem_uuid": FILESYSTEM_UUID},
        }
        for name, value in changes.get(kind, {}).items():
            setattr(self, name, value)
        alone, gone = ConnectionState.STANDALONE, ReplicationState.OFF
        if kind is StepKind.DISCONNECT and self.replica is not None:
            self.replica = with_peer(
                self.replica, connection=alone, disk=DiskState.OUTDATED, replication=gone
            )
        if kind is StepKind.SEE_GOOD_COPY:
            self.replica = dataclasses.replace(in_sync_replica(), disk=DiskState.DISKLESS)
        if kind in (StepKind.REPLICA_UP, StepKind.CONNECT, StepKind.CONNECT_DISCARDING):
            role = self.replica.role if self.replica else Role.SECONDARY
            self.replica = in_sync_replica(role=role)
        roles = {
            StepKind.PRIMARY: Role.PRIMARY,
            StepKind.FIRST_PRIMARY: Role.PRIMARY,
            StepKind.SECONDARY: Role.SECONDARY,
        }
        if kind in roles and self.replica is not None:
            self.replica = dataclasses.replace(self.replica, role=roles[kind])

    def _array_view(self) -> ArrayView:
        array = (
            None
            if self.array is None
            else Array(
                name="md127",
                uuid=ARRAY_UUID,
                level="raid10",
                state=self.array,
                raid_disks=4,
                degraded=0,
                size_bytes=self.array_bytes,
                possible_bytes=self.possible_bytes,
                sync_action="idle",
                members=(),
                links=("/dev/md/data",),
            )
        )
        return ArrayView(
            array=array,
            attached=self.attached,
            missing=self.missing,
            seen=self.seen_members,
            has_metadata=self.has_metadata if array is not None else None,
        )

    def _filesystem_view(self, volume: VolumeConfig, facets: frozenset[Facet]) -> FilesystemView:
        mounts = (
            Mount(
                mount_point=volume.mount_point,
                source=volume.device(),
                device="147:0",
                root="/",
                type="ext4",
                read_only=False,
            ),
        )
        known = self.filesystem_uuid if Facet.IDENTITY in facets else None
        return FilesystemView(
            uuid=known,
            type="ext4" if known else None,
            mounts=mounts if self.mounted else (),
            mount_point_state="mounted" if self.mounted else self.mount_point_state,
        )

    def _services_view(self, volume: VolumeConfig) -> tuple[ServiceView, ...]:
        active = "active" if self.services_active else "inactive"
        return tuple(
            ServiceView(unit=unit, active=active, sub="", enabled="disabled")
            for unit in volume.services
        )
