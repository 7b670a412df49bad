"""storage-agentd on a simulated machine: the real engine, attachments and watched host, started,
killed and started again. What service/agent.py does at its start is done here the same way."""

from __future__ import annotations

import dataclasses
import json
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

from storage_agent.engine.engine import NOT_RECORDED, Engine
from storage_agent.model.errors import AgentError, Busy
from storage_agent.model.incident import Incident
from storage_agent.model.operation import (
    Marker,
    OperationRecord,
    OperationRequest,
    OperationState,
)
from storage_agent.model.plan import OperationKind, Step, StepKind
from storage_agent.model.replica import Replica
from storage_agent.model.snapshot import CHEAP_FACETS, Facet, VolumeSnapshot
from storage_agent.model.wire import from_wire, to_wire
from storage_agent.service.link_keeper import LinkKeeper
from storage_agent.service.observing.attachments import Attachments, WatchedHost
from storage_agent.service.observing.ticks import TICK_S
from tests.simulation.machine import Machine, is_whole
from tests.simulation.ports import SimHost
from tests.simulation.sim_store import SimClock, SimStore
from tests.simulation.world import Killed, Task, TaskLock
from tests.simulation.writes import Request

if TYPE_CHECKING:
    from tests.simulation.schedule import Simulation


# The observer's loop turns every second while that matters; here less often, to save steps.
TURN_S = 12.0
GAP_S = 20.0


def _unheard(seen: VolumeSnapshot, facets: frozenset[Facet]) -> None:
    """Nobody asks a simulated daemon for its status."""


@dataclass
class Course:
    """One operation as the outside sees it, over all lives of the daemon. parted_s: when it had
    looked last before it left its peer."""

    request: OperationRequest
    host: str
    begun_s: float
    stale: bool = False
    is_lie: bool = False
    performed: list[StepKind] = field(default_factory=list)
    record: OperationRecord | None = None
    error: AgentError | None = None
    touches: int = 0
    was_whole: bool = True
    resumed: int = 0
    boot: int = 0
    parted_s: float = 0.0


class Daemon:
    def __init__(self, machine: Machine, simulation: Simulation) -> None:
        self.machine = machine
        self.world = machine.world
        self.simulation = simulation
        self.dead = False
        self.started = False
        self._tick: tuple[Marker, Request] | None = None
        self._tick_s = 0.0
        self._was_mounted = False
        self._turned_s = self.world.now_s
        self.tasks: list[Task] = []
        self.active: set[str] = set()
        # By operation id: who has asked for it from afar.
        self.listeners: dict[str, Callable[[OperationRecord], None]] = {}
        # The newest look that a coordinator was shown, and how often it is shown again: an
        # observer is not always at the newest.
        self.sight: VolumeSnapshot | None = None
        self.shows_old = 0.25
        self.attachments = Attachments(gap_s=GAP_S)
        self.events: deque[Replica | None] = deque([machine.node.view()])
        machine.node.watch = self.saw
        machine.daemon = self
        self.store = SimStore(machine, self)
        self.host = WatchedHost(SimHost(machine, self), self.attachments, self._catch_up, _unheard)
        self.engine = Engine(
            config=simulation.config(machine.name),
            host=self.host,
            store=self.store,
            clock=SimClock(machine),
            on_change=self._changed,
            wait_for_news=lambda volume, timeout_s: self.world.sleep(
                timeout_s * self.world.random()
            ),
        )
        # Tasks of one thread: a real lock would never come free.
        self.engine._lock = TaskLock(self.world)  # type: ignore[assignment]
        self.engine._epochs._lock = TaskLock(self.world)  # type: ignore[assignment]
        self.has_news = True
        self._spawn("start", self._start)
        if simulation.has_coordinator:
            self._spawn("links", self._keep_links)

    # --- life -----------------------------------------------------------------------------------

    def _spawn(self, name: str, run: object) -> Task:
        task = self.world.spawn(f"{self.machine.name}:{name}", self.machine.name, run)  # type: ignore[arg-type]
        self.tasks = [t for t in self.tasks if not t.done]
        self.tasks.append(task)
        return task

    def kill(self) -> None:
        """SIGKILL. Raises Killed when it kills the task that runs."""
        if self.dead:
            return
        self.dead = True
        self.world.log(self.machine.name, "DAEMON KILLED")
        self.machine.daemon = None
        self.machine.end_look()
        self.machine.node.watch = lambda view: None
        current = self.world.current
        for task in self.tasks:
            if task is not current:
                task.kill()
        self.world.forget_dead()
        if current in self.tasks:
            raise Killed

    def _start(self) -> None:
        task = self.world.current
        assert task is not None
        task.atomic = True
        unfinished = self.engine.resume()
        task.atomic = False
        self.started = True
        for operation_id in unfinished:
            course = self.simulation.courses.get(operation_id)
            self.world.log(self.machine.name, f"resumes {operation_id}")
            self.world.counts["operations resumed"] += 1
            if course is not None:
                course.resumed += 1
                self.active.add(operation_id)
                self._spawn(operation_id, lambda c=course: self._run(c))
        self._assemble()

    def _assemble(self) -> None:
        """service/agent.py: once a boot, retried while the volume is busy."""
        request = OperationRequest(
            kind=OperationKind.ASSEMBLE,
            volume="data",
            operation_id=f"boot-{self.machine.boot_id}",
            origin="boot",
            options={"wait_s": "20"},
        )
        for _ in range(200):
            course = self.simulation.course(request, self.machine)
            try:
                self._begin(course)
                return
            except Busy:
                self.world.sleep(5.0)
            except AgentError:
                return

    def _keep_links(self) -> None:
        """service/agent.py: the thread `links`."""
        keeper = LinkKeeper(
            clock=SimClock(self.machine),
            boot_id=self.machine.boot_id,
            start=self._start_own,
            lately=self.engine.lately,
            epoch=self.engine.epoch,
        )
        config = self.simulation.config(self.machine.name)
        self.world.wait(lambda: self.started)
        wait_s: float | None = 0.0
        while True:
            until_s = None if wait_s is None else self.world.now_s + wait_s
            self.world.wait(lambda: self.has_news, until_s)
            self.has_news = False
            seen = self.host.observe(config.volumes["data"], CHEAP_FACETS)
            wait_s = keeper.keep(config, {"data": seen})

    def _start_own(self, request: OperationRequest) -> None:
        course = self.simulation.course(request, self.machine)
        task = self.world.current
        assert task is not None
        task.atomic = True
        try:
            self.engine.begin(request)
        finally:
            task.atomic = False
        course.boot = self.machine.boot
        course.touches = self.simulation.touches[self.machine.name]
        self._spawn(request.operation_id, lambda: self._run(course))

    # --- operations -----------------------------------------------------------------------------

    def ask(self, request: OperationRequest, *, is_lie: bool = False) -> Course:
        """A caller's request, in a task of its own."""
        course = self.simulation.course(request, self.machine)
        course.is_lie |= is_lie
        self._spawn(f"{request.kind} {request.operation_id}", lambda: self._serve(course))
        return course

    def _serve(self, course: Course) -> None:
        try:
            self._begin(course)
        except AgentError as exc:
            course.error = exc
            self.simulation.checks.answered(course)

    def _begin(self, course: Course) -> None:
        task = self.world.current
        assert task is not None
        task.atomic = True
        try:
            record = self.engine.begin(course.request)
        finally:
            task.atomic = False
        if record.state is not OperationState.RUNNING:
            self.simulation.checks.repeated(course, record)
        elif course.request.operation_id not in self.active:
            course.boot = self.machine.boot
            course.touches = self.simulation.touches[self.machine.name]
            course.was_whole = is_whole(self.machine)
            self._run(course)

    def _run(self, course: Course) -> None:
        operation_id = course.request.operation_id
        self.active.add(operation_id)
        try:
            record = self.engine.run(operation_id)
        finally:
            self.active.discard(operation_id)
            self.has_news = True
        if self.dead:
            raise Killed
        self.world.log(
            self.machine.name,
            f"{course.request.kind} {operation_id}: {record.state}: {record.message}",
        )
        self.simulation.checks.ended(self, course, record)

    def _changed(self, record: OperationRecord) -> None:
        if hear := self.listeners.get(record.request.operation_id):
            hear(record)

    # --- called by the ports --------------------------------------------------------------------

    def point(self, name: str, *, before: bool) -> None:
        if self.dead:
            raise Killed
        self.simulation.faults.at_point(self, name, before=before)
        if self.dead:
            raise Killed
        self.world.pause()
        if self.dead:
            raise Killed

    def performs(self, step: Step, request: OperationRequest) -> None:
        course = self.simulation.courses.get(request.operation_id)
        if course is not None:
            is_over = course.record is not None and NOT_RECORDED not in course.record.message
            self.simulation.checks.expect("I8", not is_over, f"{step.kind} after its end")
            course.performed.append(step.kind)
        self.world.log(self.machine.name, f"{request.operation_id}: {step.kind}")
        self._was_mounted = self.machine.mounted
        self.simulation.checks.performs(self, step, request)

    def performed(self, step: Step, request: OperationRequest) -> None:
        if step.kind is StepKind.MOUNT and self.machine.mounted and not self._was_mounted:
            if request.kind is OperationKind.PROMOTE:
                self.simulation.checks.not_older(self.machine, request.marker_lost)
            self.simulation.checks.mounted(self.machine)

    def assembles(self) -> None:
        self.simulation.checks.assembles(self.machine)

    def attaches(self) -> None:
        self.simulation.checks.attaches(self.machine)

    def step_fault(self, kind: StepKind) -> str:
        return self.simulation.faults.at_step(self, kind)

    def fails_to_look(self) -> bool:
        return self.simulation.faults.at_look(self)

    def wrote(self, name: str) -> None:
        if name == "epoch-data":
            self.simulation.checks.wrote_epoch(self.machine)

    def answers(self, incident: Incident) -> None:
        self.simulation.checks.answers(self.machine, incident)

    # --- watching -------------------------------------------------------------------------------

    def saw(self, view: Replica | None) -> None:
        self.events.append(view)
        self.has_news = True

    def take_event(self) -> None:
        """The observer's thread, one event at a time."""
        self.attachments.follow("data", self.events.popleft())

    def tick(self) -> bool:
        """service/observing/ticks.py: one count further, noted once durable. False: nothing."""
        machine, now_s = self.machine, self.world.now_s
        if self.world.is_frozen(machine.name):
            return False
        if self._tick is not None:
            marker, request = self._tick
            if request.ok is None:
                return False
            self._tick = None
            noted = machine.files.get("marker-data")
            if request.ok and (noted is None or age_of(noted) < marker.age()):
                machine.files["marker-data"] = json.dumps(to_wire(marker)).encode()
            return True
        if now_s < self._tick_s or self.active or not machine.mounted or machine.node.s.susp:
            return False
        self._tick_s = now_s + TICK_S
        before = machine.node_marker()
        mine = (machine.name, machine.boot_id)
        if before is None or (before.host, before.boot_id) != mine:
            return False
        marker = dataclasses.replace(before, counter=before.counter + 1)
        written = machine.write("marker", marker)
        self._tick = None if written is None else (marker, written)
        self.world.counts["marker ticks"] += 1
        return True

    def settle(self) -> None:
        """As if it had been watching for long."""
        while self.events:
            self.take_event()
        for moment_s in range(int(self.world.now_s) - 100, int(self.world.now_s) + 1, 10):
            self.attachments.pass_time(float(moment_s))

    def turn(self) -> bool:
        """service/observing/replica_source.py: the loop turns. False: it is not yet time."""
        now_s = self.world.now_s
        if now_s < self.wake_s() or self.world.is_frozen(self.machine.name):
            return False
        self._turned_s = now_s
        while self.events:
            self.take_event()
        self.attachments.pass_time(now_s)
        return True

    def wake_s(self) -> float:
        """When that matters next."""
        return self._turned_s + TURN_S if self.attachments.is_settling() else math.inf

    def _catch_up(self) -> bool:
        if self.simulation.faults.at_catch_up(self):
            return False
        while self.events:
            self.take_event()
        return True

    def lose_sight(self) -> None:
        """The stream broke; the next one begins with what is."""
        self.events.clear()
        self.attachments.lose_sight(["data"], "the stream ended")
        self.events.append(self.machine.node.view())


@lru_cache(maxsize=64)
def age_of(noted: bytes) -> tuple[int, int]:
    return from_wire(Marker, json.loads(noted)).age()


def epoch_of(machine: Machine) -> int:
    """As the state folder has it; -1 where it is missing."""
    content = machine.unsynced.get("epoch-data") or machine.files.get("epoch-data")
    return -1 if content is None else _epoch_in(content)


@lru_cache(maxsize=64)
def _epoch_in(content: bytes) -> int:
    return int(json.loads(content.split(b"\n")[0])["epoch"])


def epoch_owner(machine: Machine) -> str:
    content = machine.files.get("epoch-data")
    return "" if content is None else str(json.loads(content.split(b"\n")[0])["operation_id"])
