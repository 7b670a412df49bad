"""The real host: puts the adapters together behind model.ports.HostPort."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from storage_agent.host.block.devices import Block, is_claimed, probe_signatures, written_bytes
from storage_agent.host.drbd.adapter import Drbd
from storage_agent.host.drbd.guards import GuardReader
from storage_agent.host.drbd.incidents import read_incident, write_answer
from storage_agent.host.drbd.metadata import MetadataReader
from storage_agent.host.filesystem.adapter import Filesystem
from storage_agent.host.filesystem.content import ContentReader
from storage_agent.host.filesystem.holders import find_holders
from storage_agent.host.md.adapter import MdRaid
from storage_agent.host.md.seen import SeenRecords
from storage_agent.host.nfs.adapter import NfsObserver
from storage_agent.host.pair.compare import compare
from storage_agent.host.perform import Performer
from storage_agent.host.surroundings import SurroundingsReader
from storage_agent.host.system.apart import run_apart
from storage_agent.host.system.bounded import BoundedCalls
from storage_agent.host.system.runner import Runner
from storage_agent.host.system.services import Services
from storage_agent.host.system.store import STATE_FOLDER, FileStore
from storage_agent.host.tools import Tools
from storage_agent.host.volume.marker import read_marker
from storage_agent.host.volume.presence import put_right, what_is_wrong
from storage_agent.host.volume.proof import take_proof
from storage_agent.model.array import ArrayView, Disk
from storage_agent.model.clock import Deadline
from storage_agent.model.configuration import AgentConfig, VolumeConfig
from storage_agent.model.creation import MadeView
from storage_agent.model.errors import AgentError, OperationFailed
from storage_agent.model.filesystem import FilesystemView
from storage_agent.model.incident import Incident
from storage_agent.model.observed import Unobserved
from storage_agent.model.operation import Marker, OperationRequest
from storage_agent.model.plan import Step
from storage_agent.model.ports import Progress
from storage_agent.model.snapshot import (
    CHEAP_FACETS,
    Facet,
    HostSnapshot,
    UseView,
    VolumeSnapshot,
)
from storage_agent.model.surroundings import Surroundings

LOOK_TIMEOUT_S = 10.0
PRESENCE_TIMEOUT_S = 2.0
WATCH_WRITES_S = 2
_NOT_ASKED = Unobserved(reason="not looked at")

T = TypeVar("T")


class LinuxHost:
    """Implements HostPort. May be used by several threads."""

    def __init__(
        self,
        config: AgentConfig,
        runner: Runner,
        root: Path = Path("/"),
        *,
        seen: SeenRecords | None = None,
    ) -> None:
        """seen: None for looks that are to leave no trace."""
        self._root = root
        store = FileStore(root / str(STATE_FOLDER).lstrip("/"))
        self._metadata = MetadataReader(root)
        self._runner = runner
        self._block = Block(root)
        self._content = ContentReader(root)
        self._calls = BoundedCalls()
        # By volume, why its marker could not be written last.
        self._unwritten: dict[str, str] = {}
        drbd = Drbd(runner, root)
        self._tools = Tools(
            runner=runner,
            block=self._block,
            md=MdRaid(runner, self._block, root),
            drbd=drbd,
            guards=GuardReader(drbd),
            filesystem=Filesystem(runner, root),
            services=Services(runner),
            nfs=NfsObserver(root),
            seen=seen or SeenRecords(store, is_writer=False),
            root=root,
            markers={},
        )
        self.reconfigure(config)

    def reconfigure(self, config: AgentConfig) -> None:
        """From the next call on."""
        self._config = config
        self._performer = Performer(config, self._tools)

    def boot_id(self) -> str:
        return self._boot_id

    @cached_property
    def _boot_id(self) -> str:
        return (self._root / "proc/sys/kernel/random/boot_id").read_text().strip()

    def marker_tried(self, volume: str, problem: str) -> None:
        """Somebody has tried to write the volume's marker. problem: empty where it could."""
        self._unwritten[volume] = problem

    def disks(self, serials: tuple[str, ...]) -> tuple[Disk, ...]:
        chosen = tuple(disk for disk in self._block.disks() if disk.serial in serials)
        paths = tuple(disk.path for disk in chosen)
        found = probe_signatures(self._runner, paths, timeout_s=LOOK_TIMEOUT_S)
        return tuple(
            replace(disk, signatures=found[disk.path], claimed=is_claimed(disk.path))
            for disk in chosen
        )

    def made(self, volume: VolumeConfig) -> MadeView:
        return self._performer.look_at_made(volume)

    def surroundings(self) -> Surroundings:
        tools = self._tools
        return SurroundingsReader(self._runner, tools.md, tools.drbd, self._root).read()

    def observe(
        self, volume: VolumeConfig, facets: frozenset[Facet] = CHEAP_FACETS
    ) -> VolumeSnapshot:
        tools, host = self._tools, self._config.host

        def look(facet: Facet, view: Callable[[], T]) -> T | Unobserved:
            return _bold(view) if facet in facets else _NOT_ASKED

        replica, nfs = volume.replica, volume.nfs
        other = self._config.peer_of(host)
        peer = other.name if other else ""
        return VolumeSnapshot(
            volume=volume.name,
            host=host,
            boot_id=self.boot_id(),
            taken_monotonic_s=time.monotonic(),
            taken_wall_s=time.time(),
            array=look(Facet.ARRAY, lambda: self._array(volume)),
            replica=None
            if replica is None
            else look(
                Facet.REPLICA,
                lambda: tools.drbd.observe(
                    volume.name, replica.minor, timeout_s=LOOK_TIMEOUT_S, peer=peer
                ),
            ),
            filesystem=look(
                Facet.FILESYSTEM,
                lambda: self._filesystem(volume, identify=Facet.IDENTITY in facets),
            ),
            nfs=None
            if nfs is None
            else look(Facet.NFS, lambda: tools.nfs.observe(volume.name, nfs.address)),
            services=look(Facet.SERVICES, lambda: tools.services.view(volume.services)),
            marker=look(Facet.MARKER, lambda: self._marker(volume)),
            use=look(Facet.USE, lambda: self._use(volume)),
            content=look(Facet.CONTENT, lambda: self._content.read(volume.array_device())),
            incident=None
            if replica is None
            else look(Facet.INCIDENT, lambda: read_incident(volume.name, self._root)),
            guards=None
            if replica is None
            else look(
                Facet.GUARDS,
                lambda: tools.guards.read(self._config, volume, timeout_s=LOOK_TIMEOUT_S),
            ),
            agreement=None
            if replica is None
            else look(Facet.AGREEMENT, lambda: compare(self._config, volume, self._root)),
        )

    def _array(self, volume: VolumeConfig) -> ArrayView:
        view = self._tools.md.view(volume.array, self._config.host)
        with suppress(OperationFailed):  # Then it is not known who was in it.
            view = replace(view, seen=self._tools.seen.follow(volume.name, view))
        array = view.array
        if volume.replica is None or array is None or not array.running():
            return view
        return replace(view, has_metadata=self._metadata.look(f"/dev/{array.name}"))

    def _use(self, volume: VolumeConfig) -> UseView:
        """Takes WATCH_WRITES_S where there is such a device."""
        device = volume.device()
        before = written_bytes(device, self._root)
        if before is not None:
            time.sleep(WATCH_WRITES_S)
        after = written_bytes(device, self._root)
        return UseView(
            holders=find_holders(volume.mount_point, device, self._root),
            written_bytes=None if before is None or after is None else after - before,
            watched_s=WATCH_WRITES_S,
        )

    def _filesystem(self, volume: VolumeConfig, *, identify: bool) -> FilesystemView:
        view = self._tools.filesystem.view(volume, identify=identify)
        here = [mount for mount in view.mounts if mount.mount_point == volume.mount_point]
        if not here:
            return view
        if here[0].read_only:
            return replace(view, unwritten=f"{volume.mount_point} is mounted read-only")
        path = str(self._root / volume.mount_point.lstrip("/"))
        key = f"the agent's folder on {volume.mount_point}"
        try:
            wrong = self._calls.run(key, lambda: what_is_wrong(path), timeout_s=PRESENCE_TIMEOUT_S)
        except (AgentError, OSError):
            wrong = ""  # A frozen or failing volume says so elsewhere.
        return replace(
            view,
            disturbed=wrong,
            put_right=put_right(volume.name, self._root),
            unwritten=self._unwritten.get(volume.name, ""),
        )

    def _marker(self, volume: VolumeConfig) -> Marker | Unobserved | None:
        mounts = self._tools.filesystem.view(volume).mounts
        if any(mount.mount_point == volume.mount_point for mount in mounts):
            path = self._root / volume.mount_point.lstrip("/")
            key = f"the marker on {volume.mount_point}"
            return self._calls.run(key, lambda: read_marker(path), timeout_s=LOOK_TIMEOUT_S)
        if volume.name not in self._tools.markers:
            raise OperationFailed(f"the filesystem of {volume.name} was not looked at")
        return self._tools.markers[volume.name]

    def host_snapshot(self, facets: frozenset[Facet] = CHEAP_FACETS) -> HostSnapshot:
        """All configured volumes."""
        drbd_version, problems = None, list[str]()
        try:
            drbd_version = self._tools.drbd.driver_version()
        except AgentError as exc:
            problems.append(exc.message)
        return HostSnapshot(
            host=self._config.host,
            boot_id=self.boot_id(),
            taken_monotonic_s=time.monotonic(),
            taken_wall_s=time.time(),
            volumes={name: self.observe(v, facets) for name, v in self._config.volumes.items()},
            drbd_version=drbd_version,
            problems=tuple(problems),
        )

    def perform(
        self,
        step: Step,
        volume: VolumeConfig,
        request: OperationRequest,
        deadline: Deadline,
        progress: Progress,
    ) -> None:
        self._performer.perform(step.kind, volume, request, deadline)

    def take_proof(self, volume: VolumeConfig, name: str) -> str:
        """In a child: the volume may be frozen."""
        return run_apart(
            f"reading what a client wrote to {volume.mount_point}",
            lambda: take_proof(volume.mount_point, name),
            code="NO_PROOF",
            timeout_s=LOOK_TIMEOUT_S,
            outside=True,
        ).decode()

    def answer(self, incident: Incident) -> None:
        write_answer(incident, self._root)


def _bold(view: Callable[[], T]) -> T | Unobserved:
    """A look that fails is a fact about the host, not an end of the looking."""
    try:
        return view()
    except AgentError as exc:
        return Unobserved(reason=exc.message)
    except OSError as exc:
        return Unobserved(reason=f"{exc.filename or 'system'}: {exc.strerror or exc}")
