"""Operations on their way, each in a thread of its own: they belong to the daemon, not to the
caller, and go on when the caller is gone."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

import structlog

from storage_agent.engine.arbitration import Arbitration
from storage_agent.engine.seal import Seals
from storage_agent.model.clock import Clock, Deadline
from storage_agent.model.configuration import AgentConfig, VolumeConfig
from storage_agent.model.errors import AgentError, Busy, OutcomeUnknown
from storage_agent.model.finding import Finding
from storage_agent.model.operation import (
    Epoch,
    Marker,
    OperationRecord,
    OperationRequest,
    OperationState,
)
from storage_agent.model.plan import Plan

OnRecord = Callable[[OperationRecord], None]
OnError = Callable[[AgentError], None]
log = structlog.get_logger()


class EnginePort(Protocol):
    """What the service needs of engine.engine.Engine."""

    @property
    def arbitration(self) -> Arbitration: ...

    @property
    def seals(self) -> Seals: ...

    def plan(self, request: OperationRequest) -> tuple[Plan, tuple[Finding, ...]]: ...

    def begin(self, request: OperationRequest) -> OperationRecord: ...

    def run(self, operation_id: str) -> OperationRecord: ...

    def resume(self) -> tuple[str, ...]: ...

    def record_ends(self) -> None: ...

    def show(
        self, operation_id: str, volume: str | None = None, epoch: int | None = None
    ) -> OperationRecord | None: ...

    def history(self, limit: int) -> tuple[OperationRecord, ...]: ...

    def lately(self, volume: str) -> tuple[OperationRecord, ...]: ...

    def damage(self) -> tuple[Finding, ...]: ...

    def running(self) -> tuple[OperationRecord, ...]: ...

    def reconfigure(self, config: AgentConfig) -> None: ...

    def obstacles(self, volume: VolumeConfig) -> tuple[Finding, ...]: ...

    def unfinished_creations(self) -> tuple[str, ...]: ...

    def epoch(self, volume: str) -> int | None: ...

    def coordinator(self, volume: str) -> str: ...

    def claim_epoch(self, request: OperationRequest, succeeds: str | None = None) -> Epoch: ...

    def restore_epoch(self, volume: str, number: int) -> None: ...

    def last_marker(self, volume: str) -> Marker | None: ...


class Watcher:
    """Somebody who waits for an operation. progress: each record on the way.  ended: the last
    one.  failed: instead of `ended`, where its end is not known."""

    def __init__(self, *, progress: OnRecord, ended: OnRecord, failed: OnError) -> None:
        self.progress = progress
        self.ended = ended
        self.failed = failed


NOBODY = Watcher(progress=lambda _: None, ended=lambda _: None, failed=lambda _: None)


class Runs:
    """All of these are called in the operation's thread. changed: every record.  ended: the last
    one, before its caller gets it.  rested: after that, when the volume is free again."""

    def __init__(
        self, *, clock: Clock, changed: OnRecord, ended: OnRecord, rested: Callable[[], None]
    ) -> None:
        self._clock = clock
        self._on_change = changed
        self._on_end = ended
        self._on_rest = rested
        self._lock = threading.Lock()
        self._watchers: dict[str, list[Watcher]] = {}
        self._parked: set[str] = set()
        self._has_parked = threading.Condition(self._lock)
        self._is_stopping = False

    def start(self, engine: EnginePort, request: OperationRequest, watcher: Watcher) -> None:
        """Accepts the request and runs it; or joins it, where it is already on its way; or tells
        its end, where it has ended. Raises what Engine.begin raises, Busy while stopping."""
        if self._is_stopping:
            raise Busy("the agent is stopping", remedy="ask again when it has started anew")
        engine.begin(request)
        with self._lock:
            # Looked at under the lock: it may just have ended in another thread.
            record = engine.show(request.operation_id)
            if record is not None and record.state is not OperationState.RUNNING:
                ended = record
            else:
                ended = None
                self._join(engine, request.operation_id, watcher)
        if ended is not None:
            watcher.ended(ended)

    def resume(self, engine: EnginePort, operation_id: str) -> None:
        """Takes up an operation that a restart has interrupted."""
        with self._lock:
            self._join(engine, operation_id, None)

    def is_stopping(self) -> bool:
        return self._is_stopping

    def is_idle(self) -> bool:
        return not self._watchers

    def changed(self, record: OperationRecord) -> None:
        """The engine's on_change. While the agent stops, the operation rests here, between two
        steps; the next start resumes it."""
        operation_id = record.request.operation_id
        self._on_change(record)
        if record.state is OperationState.RUNNING:
            with self._lock:
                watchers = tuple(self._watchers.get(operation_id, ()))
            for watcher in watchers:
                watcher.progress(record)
            if self._is_stopping:
                self._park(operation_id)

    def stop(self, grace_s: float) -> bool:
        """No operation begins any more, and none goes on to its next step. True once all rest;
        False where one did not come to rest in time."""
        deadline = Deadline.after(self._clock, grace_s)
        self._is_stopping = True
        with self._has_parked:
            while self._watchers.keys() - self._parked:
                if deadline.passed(self._clock):
                    return False
                self._has_parked.wait(min(0.2, deadline.left_s(self._clock)))
        return True

    def _join(self, engine: EnginePort, operation_id: str, watcher: Watcher | None) -> None:
        """With the lock held."""
        is_new = operation_id not in self._watchers
        watchers = self._watchers.setdefault(operation_id, [])
        if watcher is not None:
            watchers.append(watcher)
        if is_new:
            threading.Thread(
                target=self._run, args=(engine, operation_id), name=operation_id, daemon=True
            ).start()

    def _run(self, engine: EnginePort, operation_id: str) -> None:
        structlog.contextvars.bind_contextvars(operation_id=operation_id)
        error: AgentError | None = None
        record: OperationRecord | None = None
        try:
            record = engine.run(operation_id)
            self._on_end(record)
        except AgentError as exc:
            log.error("the operation cannot be run", error=exc.message)
            error = exc
        except Exception as exc:
            log.exception("the operation broke off")
            error = OutcomeUnknown(
                f"operation {operation_id} broke off: {type(exc).__name__}",
                remedy="look before trying again: storage-agent status; then journalctl "
                "-u storage-agentd, and report it",
                code="INTERNAL",
            )
        with self._has_parked:
            watchers = self._watchers.pop(operation_id, [])
            self._has_parked.notify_all()
        for watcher in watchers:
            if record is not None:
                watcher.ended(record)
            elif error is not None:
                watcher.failed(error)
        self._on_rest()

    def _park(self, operation_id: str) -> None:
        with self._has_parked:
            self._parked.add(operation_id)
            self._has_parked.notify_all()
        # The process ends while this thread waits.
        threading.Event().wait()
