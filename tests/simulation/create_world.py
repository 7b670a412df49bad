"""One host on which a volume is made: disks, md, DRBD, a filesystem and files, as far as `create`
can leave them half-way. Every act is cut into pieces, and the host can lose its daemon or its power
between any two."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

from storage_agent.model.array import Array, ArrayState, ArrayView, Disk, Superblock
from storage_agent.model.clock import Deadline
from storage_agent.model.configuration import VolumeConfig
from storage_agent.model.creation import JUST_CREATED, FileState, MadeView
from storage_agent.model.errors import CommandFailed, OperationFailed, Refused
from storage_agent.model.filesystem import Content, FilesystemView
from storage_agent.model.incident import Incident
from storage_agent.model.nfs import NfsView, ServerState
from storage_agent.model.observed import Unobserved
from storage_agent.model.operation import OperationRequest
from storage_agent.model.plan import Step, StepKind
from storage_agent.model.ports import Progress
from storage_agent.model.replica import DiskState, GenerationIdentifiers, Replica, Role
from storage_agent.model.snapshot import CHEAP_FACETS, Facet, UseView, VolumeSnapshot
from storage_agent.model.surroundings import Surroundings

HOST = "alpha"
NOBODY = UseView(holders=(), written_bytes=0, watched_s=2)
UNASKED = Unobserved(reason="not asked")
SIZE_BYTES = 256 << 20


class Crash(BaseException):
    """The daemon is gone; with the power, or without."""


@dataclass(slots=True)
class OneDisk:
    """foreign: what somebody else has on it."""

    superblock: str = ""
    foreign: str = ""


@dataclass(slots=True)
class OnArray:
    """What lies on the assembled array. filesystem: type, UUID, and whether mkfs has ended.
    unsigned: what mkfs writes and no signature tells."""

    metadata: bool = False
    current: int = JUST_CREATED
    # Of the newest sync that has ended.
    history: int = 0
    bitmap: int = 0
    up_to_date: bool = False
    filesystem: tuple[str, str, bool] | None = None
    foreign: tuple[str, str] | None = None
    unsigned: bool = False
    was_used: bool = False


@dataclass(slots=True)
class CreateHost:
    """Implements HostPort. crash_at: number of the piece before which it happens."""

    serials: tuple[str, ...]
    disks_by_serial: dict[str, OneDisk] = field(default_factory=dict)
    content: OnArray = field(default_factory=OnArray)
    boot: int = 1
    array_runs: bool = False
    role: Role | None = None
    server: bool = False
    files: dict[str, FileState] = field(default_factory=dict)
    pieces: int = 0
    crash_at: int = 0
    with_power: bool = False
    edited: bool = False
    log: list[str] = field(default_factory=list)
    failing: frozenset[StepKind] = frozenset()

    def __post_init__(self) -> None:
        self.disks_by_serial = {serial: OneDisk() for serial in self.serials}

    # --- time ----------------------------------------------------------------------------------

    def piece(self, name: str) -> None:
        self.pieces += 1
        if self.pieces == self.crash_at:
            self.log.append(name)
            if self.with_power:
                self.power_cut()
            raise Crash

    def power_cut(self) -> None:
        self.boot += 1
        self.array_runs, self.role, self.server = False, None, False

    def traces(self) -> dict[str, object]:
        """Empty on a host on which nothing was made."""
        found: dict[str, object] = {
            s: d.superblock for s, d in self.disks_by_serial.items() if d.superblock
        }
        content = self.content
        if content.metadata or content.filesystem or content.unsigned:
            found["content"] = content
        for what, there in (("array", self.array_runs), ("server", self.server),
                            ("role", self.role), ("files", self.files)):  # fmt: skip
            if there:
                found[what] = there
        return found

    # --- HostPort: looking -----------------------------------------------------------------------

    def boot_id(self) -> str:
        return f"boot-{self.boot}"

    def disks(self, serials: tuple[str, ...]) -> tuple[Disk, ...]:
        self.piece("disks")
        return tuple(
            Disk(
                name=serial,
                path=f"/dev/{serial}",
                serial=serial,
                size_bytes=SIZE_BYTES,
                signatures=tuple(filter(None, (d.foreign, d.superblock and "linux_raid_member"))),
                holders=("md127",) if self.array_runs else (),
                claimed=self.array_runs,
            )
            for serial, d in self.disks_by_serial.items()
            if serial in serials
        )

    def surroundings(self) -> Surroundings:
        return Surroundings(replicas=(), arrays=(), listeners=())

    def made(self, volume: VolumeConfig) -> MadeView:
        content = self.content
        found = [("drbd", "1f")] if content.metadata else []
        if content.filesystem:
            found.append(content.filesystem[:2])
        if content.foreign:
            found.append(content.foreign)
        attached = self.role is not None
        whole = bool(content.filesystem and content.filesystem[2])
        return MadeView(
            files={
                name: FileState.CHANGED if self.edited else state
                for name, state in self.files.items()
            },
            signatures=tuple(found) if self.array_runs else None,
            generation=GenerationIdentifiers(
                current=f"{content.current:016X}",
                bitmap=f"{content.bitmap:016X}",
                history=(f"{content.history:016X}", f"{0:016X}"),
            )
            if attached
            else None,
            is_pristine=not content.was_used if whole and self.array_runs else None,
        )

    def observe(
        self, volume: VolumeConfig, facets: frozenset[Facet] = CHEAP_FACETS
    ) -> VolumeSnapshot:
        self.piece("observe")
        replica = None if self.role is None else self._replica()
        return VolumeSnapshot(
            volume=volume.name,
            host=HOST,
            boot_id=self.boot_id(),
            taken_monotonic_s=0,
            taken_wall_s=0,
            array=self._array_view(volume) if Facet.ARRAY in facets else UNASKED,
            replica=replica if Facet.REPLICA in facets else UNASKED,
            filesystem=self._filesystem(facets) if Facet.FILESYSTEM in facets else UNASKED,
            nfs=NfsView(
                state=ServerState.STANDBY if self.server else ServerState.ABSENT,
                address="10.9.0.10",
            )
            if Facet.NFS in facets
            else UNASKED,
            services=() if Facet.SERVICES in facets else UNASKED,
            use=NOBODY if Facet.USE in facets else UNASKED,
            content=self._content() if Facet.CONTENT in facets else UNASKED,
        )

    def _replica(self) -> Replica:
        assert self.role is not None
        state = DiskState.UP_TO_DATE if self.content.up_to_date else DiskState.INCONSISTENT
        return Replica(
            resource="data",
            minor=0,
            driver_version="8.4.11",
            role=self.role,
            disk=state,
            size_bytes=SIZE_BYTES,
        )

    def _array_view(self, volume: VolumeConfig) -> ArrayView:
        blocks = tuple(
            Superblock(
                disk=serial,
                serial=serial,
                array_uuid=d.superblock,
                device_uuid="",
                name="data",
                level="raid10",
                raid_disks=len(self.serials),
                role=number,
                events=1,
                array_state="",
            )
            for number, (serial, d) in enumerate(self.disks_by_serial.items())
            if d.superblock
        )
        array = Array(
            name="md127",
            uuid=blocks[0].array_uuid,
            level="raid10",
            state=ArrayState.ACTIVE,
            raid_disks=len(self.serials),
            degraded=0,
            size_bytes=SIZE_BYTES,
            sync_action="idle",
            members=(),
            links=(volume.array_device(),),
        ) if self.array_runs and blocks else None  # fmt: skip
        return ArrayView(array=array, attached=blocks, missing=())

    def _filesystem(self, facets: frozenset[Facet]) -> FilesystemView:
        made = self.content.filesystem if self.role is Role.PRIMARY else None
        wanted = Facet.IDENTITY in facets and made is not None and made[2]
        return FilesystemView(
            type=made[0] if made and wanted else None,
            uuid=made[1] if made and wanted else None,
            mounts=(),
            mount_point_state="ready",
        )

    def _content(self) -> Content | Unobserved | None:
        if not self.array_runs:
            return Unobserved(reason="no such device")
        made = self.content.filesystem
        if made is None or not made[2]:
            return None
        return Content(type=made[0], uuid=made[1], size_bytes=SIZE_BYTES)

    # --- HostPort: acting ------------------------------------------------------------------------

    def take_proof(self, volume: VolumeConfig, name: str) -> str:
        raise AssertionError(name)

    def answer(self, incident: Incident) -> None:
        raise AssertionError(incident)

    def perform(
        self,
        step: Step,
        volume: VolumeConfig,
        request: OperationRequest,
        deadline: Deadline,
        progress: Progress,
    ) -> None:
        self.piece(f"before {step.kind}")
        if step.kind in self.failing:
            raise OperationFailed(f"{step.kind} does not work", remedy="see why")
        getattr(self, f"_{step.kind.value.replace('-', '_')}")(volume)
        self.piece(f"after {step.kind}")

    def _write_configuration(self, volume: VolumeConfig) -> None:
        for name in ("res", "toml"):
            self.piece("write a file")
            self.files[name] = FileState.WRITTEN

    def _make_array(self, volume: VolumeConfig) -> None:
        if any(d.superblock or d.foreign for d in self.disks_by_serial.values()):
            raise CommandFailed(("mdadm",), 2, "mdadm: create aborted")
        for disk in self.disks_by_serial.values():
            self.piece("write a superblock")
            disk.superblock = volume.array.uuid[HOST]
        self.array_runs = True

    def _assemble_array(self, volume: VolumeConfig) -> None:
        uuids = {d.superblock for d in self.disks_by_serial.values()}
        if uuids != {volume.array.uuid[HOST]}:
            raise CommandFailed(("mdadm",), 1, "mdadm: no such array")
        self.array_runs = True

    def _stop_array(self, volume: VolumeConfig) -> None:
        if self.role is not None:
            raise CommandFailed(("mdadm",), 1, "mdadm: in use")
        self.array_runs = False

    def _make_metadata(self, volume: VolumeConfig) -> None:
        if self.content.metadata:
            return
        if self.content.filesystem or self.content.foreign or self.content.unsigned:
            raise Refused("its disk is not blank", code="DRBD_DATA_FOUND")
        self.piece("write metadata")
        self.content.metadata = True
        self.content.current, self.content.bitmap = JUST_CREATED, 0
        self.content.up_to_date = False

    def _replica_up(self, volume: VolumeConfig) -> None:
        if not self.array_runs or not self.content.metadata:
            raise OperationFailed("its lower disk cannot be used", code="DRBD_DISK")
        self.role = self.role or Role.SECONDARY

    def _replica_down(self, volume: VolumeConfig) -> None:
        if self.role is Role.PRIMARY:
            raise Refused("its device is held open", code="DRBD_HELD_OPEN")
        self.role = None

    def _first_primary(self, volume: VolumeConfig) -> None:
        assert self.role is not None
        content = self.content
        # Once by DRBD's worker and once by the command, which finds the bitmap's taken then.
        for _ in range(2):
            content.bitmap, content.current = content.current, content.current + 0x1000
        content.up_to_date, self.role = True, Role.PRIMARY

    def _secondary(self, volume: VolumeConfig) -> None:
        if self.role is not None:
            self.role = Role.SECONDARY

    def _make_filesystem(self, volume: VolumeConfig) -> None:
        """mkfs.xfs writes its superblock first, mke2fs its own last."""
        assert self.role is Role.PRIMARY or volume.replica is None
        if self.content.filesystem:
            raise OperationFailed("carries something", remedy="look", code="HAS_SIGNATURE")
        kind, uuid = volume.filesystem.type, volume.filesystem.uuid or ""
        if kind == "xfs":
            self.content.filesystem = (kind, uuid, False)
        # Only create-md looks for it, and it has seen a blank disk.
        self.content.unsigned = self.content.metadata
        self.piece("within mkfs")
        self.content.filesystem = (kind, uuid, True)

    def _prepare_server(self, volume: VolumeConfig) -> None:
        self.server = True

    def _remove_server(self, volume: VolumeConfig) -> None:
        self.server = False

    def _erase_content(self, volume: VolumeConfig) -> None:
        assert self.array_runs
        assert self.role is None
        if self.content.foreign:
            raise Refused("carries what create did not write", code="CREATION_CHANGED")
        if self.content.metadata:
            self.content.unsigned = False
            self.piece("blanked")
        self.content.filesystem = None
        self.piece("between two signatures")
        self.content.metadata = False

    def _erase_array(self, volume: VolumeConfig) -> None:
        assert not self.array_runs
        for disk in self.disks_by_serial.values():
            self.piece("erase a superblock")
            if disk.superblock == volume.array.uuid[HOST]:
                disk.superblock = ""

    def _remove_configuration(self, volume: VolumeConfig) -> None:
        if self.edited:
            raise Refused("not as create wrote it", code="CREATION_CHANGED")
        for name in tuple(self.files):
            self.piece("remove a file")
            del self.files[name]


def kinds_seen() -> frozenset[StepKind]:
    """Steps that this world knows."""
    known = {name.lstrip("_").replace("_", "-") for name in dir(CreateHost)}
    return frozenset(kind for kind in StepKind if kind.value in known)


def fresh(serials: tuple[str, ...], **changes: object) -> CreateHost:
    return dataclasses.replace(CreateHost(serials), **changes)  # type: ignore[arg-type]
