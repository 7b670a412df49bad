"""Does the steps, one function each. None of them proves anything: the engine looks afterwards."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from storage_agent.host.creating import Creating
from storage_agent.host.drbd.reconnect import connect, disconnect
from storage_agent.host.filesystem.holders import find_holders
from storage_agent.host.nfs.control import ServerControl, prepare_settings
from storage_agent.host.nfs.protocol import GENERATION
from storage_agent.host.system.apart import run_apart
from storage_agent.host.system.clock import SystemClock
from storage_agent.host.system.files import replace_file
from storage_agent.host.tools import Act, Tools
from storage_agent.host.volume.look import look_at_marker
from storage_agent.host.volume.marker import write_next_marker
from storage_agent.model.clock import Deadline
from storage_agent.model.configuration import AgentConfig, VolumeConfig
from storage_agent.model.creation import MadeView
from storage_agent.model.errors import AgentError, Missing, OperationFailed, refuse_blockers
from storage_agent.model.finding import Finding, blocker
from storage_agent.model.members import select
from storage_agent.model.nfs import ServerState
from storage_agent.model.observed import Unobserved
from storage_agent.model.operation import Marker, OperationRequest
from storage_agent.model.plan import StepKind

GRANTS = Path("run/storage-agent/grants")
# knfsd lets go of a filesystem some milliseconds after its last thread has ended.
UNMOUNT_TRIES = 5
UNMOUNT_PAUSE_S = 0.2
STATUS_TIMEOUT_S = 5.0


class Performer:
    """Raises AgentError for whatever keeps a step from being done."""

    def __init__(self, config: AgentConfig, tools: Tools) -> None:
        self._config = config
        self._tools = tools
        self._clock = SystemClock()
        self._creating = Creating(config, tools)
        self._acts: dict[StepKind, Act] = {
            **self._creating.acts(),
            StepKind.ASSEMBLE_ARRAY: self._assemble_array,
            StepKind.START_DEGRADED: lambda v, r, t: self._assemble_array(
                v, r, t, is_degraded=True
            ),
            StepKind.STOP_ARRAY: self._stop_array,
            StepKind.REPLICA_UP: self._replica_up,
            StepKind.TAKE_OPTIONS: self._take_options,
            StepKind.REPLICA_DOWN: self._replica_down,
            # Only looked for.
            StepKind.WAIT_FOR_PEER: lambda v, r, t: None,
            StepKind.DISCONNECT: lambda v, r, t: disconnect(tools.drbd, v, timeout_s=t),
            StepKind.CONNECT: lambda v, r, t: connect(tools.drbd, self._clock, v, timeout_s=t),
            StepKind.CONNECT_DISCARDING: lambda v, r, t: connect(
                tools.drbd, self._clock, v, timeout_s=t, discarding=True
            ),
            StepKind.GRANT_PROMOTION: self._grant_promotion,
            StepKind.WITHDRAW_GRANT: self._withdraw_grant,
            StepKind.PRIMARY: self._primary,
            StepKind.SECONDARY: self._secondary,
            StepKind.READ_MARKER: self._read_marker,
            StepKind.MOUNT: self._mount,
            StepKind.WRITE_MARKER: self._write_marker,
            StepKind.UNMOUNT: self._unmount,
            StepKind.PREPARE_SERVER: self._prepare_server,
            StepKind.START_SERVER: self._start_server,
            StepKind.STOP_SERVER: lambda v, r, t: self._server(v).stop(timeout_s=t),
            StepKind.LINK_UP: lambda v, r, t: self._server(v).link_up(timeout_s=t),
            StepKind.LINK_DOWN: lambda v, r, t: self._server(v).link_down(timeout_s=t),
            StepKind.PROVE_EXPORT: lambda v, r, t: self._server(v).prove(timeout_s=t),
            StepKind.START_SERVICES: self._start_services,
            StepKind.STOP_SERVICES: self._stop_services,
        }

    def look_at_made(self, volume: VolumeConfig) -> MadeView:
        return self._creating.look(volume)

    def perform(
        self, kind: StepKind, volume: VolumeConfig, request: OperationRequest, deadline: Deadline
    ) -> None:
        self._acts[kind](volume, request, deadline.left_s(self._clock))

    # --- array and replica ---------------------------------------------------------------------

    def _assemble_array(
        self,
        volume: VolumeConfig,
        request: OperationRequest,
        timeout_s: float,
        *,
        is_degraded: bool = False,
    ) -> None:
        """What udev or an initramfs has assembled, half or under another name, is stopped and
        assembled anew; unless something uses it, which mdadm finds out."""
        view = self._tools.md.view(volume.array, self._config.host, fresh=True)
        view = replace(view, seen=self._tools.seen.follow(volume.name, view))
        members = select(volume.array, view, self._config.host)
        if not members.is_whole() and not is_degraded:
            raise Missing(
                f"a member of the array of {volume.name} is not attached any more",
                remedy=f"storage-agent status {volume.name}",
                code="MEMBER_MISSING",
            )
        paths = {disk.name: disk.path for disk in self._tools.block.disks()}
        if view.array is not None:
            self._tools.md.stop(view.array.name, timeout_s=timeout_s)
        self._tools.md.assemble(
            volume.array_device(),
            volume.array.uuid[self._config.host],
            tuple(paths[member.disk] for member in members.chosen if member.disk in paths),
            is_degraded=is_degraded,
            timeout_s=timeout_s,
        )

    def _stop_array(
        self, volume: VolumeConfig, request: OperationRequest, timeout_s: float
    ) -> None:
        view = self._tools.md.view(volume.array, self._config.host)
        if view.array is not None:
            self._tools.md.stop(view.array.name, timeout_s=timeout_s)

    def _replica_up(
        self, volume: VolumeConfig, request: OperationRequest, timeout_s: float
    ) -> None:
        self._tools.drbd.load_module(timeout_s=timeout_s)
        self._creating.write_resource(volume)
        self._tools.drbd.up(volume.name, timeout_s=timeout_s)

    def _take_options(
        self, volume: VolumeConfig, request: OperationRequest, timeout_s: float
    ) -> None:
        """The file first: the handlers are whatever stands there."""
        self._creating.write_resource(volume)
        held = self._tools.guards.read(self._config, volume, timeout_s=timeout_s)
        names = held.options if held is not None else {}
        has_connection = any(name.startswith("net.") for name in names)
        self._tools.drbd.take_options(
            volume.name,
            has_connection=has_connection and held is not None and held.is_link_current,
            timeout_s=timeout_s,
        )

    def _replica_down(
        self, volume: VolumeConfig, request: OperationRequest, timeout_s: float
    ) -> None:
        self._tools.drbd.down(volume.name, timeout_s=timeout_s)

    def _grant_promotion(
        self, volume: VolumeConfig, request: OperationRequest, timeout_s: float
    ) -> None:
        """For libexec/fence-peer, which the kernel calls while `drbdadm primary` waits."""
        folder = self._tools.root / GRANTS
        boot_id = (self._tools.root / "proc/sys/kernel/random/boot_id").read_text().strip()
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            grant = f"promote {boot_id} {request.operation_id}\n"
            replace_file(folder / volume.name, grant.encode())
        except OSError as exc:
            raise OperationFailed(f"{folder}: {exc.strerror}") from exc

    def _withdraw_grant(
        self, volume: VolumeConfig, request: OperationRequest, timeout_s: float
    ) -> None:
        (self._tools.root / GRANTS / volume.name).unlink(missing_ok=True)

    def _primary(self, volume: VolumeConfig, request: OperationRequest, timeout_s: float) -> None:
        self._tools.drbd.primary(volume.name, self._minor(volume), timeout_s=timeout_s)

    def _secondary(self, volume: VolumeConfig, request: OperationRequest, timeout_s: float) -> None:
        try:
            self._tools.drbd.secondary(volume.name, self._minor(volume), timeout_s=timeout_s)
        except AgentError as exc:
            raise self._with_holders(volume, exc) from exc

    @staticmethod
    def _minor(volume: VolumeConfig) -> int:
        assert volume.replica is not None
        return volume.replica.minor

    # --- filesystem and services ---------------------------------------------------------------

    def _mount(self, volume: VolumeConfig, request: OperationRequest, timeout_s: float) -> None:
        self._tools.filesystem.mount(volume, timeout_s=timeout_s)

    def _require_identity(self, volume: VolumeConfig) -> None:
        uuid, kind = self._tools.filesystem.identify(volume.device())
        refuse_blockers(identity_findings(volume, uuid, kind))

    def _read_marker(
        self, volume: VolumeConfig, request: OperationRequest, timeout_s: float
    ) -> None:
        """Mounted already: it lies open. Else a read-only look."""
        self._require_identity(volume)
        mounts = self._tools.filesystem.view(volume).mounts
        if any(mount.mount_point == volume.mount_point for mount in mounts):
            return
        found: Marker | Unobserved | None
        try:
            found = look_at_marker(
                volume.device(), volume.filesystem.type, volume.mount_point, timeout_s=timeout_s
            )
        except OperationFailed as exc:
            if exc.code != "MARKER_UNREADABLE":
                raise
            # What its users have made of it: whether that is in the way is not decided here.
            found = Unobserved(reason=exc.message)
        self._tools.markers[volume.name] = found

    def _write_marker(
        self, volume: VolumeConfig, request: OperationRequest, timeout_s: float
    ) -> None:
        if request.epoch is None:
            raise OperationFailed(f"no epoch was chosen for {volume.name}")
        epoch, operation_id, host = request.epoch, request.operation_id, self._config.host
        afresh = request.marker_lost == f"{host}/{volume.name}"

        def write() -> bytes:
            write_next_marker(volume, epoch, operation_id, host, afresh=afresh)
            return b""

        what = f"writing the epoch to {volume.mount_point}"
        run_apart(what, write, code="MARKER_UNWRITABLE", timeout_s=timeout_s, outside=True)

    def _unmount(self, volume: VolumeConfig, request: OperationRequest, timeout_s: float) -> None:
        for attempt in range(UNMOUNT_TRIES):
            try:
                self._tools.filesystem.unmount(volume.mount_point, timeout_s=timeout_s)
                return
            except OperationFailed as exc:
                if exc.code != "BUSY_MOUNT":
                    raise
                if attempt == UNMOUNT_TRIES - 1:
                    raise self._with_holders(volume, exc) from exc
                self._clock.sleep(UNMOUNT_PAUSE_S)

    def _with_holders(self, volume: VolumeConfig, exc: AgentError) -> AgentError:
        holders = find_holders(volume.mount_point, volume.device(), self._tools.root)
        if not holders:
            return exc
        named = "; ".join(holder.what for holder in holders[:5])
        more = f"; and {len(holders) - 5} more" if len(holders) > 5 else ""
        return OperationFailed(
            f"{exc.message}; held by: {named}{more}",
            remedy="end what holds it, then try again",
            code=exc.code,
        )

    def _start_services(
        self, volume: VolumeConfig, request: OperationRequest, timeout_s: float
    ) -> None:
        for unit in volume.services:
            self._tools.services.start(unit, timeout_s=timeout_s)

    def _stop_services(
        self, volume: VolumeConfig, request: OperationRequest, timeout_s: float
    ) -> None:
        for unit in reversed(volume.services):
            self._tools.services.stop(unit, timeout_s=timeout_s)

    # --- NFS server ----------------------------------------------------------------------------

    def _prepare_server(
        self, volume: VolumeConfig, request: OperationRequest, timeout_s: float
    ) -> None:
        prepare_settings(volume, self._tools.root)
        unit = f"storage-agent-nfs@{volume.name}.service"
        if self._is_of_before(volume):
            self._tools.services.stop(unit, timeout_s=timeout_s)
        self._tools.services.start(unit, timeout_s=timeout_s)

    def _is_of_before(self, volume: VolumeConfig) -> bool:
        """In standby, and started before the package was upgraded."""
        try:
            reply = self._server(volume).status(timeout_s=STATUS_TIMEOUT_S)
        except AgentError:
            return False
        return reply.state is ServerState.STANDBY and reply.generation < GENERATION

    def _start_server(
        self, volume: VolumeConfig, request: OperationRequest, timeout_s: float
    ) -> None:
        # The configuration may have changed since the server was prepared.
        prepare_settings(volume, self._tools.root)
        self._server(volume).start(timeout_s=timeout_s)

    def _server(self, volume: VolumeConfig) -> ServerControl:
        return ServerControl(volume.name, self._tools.root)


def identity_findings(
    volume: VolumeConfig, uuid: str | None, kind: str | None
) -> tuple[Finding, ...]:
    """Is this, as blkid sees it on the device, the volume's own filesystem?"""
    wanted = (volume.filesystem.uuid, volume.filesystem.type)
    if (uuid, kind) == wanted:
        return ()
    seen = f"{kind} {uuid or 'without a UUID'}" if kind else "no filesystem"
    return (
        blocker(
            "WRONG_FILESYSTEM",
            f"{volume.device()} carries {seen}, not the filesystem of {volume.name}",
            measured=seen,
            limit=f"{wanted[1]} {wanted[0]}",
            remedy=f"is it the right array: storage-agent status {volume.name}; "
            f"blkid -p {volume.device()}",
        ),
    )
