"""However long a caller makes its texts: history goes by the number of operations, and can be
shown."""

from __future__ import annotations

import dataclasses
import json
import typing
from typing import Any

import pytest

from storage_agent.engine.journal import KEPT_OPERATIONS, PRUNED_AT_ONCE
from storage_agent.model.bounds import Items, Text, Whole
from storage_agent.model.operation import OperationRequest, OperationState
from storage_agent.model.plan import OperationKind
from storage_agent.model.replica import Role
from storage_agent.model.wire import BoundError, from_wire, to_wire
from storage_agent.service.api.parameters import HISTORY_LIMIT
from storage_agent.service.api.rpc import encode_answer
from tests.unit.engine.parts import make_engine, request, run
from tests.unit.fakes import FakeHost, MemoryStore
from tests.unit.replicas import in_sync_replica, with_peer

KINDS = ["promote", "demote", "assemble", "standalone", "rejoin"]
# A quotation mark takes two bytes in JSON: no character of ASCII takes more.
LONGEST = '"'
# Once as it was asked, once with its end, each with what it says against it.
JOURNAL_BYTES = 16 << 10


def largest(hint: Any) -> Any:
    """The longest value that a field of this type may have."""
    if typing.get_origin(hint) is not typing.Annotated:
        (bounded,) = [kind for kind in typing.get_args(hint) if kind is not type(None)]
        return largest(bounded)
    inner, bound = typing.get_args(hint)
    if isinstance(bound, Text):
        return LONGEST * bound.most
    if isinstance(bound, Whole):
        return bound.most
    assert isinstance(bound, Items)
    if typing.get_origin(inner) is tuple:
        return (largest(typing.get_args(inner)[0]),) * bound.most
    text = largest(typing.get_args(inner)[1])
    return {f"option-{number}": text for number in range(bound.most)}


HINTS = typing.get_type_hints(OperationRequest, include_extras=True)
NAMED = {"kind", "volume", "operation_id"}
TEXTS = {name: largest(hint) for name, hint in HINTS.items() if name not in NAMED}


def long_one(kind: str, number: int) -> OperationRequest:
    name = f"{kind}-{number}-"
    name += "x" * (64 - len(name))
    texts = TEXTS | {"epoch": 6, "origin": "ssh key " + "k" * 64}
    return OperationRequest(kind=OperationKind(kind), volume="data", operation_id=name, **texts)


def test_each_field_of_a_request_is_bounded() -> None:
    assert len(json.dumps(to_wire(long_one("promote", 1)))) < 4096
    for name, value in TEXTS.items():
        beyond: Any = value + 1 if isinstance(value, int) else None
        if isinstance(value, str):
            beyond = value + "x"
        elif isinstance(value, tuple):
            beyond = [*value, 1]
        elif isinstance(value, dict):
            beyond = value | {"one more": "x"}
        sent = to_wire(long_one("promote", 1)) | {name: beyond}
        with pytest.raises(BoundError, match=f"OperationRequest.{name}: "):
            from_wire(OperationRequest, sent)


@pytest.mark.parametrize("kind", KINDS)
def test_the_longest_texts_push_history_out_no_sooner_than_the_shortest(kind: str) -> None:
    host = FakeHost(
        replica=with_peer(in_sync_replica(), role=Role.PRIMARY), mount_point_state="missing"
    )
    store = MemoryStore()
    engine = make_engine(host, store)
    assert run(engine, request(OperationKind.ASSEMBLE, "first")).state is OperationState.SUCCEEDED
    for number in range(KEPT_OPERATIONS - 1):
        assert run(engine, long_one(kind, number)).state is OperationState.REFUSED
    assert engine.show("first") is not None
    # The newest, as many as may be asked for, are one answer.
    sent = json.loads(encode_answer(1, {"operations": engine.history(HISTORY_LIMIT)}))
    assert len(sent["result"]["operations"]) == HISTORY_LIMIT
    for number in range(KEPT_OPERATIONS, 2 * KEPT_OPERATIONS):
        run(engine, long_one(kind, number))
    journals = store.names("operation-")
    assert KEPT_OPERATIONS <= len(journals) < KEPT_OPERATIONS + PRUNED_AT_ONCE
    assert max(len(store.files[name]) for name in journals) < JOURNAL_BYTES


def test_what_a_tool_says_without_end_does_not_fill_the_journal() -> None:
    host, store = FakeHost(), MemoryStore()
    record = run(make_engine(host, store), request(OperationKind.PROMOTE))
    record = dataclasses.replace(record, message="x" * 1_000_000)
    assert len(json.dumps(to_wire(record))) < JOURNAL_BYTES
