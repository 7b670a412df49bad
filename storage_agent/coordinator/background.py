"""A promotion that runs while the source of the move is asked to let go."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

from storage_agent.coordinator.reaching.fleet import OnRecord
from storage_agent.model.errors import OutcomeUnknown
from storage_agent.model.operation import OperationRecord
from storage_agent.model.plan import StepKind

# How long the source waits for the target to be prepared; then it lets go all the same.
PREPARE_TIMEOUT_S = 60.0
Promote = Callable[[OnRecord], OperationRecord]


class Event(Protocol):
    """threading.Event."""

    def set(self) -> None: ...

    def is_set(self) -> bool: ...

    def wait(self, timeout: float | None = None) -> bool: ...


def _in_thread(run: Callable[[], None]) -> None:
    threading.Thread(target=run, name="promote", daemon=True).start()


class Background:
    """promote: gets what is to hear of every change; raises AgentError.  start: runs it beside
    the caller."""

    def __init__(
        self,
        promote: Promote,
        start: Callable[[Callable[[], None]], None] = _in_thread,
        new_event: Callable[[], Event] = threading.Event,
    ) -> None:
        self._is_prepared = new_event()
        self._ended = new_event()
        self._found: OperationRecord | BaseException = OutcomeUnknown("the promotion broke off")
        self._promote = promote
        start(self._run)

    def wait_until_prepared(self) -> None:
        """Until it waits for the source, has ended, or PREPARE_TIMEOUT_S are over."""
        self._is_prepared.wait(PREPARE_TIMEOUT_S)

    def has_ended(self) -> bool:
        return self._ended.is_set()

    def result(self) -> OperationRecord:
        """Waits for its end, which the fleet bounds. Raises AgentError."""
        self._ended.wait()
        if isinstance(self._found, BaseException):
            raise self._found
        return self._found

    def _run(self) -> None:
        try:
            self._found = self._promote(self.heard)
        except BaseException as exc:
            self._found = exc
        finally:
            self._ended.set()
            self._is_prepared.set()

    def heard(self, record: OperationRecord) -> None:
        """Looks whether it waits for the source by now."""
        if any(step.kind is StepKind.WAIT_FOR_PEER for step in record.steps):
            self._is_prepared.set()
