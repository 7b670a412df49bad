"""Operations outlive their callers, run once each, and come to rest when the agent stops."""

from __future__ import annotations

import threading

import pytest

from storage_agent.model.errors import AgentError, Busy, OperationFailed, OutcomeUnknown
from storage_agent.model.operation import OperationRecord, OperationState
from storage_agent.service.runs import NOBODY, Runs, Watcher
from tests.unit.service.parts import FakeEngine, ThreadClock, request_of, wait_until


class Bench:
    def __init__(self) -> None:
        self.engine = FakeEngine()
        self.changed: list[OperationRecord] = []
        self.ended: list[OperationRecord] = []
        self.rests = 0
        self.runs = Runs(
            clock=ThreadClock(),
            changed=self.changed.append,
            ended=self.ended.append,
            rested=self._rested,
        )
        self.engine.on_change = self.runs.changed

    def _rested(self) -> None:
        self.rests += 1


class Waiting:
    def __init__(self) -> None:
        self.progress: list[OperationRecord] = []
        self.result: OperationRecord | None = None
        self.error: AgentError | None = None
        self.done = threading.Event()
        self.watcher = Watcher(progress=self.progress.append, ended=self.end, failed=self.fail)

    def end(self, record: OperationRecord) -> None:
        self.result = record
        self.done.set()

    def fail(self, error: AgentError) -> None:
        self.error = error
        self.done.set()


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_an_operation_runs_to_its_end_and_tells_on_the_way(bench: Bench) -> None:
    waiting = Waiting()
    bench.runs.start(bench.engine, request_of(), waiting.watcher)
    assert waiting.done.wait(5)
    assert waiting.result is not None
    assert waiting.result.state is OperationState.SUCCEEDED
    assert [record.message for record in waiting.progress] == ["step 0", "step 1"]
    wait_until(lambda: bench.rests == 1)
    assert bench.runs.is_idle()
    assert bench.ended == [waiting.result]


def test_the_same_id_again_joins_and_runs_once(bench: Bench) -> None:
    bench.engine.go.clear()
    first, second = Waiting(), Waiting()
    bench.runs.start(bench.engine, request_of(), first.watcher)
    wait_until(lambda: bench.changed)
    bench.runs.start(bench.engine, request_of(), second.watcher)
    bench.engine.go.set()
    assert first.done.wait(5)
    assert second.done.wait(5)
    assert first.result == second.result
    assert bench.engine.ran == ["op-1"]


def test_an_ended_operation_is_answered_again_without_running(bench: Bench) -> None:
    first, second = Waiting(), Waiting()
    bench.runs.start(bench.engine, request_of(), first.watcher)
    assert first.done.wait(5)
    bench.runs.start(bench.engine, request_of(), second.watcher)
    assert second.result == first.result
    assert bench.engine.ran == ["op-1"]


def test_what_the_engine_refuses_is_raised_at_once(bench: Bench) -> None:
    bench.engine.busy_times = 1
    with pytest.raises(Busy):
        bench.runs.start(bench.engine, request_of(), NOBODY)
    assert bench.runs.is_idle()


@pytest.mark.parametrize(
    ("breaks", "kind"),
    [
        (OperationFailed("journal damaged"), OperationFailed),
        (ZeroDivisionError(), OutcomeUnknown),
    ],
)
def test_an_operation_that_breaks_off_is_told(
    bench: Bench, breaks: Exception, kind: type[AgentError]
) -> None:
    bench.engine.breaks = breaks
    waiting = Waiting()
    bench.runs.start(bench.engine, request_of(), waiting.watcher)
    assert waiting.done.wait(5)
    assert type(waiting.error) is kind
    wait_until(bench.runs.is_idle)


def test_an_interrupted_operation_is_taken_up(bench: Bench) -> None:
    bench.engine.begin(request_of())
    bench.runs.resume(bench.engine, "op-1")
    wait_until(lambda: bench.rests == 1)
    assert bench.engine.ran == ["op-1"]
    assert bench.ended[0].state is OperationState.SUCCEEDED


def test_stopping_lets_the_step_end_and_no_other_begin(bench: Bench) -> None:
    bench.engine.go.clear()
    bench.runs.start(bench.engine, request_of(), NOBODY)
    assert bench.engine.is_waiting.wait(5)
    stopped: list[bool] = []
    stopper = threading.Thread(target=lambda: stopped.append(bench.runs.stop(5.0)))
    stopper.start()
    wait_until(bench.runs.is_stopping)
    bench.engine.go.set()
    stopper.join(5)
    assert stopped == [True]
    assert bench.changed[-1].message == "step 1"
    assert bench.ended == []
    with pytest.raises(Busy):
        bench.runs.start(bench.engine, request_of("op-2"), NOBODY)


def test_stopping_does_not_wait_for_a_step_that_hangs(bench: Bench) -> None:
    bench.engine.go.clear()
    bench.runs.start(bench.engine, request_of(), NOBODY)
    assert bench.engine.is_waiting.wait(5)
    assert not bench.runs.stop(0.05)
    bench.engine.go.set()


def test_stopping_with_nothing_to_do_is_immediate(bench: Bench) -> None:
    assert bench.runs.stop(0.0)
