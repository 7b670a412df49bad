"""A coordinator takes a volume's epochs over: what was sent before it counts no more."""

from __future__ import annotations

import zlib

import pytest

from storage_agent.engine.engine import Engine
from storage_agent.model.errors import Busy, Refused
from storage_agent.model.operation import OperationRequest, OperationState
from storage_agent.model.plan import OperationKind
from tests.unit.engine.parts import make_engine, request, run
from tests.unit.fakes import COORDINATOR, FakeHost, MemoryStore, volume_config


def claim(operation_id: str, epoch: int, coordinator: str | None = None) -> OperationRequest:
    """coordinator: the operation itself, where nobody is named."""
    return request(
        OperationKind.DEMOTE, operation_id, epoch=epoch, coordinator=coordinator or operation_id
    )


def refusal(engine: Engine, wanted: OperationRequest, succeeds: str | None = None) -> str:
    known = engine.epoch("data"), engine.coordinator("data")
    with pytest.raises(Refused) as caught:
        engine.claim_epoch(wanted, succeeds)
    assert (engine.epoch("data"), engine.coordinator("data")) == known
    assert caught.value.remedy
    return caught.value.code


def test_a_claim_makes_older_requests_stale() -> None:
    engine = make_engine(FakeHost(), MemoryStore())
    late = request(OperationKind.PROMOTE, "late", epoch=6, coordinator="c")
    assert engine.claim_epoch(claim("c", 6)).number == 6
    assert engine.claim_epoch(claim("c", 6)).number == 6
    refused = run(engine, late)
    assert refused.state is OperationState.REFUSED
    assert [f.code for f in refused.findings] == ["STALE_EPOCH"]


def test_of_two_that_claim_one_wins() -> None:
    engine = make_engine(FakeHost(), MemoryStore())
    engine.claim_epoch(claim("a", 50))
    assert refusal(engine, claim("b", 50)) == "STALE_EPOCH"
    assert refusal(engine, claim("b", 49)) == "STALE_EPOCH"
    assert (engine.epoch("data"), engine.coordinator("data")) == (50, "a")


def test_after_a_claim_no_other_coordinator_is_listened_to() -> None:
    host, store = FakeHost(), MemoryStore()
    engine = make_engine(host, store)
    engine.claim_epoch(claim("a", 6))
    for wanted in (
        request(OperationKind.PROMOTE, "theirs", epoch=7),
        request(OperationKind.DEMOTE, "theirs-2", epoch=7),
        request(OperationKind.PROMOTE, "nobodys", epoch=7, coordinator=""),
    ):
        record = run(engine, wanted)
        assert record.state is OperationState.REFUSED
        assert [f.code for f in record.findings] == ["OTHER_COORDINATOR"]
        assert "storage-coordinator adopt data" in record.findings[0].remedy
    assert refusal(engine, claim("withdraw", 7, COORDINATOR)) == "OTHER_COORDINATOR"
    assert host.performed == []
    engine.claim_epoch(claim("withdraw", 7, "a"))
    assert make_engine(host, store).coordinator("data") == "a"
    ours = request(OperationKind.PROMOTE, "ours", epoch=8, coordinator="a")
    assert run(engine, ours).state is OperationState.SUCCEEDED


def test_a_record_that_goes_on_is_taken_over_from_its_own_coordinator_only() -> None:
    engine = make_engine(FakeHost(), MemoryStore())
    assert refusal(engine, claim("b", 6), "somebody") == "OTHER_COORDINATOR"
    assert engine.claim_epoch(claim("b", 6), COORDINATOR).coordinator == "b"
    assert engine.claim_epoch(claim("b", 6), COORDINATOR).coordinator == "b"
    assert refusal(engine, claim("c", 7), COORDINATOR) == "OTHER_COORDINATOR"


def test_an_admin_needs_no_coordinator_and_changes_none() -> None:
    engine = make_engine(FakeHost(), MemoryStore())
    assert run(engine, request(OperationKind.PROMOTE, "admin")).epoch == 6
    assert run(engine, request(OperationKind.DEMOTE, "admin-2")).state is OperationState.SUCCEEDED
    assert engine.coordinator("data") == COORDINATOR


@pytest.mark.parametrize("how", ["an earlier version's file", "restored"])
def test_where_none_is_known_every_coordinator_has_to_adopt(how: str) -> None:
    store = MemoryStore()
    engine = make_engine(FakeHost(), store)
    if how == "restored":
        del store.files["epoch-data"]
        engine.restore_epoch("data", 5)
    else:
        body = b'{"epoch": 5, "operation_id": "before"}'
        store.files["epoch-data"] = body + b"\n%08x\n" % zlib.crc32(body)
    assert (engine.epoch("data"), engine.coordinator("data")) == (5, "")
    for coordinator in ("", COORDINATOR):
        wanted = request(
            OperationKind.PROMOTE, f"op{coordinator}", epoch=6, coordinator=coordinator
        )
        assert [f.code for f in run(engine, wanted).findings] == ["OTHER_COORDINATOR"]
    assert engine.claim_epoch(claim("b", 6)).coordinator == "b"


def test_an_operation_that_was_accepted_before_a_claim_is_stopped_by_it() -> None:
    """As after a crash between its acceptance and the claim."""
    host, store = FakeHost(), MemoryStore()
    begun = make_engine(host, store).begin(request(OperationKind.PROMOTE, epoch=9))
    engine = make_engine(host, store)
    engine.claim_epoch(claim("a", 6))
    record = engine.run(begun.request.operation_id)
    assert [f.code for f in record.findings] == ["OTHER_COORDINATOR"]
    assert host.performed == []


def test_no_claim_under_an_operation() -> None:
    engine = make_engine(FakeHost(), MemoryStore())
    engine.begin(request(OperationKind.PROMOTE))
    with pytest.raises(Busy):
        engine.claim_epoch(claim("c", 99))


def test_who_is_listened_to_is_unknown_where_the_epoch_cannot_be_read() -> None:
    store = MemoryStore()
    engine = make_engine(FakeHost(), store)
    engine.claim_epoch(claim("a", 6))
    store.files["epoch-data"] = b"torn"
    assert (engine.epoch("data"), engine.coordinator("data")) == (None, "")


def test_the_answer_to_a_claim_shows_the_replica_as_it_is_now() -> None:
    host = FakeHost()
    engine = make_engine(host, MemoryStore())
    assert engine.arbitration.replica(volume_config()) == host.observe(volume_config()).replica
