"""A fault of the agent's own in the middle of an operation."""

from __future__ import annotations

import pytest

from storage_agent.model.errors import Busy
from storage_agent.model.operation import OperationState
from storage_agent.model.plan import OperationKind, StepKind
from tests.unit.engine.parts import make_engine, request, run
from tests.unit.fakes import FakeHost, MemoryStore


def broken() -> None:
    raise ZeroDivisionError


def test_the_volume_stays_held_until_the_next_start_resumes_it() -> None:
    host, store = FakeHost(faults={StepKind.MOUNT: broken}), MemoryStore()
    engine = make_engine(host, store)
    with pytest.raises(ZeroDivisionError):
        run(engine, request(OperationKind.PROMOTE))
    (held,) = engine.running()
    assert held.state is OperationState.RUNNING
    assert "broke off: ZeroDivisionError" in held.message
    with pytest.raises(Busy) as caught:
        engine.begin(request(OperationKind.DEMOTE, "op-2"))
    assert caught.value.remedy.startswith("systemctl restart storage-agentd")
    host.faults.clear()
    again = make_engine(host, store)
    assert again.resume() == ("op-1",)
    assert again.run("op-1").state is OperationState.SUCCEEDED
    assert again.running() == ()
