"""Steps of two hosts on one terminal."""

from __future__ import annotations

import io
import threading
import time

from storage_agent.cli.terminal import Screen
from storage_agent.coordinator_cli.move import StepPrinter
from storage_agent.model.operation import (
    OperationRecord,
    OperationRequest,
    OperationState,
    StepOutcome,
    StepRecord,
)
from storage_agent.model.plan import OperationKind, StepKind


class Jealous(io.StringIO):
    """A terminal that two threads must not write to at once."""

    def __init__(self) -> None:
        super().__init__()
        self.is_in_use = False
        self.clashes = 0

    def write(self, text: str) -> int:
        self.clashes += self.is_in_use
        self.is_in_use = True
        time.sleep(0.001)
        self.is_in_use = False
        return super().write(text)


def record(kind: OperationKind, ended: int) -> OperationRecord:
    request = OperationRequest(kind=kind, volume="data", operation_id=f"{kind}-1")
    outcomes = [*[StepOutcome.DONE] * ended, StepOutcome.RUNNING]
    steps = tuple(
        StepRecord(kind=StepKind.MOUNT, title=f"{kind} step {n}", outcome=outcome)
        for n, outcome in enumerate(outcomes)
    )
    return OperationRecord(
        request=request,
        state=OperationState.RUNNING,
        changed=True,
        epoch=1,
        message="",
        steps=steps,
    )


def test_two_hosts_write_one_after_the_other() -> None:
    stream = Jealous()
    printer = StepPrinter(Screen(stream=stream, is_terminal=True))

    def tell(host: str, kind: OperationKind) -> None:
        for ended in range(20):
            printer(host, record(kind, ended))

    sides = (("alpha", OperationKind.DEMOTE), ("beta", OperationKind.PROMOTE))
    threads = [threading.Thread(target=tell, args=side) for side in sides]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    printer.text(Screen(stream=stream, is_terminal=True), "alpha is busy")
    assert stream.clashes == 0
    text = stream.getvalue()
    assert text.endswith("\r\x1b[Kalpha is busy\n")
    for kind in (OperationKind.DEMOTE, OperationKind.PROMOTE):
        whole = [line for line in text.split("\n") if f"{kind} step" in line]
        assert len(whole) >= 19
