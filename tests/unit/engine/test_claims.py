"""A coordinator takes a volume's epochs over: what was sent before it counts no more."""

from __future__ import annotations

import dataclasses

import pytest

from storage_agent.model.errors import Busy, Refused
from storage_agent.model.operation import OperationState
from storage_agent.model.plan import OperationKind
from tests.unit.engine.parts import make_engine, request, run
from tests.unit.fakes import FakeHost, MemoryStore


def test_a_claim_makes_older_requests_stale() -> None:
    engine = make_engine(FakeHost(), MemoryStore())
    known = engine.epoch("data") or 0
    late = dataclasses.replace(request(OperationKind.PROMOTE), operation_id="late", epoch=known + 1)
    claim = dataclasses.replace(request(OperationKind.DEMOTE), operation_id="c", epoch=known + 1)
    assert engine.claim_epoch(claim).number == known + 1
    assert engine.claim_epoch(claim).number == known + 1
    refused = run(engine, late)
    assert refused.state is OperationState.REFUSED
    assert [f.code for f in refused.findings] == ["STALE_EPOCH"]


def test_of_two_that_claim_one_wins() -> None:
    engine = make_engine(FakeHost(), MemoryStore())
    first = dataclasses.replace(request(OperationKind.DEMOTE), operation_id="a", epoch=50)
    engine.claim_epoch(first)
    with pytest.raises(Refused) as caught:
        engine.claim_epoch(dataclasses.replace(first, operation_id="b"))
    assert caught.value.code == "STALE_EPOCH"
    with pytest.raises(Refused):
        engine.claim_epoch(dataclasses.replace(first, operation_id="b", epoch=49))
    assert engine.epoch("data") == 50


def test_no_claim_under_an_operation() -> None:
    engine = make_engine(FakeHost(), MemoryStore())
    engine.begin(request(OperationKind.PROMOTE))
    claim = dataclasses.replace(request(OperationKind.DEMOTE), operation_id="c", epoch=99)
    with pytest.raises(Busy):
        engine.claim_epoch(claim)
