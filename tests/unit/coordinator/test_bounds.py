"""An answer is held to the bounds that the agent publishes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from storage_agent.coordinator.reaching.answers import NotUnderstood, record_of
from storage_agent.coordinator.reaching.decoding import OutOfBoundsError, decode
from storage_agent.model.bounds import ITEMS_LIMIT, TEXT_LIMIT_CHARS
from storage_agent.model.operation import OperationRequest
from storage_agent.model.plan import OperationKind
from storage_agent.model.wire import to_wire
from storage_agent.service.api.schema import api
from tests.unit.service.parts import record_of as record_from

BY_TYPE = {"Hello", "OperationRequest", "Seal", "SealFacts"}


def leaves() -> Iterator[tuple[str, dict[str, Any]]]:
    """Key and schema of each number, text and list in the types of answers; not those that are
    bounded by their type: whoever builds the type looks at them."""
    for name, definition in api()["$defs"].items():
        if name in BY_TYPE or name.endswith("Parameters"):
            continue
        for key, schema in definition.get("properties", {}).items():
            for part in (schema, *schema.get("anyOf", ())):
                yield key, part


def taken(value: object) -> Any:
    return decode(json.dumps(value).encode())


def test_numbers_and_lists_beyond_are_refused_and_texts_cut() -> None:
    found = [(key, part) for key, part in leaves() if part.get("type") not in (None, "boolean")]
    assert {part["type"] for _, part in found} >= {"string", "integer", "number", "array"}
    for key, part in found:
        if "maximum" in part and key not in ("code", "exit_status"):
            low, high = part["minimum"], part["maximum"]
            assert taken({key: low}) == {key: low}
            assert taken({key: high}) == {key: high}
            for beyond in (low - 1, high + 1):
                with pytest.raises(OutOfBoundsError, match=key):
                    taken({key: beyond})
        elif part["type"] == "array":
            most = [None] * part["maxItems"]
            assert taken({key: most}) == {key: most}
            with pytest.raises(OutOfBoundsError, match=key):
                taken({key: [*most, None]})
        elif part["type"] == "string":
            longest = "x" * part["maxLength"]
            assert taken({key: longest}) == {key: longest}
            assert len(taken({key: longest + "x"})[key]) == TEXT_LIMIT_CHARS
    many = {f"k{number}": None for number in range(ITEMS_LIMIT)}
    assert taken(many) == many
    with pytest.raises(OutOfBoundsError):
        taken({**many, "one more": None})


def test_what_a_host_says_was_asked_of_it_is_no_longer_than_what_may_be_asked() -> None:
    request = OperationRequest(kind=OperationKind.DEMOTE, volume="data", operation_id="op-1")
    sent = to_wire(record_from(request))
    assert record_of("alpha", sent, "op-1").request == request
    for key, beyond in (("coordinator", "x" * 65), ("origin", "x" * 81), ("epoch", -1)):
        lying = {**sent, "request": {**sent["request"], key: beyond}}
        with pytest.raises(NotUnderstood, match=rf"OperationRecord\.request\.{key}: "):
            record_of("alpha", lying, "op-1")
