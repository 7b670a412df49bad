"""HostPort, Store and Clock on a simulated machine. Every call is a point where the daemon can be
killed, the host lose its power, or anything else happen first."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from storage_agent.host.drbd.reconnect import HANDSHAKE_S
from storage_agent.host.linux import WATCH_WRITES_S
from storage_agent.model.agreement import Agreement
from storage_agent.model.array import ArrayView, Disk
from storage_agent.model.clock import Deadline
from storage_agent.model.configuration import Arbitration, VolumeConfig
from storage_agent.model.creation import MadeView
from storage_agent.model.errors import (
    CommandStuck,
    CommandTimeout,
    OperationFailed,
    Refused,
)
from storage_agent.model.filesystem import Content, FilesystemView
from storage_agent.model.guards import Guards
from storage_agent.model.incident import Incident
from storage_agent.model.nfs import NfsView, ServerState
from storage_agent.model.observed import Unobserved
from storage_agent.model.operation import Marker, OperationRequest
from storage_agent.model.plan import Step, StepKind
from storage_agent.model.ports import Progress
from storage_agent.model.replica import Replica
from storage_agent.model.snapshot import CHEAP_FACETS, Facet, UseView, VolumeSnapshot
from storage_agent.model.surroundings import Surroundings
from tests.simulation.differing import agreement, is_meant
from tests.simulation.handler import incident
from tests.simulation.machine import EXPORTING, Machine
from tests.simulation.roles import set_primary, set_secondary
from tests.simulation.sights import (
    array_view,
    content_view,
    filesystem_view,
    guards_view,
    nfs_view,
    use_view,
)
from tests.simulation.states import CONNECTING, STANDALONE

if TYPE_CHECKING:
    from tests.simulation.daemon import Daemon

T = TypeVar("T")
_NOT_ASKED = Unobserved(reason="not looked at")


class SimHost:
    """What host/linux.py and host/perform.py are on a real one."""

    def __init__(self, machine: Machine, daemon: Daemon) -> None:
        self._machine = machine
        self._daemon = daemon
        self._marker: Marker | Unobserved | None = None
        self._looked = False

    def boot_id(self) -> str:
        return self._machine.boot_id

    def made(self, volume: VolumeConfig) -> MadeView:
        return MadeView(files={}, signatures=None, generation=None)

    def surroundings(self) -> Surroundings:
        return Surroundings(replicas=(), arrays=(), listeners=())

    def disks(self, serials: tuple[str, ...]) -> tuple[Disk, ...]:
        return ()

    # --- looking --------------------------------------------------------------------------------

    def observe(
        self, volume: VolumeConfig, facets: frozenset[Facet] = CHEAP_FACETS
    ) -> VolumeSnapshot:
        self._daemon.point("observe", before=True)
        machine, world = self._machine, self._machine.world

        def look(facet: Facet, view: Callable[[], T]) -> T | Unobserved:
            if facet not in facets:
                return _NOT_ASKED
            if world.random() < 0.1:
                world.pause()
            if self._daemon.fails_to_look():
                return Unobserved(reason="the command did not end in time")
            return view()

        return VolumeSnapshot(
            volume=volume.name,
            host=machine.name,
            boot_id=machine.boot_id,
            taken_monotonic_s=world.now_s,
            taken_wall_s=machine.wall_s(),
            array=look(Facet.ARRAY, self._array),
            replica=look(Facet.REPLICA, self._replica),
            filesystem=look(Facet.FILESYSTEM, lambda: self._filesystem(volume)),
            nfs=look(Facet.NFS, self._nfs),
            services=() if Facet.SERVICES in facets else _NOT_ASKED,
            marker=look(Facet.MARKER, self._read_marker),
            use=look(Facet.USE, self._use),
            content=look(Facet.CONTENT, lambda: self._content(volume)),
            incident=look(Facet.INCIDENT, lambda: incident(machine)),
            guards=look(Facet.GUARDS, self._guards),
            agreement=look(Facet.AGREEMENT, self._agreement),
        )

    def _agreement(self) -> Agreement | None:
        return agreement(self._daemon.simulation, self._machine)

    def _guards(self) -> Guards | None:
        node = self._machine.node
        return guards_view(node.stonith) if node.up else None

    def _replica(self) -> Replica | None:
        task = self._machine.world.current
        if task is not None:
            task.looked_s = self._machine.world.now_s
        return self._machine.node.view()

    def _array(self) -> ArrayView:
        machine = self._machine
        degraded = None if machine.running is None else 4 - len(machine.running)
        members = tuple((m.serial, m.attached, m.events, m.knows) for m in machine.members)
        return array_view(members, degraded, machine.array_works())

    def _filesystem(self, volume: VolumeConfig) -> FilesystemView:
        return filesystem_view(volume.mount_point, volume.device(), self._machine.mounted)

    def _nfs(self) -> NfsView:
        return nfs_view(self._machine.server)

    def _use(self) -> UseView:
        """As host/linux.py: while it looks, time passes."""
        self._machine.world.sleep(WATCH_WRITES_S)
        return use_view(self._machine.busy_until_s > self._machine.world.now_s)

    def _content(self, volume: VolumeConfig) -> Content | Unobserved:
        """What the volume was created with lies on every array that works."""
        if not self._machine.array_works():
            return Unobserved(reason="Input/output error")
        return content_view(volume.filesystem.type, volume.filesystem.uuid or "")

    def _read_marker(self) -> Marker | Unobserved | None:
        if self._machine.mounted:
            return self._marker_on_disk()
        if not self._looked:
            return Unobserved(reason="the filesystem was not looked at")
        return self._marker

    def _marker_on_disk(self) -> Marker | Unobserved | None:
        try:
            found = self._machine.read("marker")
        except OSError as exc:
            return Unobserved(reason=str(exc))
        assert found is None or isinstance(found, Marker)
        return found

    def take_proof(self, volume: VolumeConfig, name: str) -> str:
        raise OperationFailed("no client proves anything here", code="NO_PROOF")

    def answer(self, incident: Incident) -> None:
        self._daemon.point("answer", before=True)
        self._daemon.answers(incident)
        self._machine.answered = incident
        self._machine.news()
        self._daemon.point("answer", before=False)

    # --- acting ---------------------------------------------------------------------------------

    def perform(
        self,
        step: Step,
        volume: VolumeConfig,
        request: OperationRequest,
        deadline: Deadline,
        progress: Progress,
    ) -> None:
        daemon = self._daemon
        daemon.performs(step, request)
        daemon.point(f"perform {step.kind}", before=True)
        fault = daemon.step_fault(step.kind)
        if fault == "fails":
            raise OperationFailed("the command failed (simulated)", code="SIMULATED")
        if fault == "hangs":
            self._machine.world.sleep(deadline.at_s - self._machine.world.now_s)
            raise CommandTimeout("the command did not end in time (simulated)")
        if fault != "does nothing":
            self._act(step.kind, request, deadline)
        daemon.performed(step, request)
        daemon.point(f"perform {step.kind}", before=False)

    def _act(self, kind: StepKind, request: OperationRequest, deadline: Deadline) -> None:
        name = "_do_" + kind.value.replace("-", "_")
        getattr(self, name)(request, deadline)

    def _system_call(self, what: str, run: Callable[[], str | None], deadline: Deadline) -> None:
        """Waits for the kernel up to the deadline; the call itself goes on."""
        world = self._machine.world
        task = self._machine.kernel(what, run)
        if not world.wait(lambda: task.done, deadline.at_s):
            raise CommandStuck(f"{what} does not end: it waits for frozen or dead I/O")
        if task.result:
            raise OperationFailed(f"{what}: {task.result}")

    def _do_assemble_array(self, request: OperationRequest, deadline: Deadline) -> None:
        if not all(m.attached for m in self._machine.members):
            raise OperationFailed("a disk is not attached")
        self._daemon.assembles()
        self._machine.assemble()

    def _do_stop_array(self, request: OperationRequest, deadline: Deadline) -> None:
        if self._machine.node.backing is not None:
            raise OperationFailed("mdadm: the array is in use")
        self._machine.running = None

    def _do_replica_up(self, request: OperationRequest, deadline: Deadline) -> None:
        self._daemon.attaches()
        self._machine.node.stonith = self._is_arbitrated()
        if problem := self._machine.adjust():
            raise OperationFailed(problem)

    def _do_take_options(self, request: OperationRequest, deadline: Deadline) -> None:
        self._machine.node.stonith = self._is_arbitrated()

    def _is_arbitrated(self) -> bool:
        return self._daemon.simulation.volume.arbitration is Arbitration.COORDINATOR

    def _do_replica_down(self, request: OperationRequest, deadline: Deadline) -> None:
        self._system_call("drbdadm down", self._machine.down, deadline)

    def _do_disconnect(self, request: OperationRequest, deadline: Deadline) -> None:
        node = self._machine.node
        self._system_call("drbdadm disconnect", lambda: node.link.disconnect(node), deadline)

    def _do_connect(self, request: OperationRequest, deadline: Deadline) -> None:
        """host/drbd/reconnect.py: waits a little for the handshake."""
        node, world = self._machine.node, self._machine.world
        if node.s.conn == STANDALONE:
            node.change(conn=CONNECTING)
        world.wait(lambda: not self._machine.is_connecting(), world.now_s + HANDSHAKE_S)
        if node.s.conn == STANDALONE:
            raise Refused("DRBD has dropped the connection again")

    def _do_grant_promotion(self, request: OperationRequest, deadline: Deadline) -> None:
        machine = self._machine
        machine.grant = (machine.boot_id, request.operation_id, machine.wall_s())

    def _do_withdraw_grant(self, request: OperationRequest, deadline: Deadline) -> None:
        self._machine.grant = None

    def _do_wait_for_peer(self, request: OperationRequest, deadline: Deadline) -> None:
        """Only looked for."""

    def _do_primary(self, request: OperationRequest, deadline: Deadline) -> None:
        node = self._machine.node
        self._system_call("drbdadm primary", lambda: set_primary(node), deadline)

    def _do_secondary(self, request: OperationRequest, deadline: Deadline) -> None:
        node, simulation = self._machine.node, self._daemon.simulation
        if not is_meant(request, self._machine.name):
            simulation.checks.lets_go(self._machine)
        self._system_call("drbdadm secondary", lambda: set_secondary(node), deadline)

    def _do_read_marker(self, request: OperationRequest, deadline: Deadline) -> None:
        machine = self._machine
        if machine.mounted:
            return
        if problem := machine.begin_look():
            raise OperationFailed(problem)
        self._daemon.point("look", before=True)
        try:
            found = self._marker_on_disk()
        finally:
            if not self._daemon.dead:
                machine.end_look()
        self._marker, self._looked = found, True

    def _do_mount(self, request: OperationRequest, deadline: Deadline) -> None:
        self._system_call("mount", self._machine.mount, deadline)

    def _do_unmount(self, request: OperationRequest, deadline: Deadline) -> None:
        self._system_call("umount", self._machine.unmount, deadline)

    def _do_write_marker(self, request: OperationRequest, deadline: Deadline) -> None:
        machine = self._machine
        if not machine.mounted:
            raise OperationFailed("the volume is not mounted")
        afresh = request.marker_lost == f"{machine.name}/data"
        before = None if afresh else self._marker_on_disk()
        if isinstance(before, Unobserved) or request.epoch is None:
            raise OperationFailed("no epoch, or no marker to be read")
        goes_on = before is not None and before.epoch >= request.epoch
        marker = Marker(
            epoch=request.epoch,
            counter=before.counter + 1 if before and goes_on else 1,
            operation_id=request.operation_id,
            host=machine.name,
            boot_id=machine.boot_id,
            wall_s=machine.wall_s(),
        )
        self._write(marker, deadline)

    def _write(self, marker: Marker, deadline: Deadline) -> None:
        done = self._machine.write("marker", marker)
        if done is None:
            raise OperationFailed("Input/output error")
        if not self._machine.world.wait(lambda: done.ok is not None, deadline.at_s):
            raise CommandStuck("a write to the volume does not end")
        if not done.ok:
            raise OperationFailed("Input/output error")

    def _do_prepare_server(self, request: OperationRequest, deadline: Deadline) -> None:
        if self._machine.server is ServerState.ABSENT:
            self._machine.server = ServerState.STANDBY

    def _do_start_server(self, request: OperationRequest, deadline: Deadline) -> None:
        if problem := self._machine.start_server():
            raise OperationFailed(problem)

    def _do_stop_server(self, request: OperationRequest, deadline: Deadline) -> None:
        self._system_call("stop nfsd", self._machine.stop_server, deadline)

    def _do_link_up(self, request: OperationRequest, deadline: Deadline) -> None:
        if self._machine.server not in EXPORTING:
            raise OperationFailed("nfsd does not run")
        self._machine.server = ServerState.SERVING
        self._machine.world.log(self._machine.name, "service link up")

    def _do_link_down(self, request: OperationRequest, deadline: Deadline) -> None:
        if self._machine.server in (ServerState.SERVING, ServerState.HALTED):
            self._machine.server = ServerState.STARTED
            self._machine.world.log(self._machine.name, "service link down")

    def _do_prove_export(self, request: OperationRequest, deadline: Deadline) -> None:
        if self._machine.server is not ServerState.SERVING:
            raise OperationFailed("the export does not answer")
        done = self._machine.write("canary", request.operation_id)
        if done is None or not self._machine.world.wait(lambda: bool(done.ok), deadline.at_s):
            raise OperationFailed("the canary could not be written")
