"""What several tests of the service need: an engine in memory and an agent around it."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable
from typing import Any

from storage_agent.engine.arbitration import Arbitration
from storage_agent.engine.epoch import EpochStore
from storage_agent.engine.seal import Seals
from storage_agent.model.clock import Clock
from storage_agent.model.configuration import AgentConfig, VolumeConfig
from storage_agent.model.errors import AgentError, Busy
from storage_agent.model.finding import Finding
from storage_agent.model.key import KeyRole
from storage_agent.model.operation import (
    Epoch,
    Marker,
    OperationRecord,
    OperationRequest,
    OperationState,
    StepOutcome,
    StepRecord,
)
from storage_agent.model.plan import OperationKind, Plan, StepKind
from storage_agent.model.ports import HostPort
from storage_agent.policy.readiness import assess
from storage_agent.service.agent import Agent
from storage_agent.service.api.access import Role
from storage_agent.service.api.answers import Setup
from storage_agent.service.api.rpc import Request
from storage_agent.service.observing.attachments import Attachments
from storage_agent.service.observing.looks import Records
from storage_agent.service.observing.observer import Observer
from storage_agent.service.observing.sources import Source
from storage_agent.service.observing.ticks import Ticks
from tests.unit.fakes import COORDINATOR, FakeHost, MemoryStore, agent_config


class ThreadClock:
    """Real time: what runs in threads cannot be stepped."""

    def monotonic(self) -> float:
        return time.monotonic()

    def wall(self) -> float:
        return time.time()

    def sleep(self, seconds: float) -> None:
        time.sleep(min(seconds, 0.02))


def wait_until(is_so: Callable[[], object], timeout_s: float = 20.0) -> None:
    """Fails where it does not become so."""
    until_s = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < until_s, "did not happen in time"
        time.sleep(0.002)


def record_of(request: OperationRequest, **changes: Any) -> OperationRecord:
    record = OperationRecord(
        request=request,
        state=OperationState.RUNNING,
        changed=False,
        epoch=None,
        message="accepted",
    )
    return dataclasses.replace(record, **changes)


def request_of(
    operation_id: str = "op-1", kind: OperationKind = OperationKind.PROMOTE
) -> OperationRequest:
    return OperationRequest(kind=kind, volume="data", operation_id=operation_id)


class FakeEngine:
    """Operations go on when `go` is set, one step at a time. breaks: what `run` raises."""

    def __init__(self) -> None:
        self.on_change: Callable[[OperationRecord], None] = lambda _: None
        self.records: dict[str, OperationRecord] = {}
        self.begun: list[OperationRequest] = []
        self.ran: list[str] = []
        self.unfinished: tuple[str, ...] = ()
        self.half_made: tuple[str, ...] = ()
        self.configured: list[AgentConfig] = []
        self.busy_times = 0
        self.steps = 2
        self.go = threading.Event()
        self.go.set()
        self.is_waiting = threading.Event()
        self.breaks: Exception | None = None
        self.resume_fails: AgentError | None = None
        self.record_fails: AgentError | None = None
        self.damaged: tuple[Finding, ...] = ()
        self.in_the_way: tuple[Finding, ...] = ()
        self.epochs: dict[str, int] = {"data": 5}
        self.host = FakeHost(written={"proof-1": b"text"})
        self.store = MemoryStore()
        known = EpochStore(self.store)
        known.write("data", Epoch(number=5, operation_id="before", coordinator=COORDINATOR))
        self.arbitration = Arbitration(host=self.host, store=self.store, epochs=known)
        self.seals = Seals(host=self.host, store=self.store, epochs=known)
        self.markers: dict[str, Marker] = {}

    def obstacles(self, volume: VolumeConfig) -> tuple[Finding, ...]:
        return self.in_the_way

    def unfinished_creations(self) -> tuple[str, ...]:
        return self.half_made

    def plan(self, request: OperationRequest) -> tuple[Plan, tuple[Finding, ...]]:
        self.begun.append(request)
        plan = Plan(
            operation=request.kind,
            volume=request.volume,
            host="alpha",
            steps=(),
            options=request.options,
        )
        return plan, ()

    def begin(self, request: OperationRequest) -> OperationRecord:
        self.begun.append(request)
        if self.busy_times:
            self.busy_times -= 1
            raise Busy("data is busy")
        known = self.records.get(request.operation_id)
        if known is None:
            known = self.records[request.operation_id] = record_of(request)
        return known

    def run(self, operation_id: str) -> OperationRecord:
        self.ran.append(operation_id)
        if self.breaks:
            raise self.breaks
        record = self.records[operation_id]
        steps: tuple[StepRecord, ...] = ()
        for number in range(self.steps):
            step = StepRecord(kind=StepKind.MOUNT, title=f"step {number}", outcome=StepOutcome.DONE)
            steps = (*steps, step)
            record = dataclasses.replace(record, steps=steps, message=step.title)
            self._changed(record)
            self.is_waiting.set()
            assert self.go.wait(10)
        record = dataclasses.replace(
            record, state=OperationState.SUCCEEDED, changed=True, message="serving"
        )
        self._changed(record)
        return record

    def _changed(self, record: OperationRecord) -> None:
        self.records[record.request.operation_id] = record
        self.on_change(record)

    def resume(self) -> tuple[str, ...]:
        if self.resume_fails:
            raise self.resume_fails
        return self.unfinished

    def record_ends(self) -> None:
        if self.record_fails:
            raise self.record_fails

    def show(
        self, operation_id: str, volume: str | None = None, epoch: int | None = None
    ) -> OperationRecord | None:
        return self.records.get(operation_id)

    def lately(self, volume: str) -> tuple[OperationRecord, ...]:
        return self.history(100)

    def damage(self) -> tuple[Finding, ...]:
        return self.damaged

    def history(self, limit: int) -> tuple[OperationRecord, ...]:
        return tuple(self.records.values())[:limit]

    def running(self) -> tuple[OperationRecord, ...]:
        return tuple(r for r in self.records.values() if r.state is OperationState.RUNNING)

    def reconfigure(self, config: AgentConfig) -> None:
        self.configured.append(config)

    def epoch(self, volume: str) -> int | None:
        return self.epochs.get(volume)

    def coordinator(self, volume: str) -> str:
        return COORDINATOR if volume in self.epochs else ""

    def claim_epoch(self, request: OperationRequest, succeeds: str | None = None) -> Epoch:
        assert request.epoch is not None
        self.epochs[request.volume] = request.epoch
        return Epoch(number=request.epoch, operation_id=request.operation_id)

    def restore_epoch(self, volume: str, number: int) -> None:
        self.epochs[volume] = number

    def last_marker(self, volume: str) -> Marker | None:
        return self.markers.get(volume)


class Heard:
    """Collects what an agent tells its subscribers."""

    def __init__(self) -> None:
        self.notifications: list[tuple[str, Any]] = []

    def __call__(self, method: str, parameters: Any) -> None:
        self.notifications.append((method, parameters))


def make_observer(
    config: AgentConfig,
    host: HostPort,
    *,
    sources: tuple[Source, ...] = (),
    attachments: Attachments | None = None,
    clock: Clock | None = None,
    records: Records = lambda _: (),
) -> Observer:
    return Observer(
        config=config,
        host=host,
        clock=clock or ThreadClock(),
        attachments=attachments or Attachments(),
        sources=sources,
        records=records,
    )


def idle_ticks() -> Ticks:
    """Finds no marker, and so writes none."""
    nothing = lambda *_: None  # noqa: E731
    return Ticks(
        read=nothing,
        write=lambda _, marker: (marker, ""),
        base=nothing,
        seen=nothing,
        keep=nothing,
        tried=nothing,
    )


def make_agent(
    *,
    engine: FakeEngine | None = None,
    setup: Setup | None = None,
    load: Callable[[], Setup] | None = None,
    heard: Heard | None = None,
    host: HostPort | None = None,
    inhibit: Callable[[VolumeConfig], None] | None = None,
    ticks: Ticks | None = None,
    keys: dict[str, KeyRole] | None = None,
) -> Agent:
    engine = engine or FakeEngine()
    setup = setup or Setup(config=agent_config(), digest="d1")
    observer = make_observer(
        setup.config, host or FakeHost(), records=lambda volume: agent.problems.obstacles(volume)
    )

    def apply(config: AgentConfig) -> None:
        engine.reconfigure(config)
        observer.reconfigure(config)

    agent = Agent(
        setup=setup,
        load=load or (lambda: setup),
        apply=apply,
        engine=engine,
        observer=observer,
        assess=assess,
        clock=ThreadClock(),
        broadcast=heard or Heard(),
        inhibit=inhibit or (lambda _: None),
        ticks=ticks or idle_ticks(),
        key_role=(keys or {}).get,
    )
    engine.on_change = agent.runs.changed
    return agent


class FakeSession:
    def __init__(self, role: Role = Role.LOCAL) -> None:
        self.role = role
        self.origin = "uid 0 pid 1"
        self.key_id = ""
        self.is_subscribed = False

    def take_pipes(self) -> None: ...


class FakeCall:
    """Implements session.Call; `ended` is set with the answer or the failure."""

    def __init__(
        self, method: str, parameters: dict[str, Any], session: FakeSession | None = None
    ) -> None:
        self.session = session or FakeSession()
        self.request = Request(request_id=1, method=method, parameters=parameters)
        self.result: Any = None
        self.error: AgentError | None = None
        self.notifications: list[tuple[str, Any]] = []
        self.open_sessions: dict[str, int] = {}
        self.has_place = True
        self.has_gone = False
        self.ended = threading.Event()

    def answer(self, result: object) -> None:
        self.result = result
        self.ended.set()

    def fail(self, error: AgentError) -> None:
        self.error = error
        self.ended.set()

    def notify(self, method: str, parameters: object) -> None:
        self.notifications.append((method, parameters))

    def sessions_of(self, key_id: str) -> int:
        return self.open_sessions.get(key_id, 0)

    def end_sessions_of(self, key_id: str) -> None:
        self.open_sessions.pop(key_id, None)

    def take_place(self, role: Role, key_id: str) -> None:
        if not self.has_place:
            raise Busy("no place", code="TOO_MANY_CONNECTIONS")

    def is_wanted(self) -> bool:
        return not self.has_gone
