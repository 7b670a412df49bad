"""The published contract: the schema, the page made of it, and both sides held to it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from storage_agent.configuration.load import digest
from storage_agent.model.bounds import COUNT_LIMIT
from storage_agent.model.errors import AgentError, Refused
from storage_agent.model.key import KeyRole
from storage_agent.model.plan import OperationKind, Plan
from storage_agent.model.wire import from_wire
from storage_agent.service.agent import Agent
from storage_agent.service.api import rpc
from storage_agent.service.api.access import Role
from storage_agent.service.api.answers import Planned
from storage_agent.service.api.methods import METHODS, Dispatcher
from storage_agent.service.api.parameters import decode_parameters
from storage_agent.service.api.schema import NOTIFICATIONS
from storage_agent.service.observing.changes import Event
from tests.unit.fakes import ARRAY_UUID, COORDINATOR, FILESYSTEM_UUID, agent_config
from tests.unit.service.api_page import DOCUMENT, on_the_wire, page, validator
from tests.unit.service.parts import FakeCall, FakeEngine, FakeSession, Heard, make_agent

PAGE = Path(__file__).parents[3] / "docs/api.md"
GENERATED = re.compile(r"(<!-- generated -->\n).*?(<!-- end -->\n)", re.DOTALL)

PLAN = Plan(operation=OperationKind.DEMOTE, volume="data", host="alpha", steps=(), options={})
PROMOTE = {"volume": "data", "operation_id": "op-1", "epoch": 6, "coordinator": COORDINATOR}
EXAMPLES: dict[str, dict[str, Any]] = {
    "hello": {"role": "observe", "key_id": "SHA256:abc"},
    "ping": {},
    "status": {},
    "subscribe": {},
    "events": {"limit": 5},
    "plan": {"operation": "create", "volume": "data", "role": "first"},
    "operation.show": {"operation_id": "op-0"},
    "operation.list": {},
    "config.show": {},
    "promote": {**PROMOTE, "expected_primary": "beta", "marker_at_least": [7, 2]},
    "demote": {"volume": "data", "operation_id": "op-2"},
    "leave": {"volume": "data", "operation_id": "op-5", "stop_serving": "alpha/data"},
    "assemble": {"volume": "data", "operation_id": "op-3", "wait_s": 5},
    "standalone": {"volume": "data", "operation_id": "op-6"},
    "rejoin": {"volume": "data", "operation_id": "op-7"},
    "split-brain": {
        "volume": "data",
        "operation_id": "op-8",
        "choice": "discard",
        "confirm": "0123",
    },
    "incident.list": {},
    "incident.answer": {
        "volume": "data",
        "incident": "0a1b",
        "boot_id": "boot-1",
        "epoch": 6,
        "coordinator": COORDINATOR,
        "verdict": "deny",
    },
    "grant.promote": PROMOTE,
    "create": {"volume": "data", "operation_id": "op-4", "role": "join", "confirm": "0123"},
    "abandon": {"volume": "data", "operation_id": "op-9", "confirm": "0123"},
    "assemble-degraded": {"volume": "data", "operation_id": "op-10", "confirm": "0123"},
    "remake": {"volume": "data", "operation_id": "op-11", "confirm": "0123"},
    "epoch.claim": {
        "volume": "data",
        "epoch": 8,
        "operation_id": "claim-2",
        "coordinator": "claim-2",
        "succeeds": COORDINATOR,
    },
    "epoch.restore": {"volume": "data", "number": 7},
    "proof.take": {"volume": "data", "name": "proof-1"},
    "seal.show": {"volume": "data"},
    "seal.set": {
        "volume": "data",
        "epoch": 6,
        "coordinator": COORDINATOR,
        "client": "desk",
        "facts": {
            "configuration": digest(agent_config()),
            "filesystem_uuid": FILESYSTEM_UUID,
            "array_uuid": ARRAY_UUID,
            "members": [],
            "array_bytes": 512 << 20,
            "replica_bytes": 512 << 20,
            "possible_array_bytes": 512 << 20,
        },
    },
    "sessions.end": {"key_id": "SHA256:abc"},
}


def takes(schema: dict[str, Any], value: object) -> bool:
    return bool(validator(schema).is_valid(value))


@pytest.fixture
def agent() -> Agent:
    engine = FakeEngine()
    agent = make_agent(engine=engine)
    answer(agent, "promote", {**PROMOTE, "operation_id": "op-0"})
    return agent


def answer(agent: Agent, method: str, parameters: dict[str, Any]) -> FakeCall:
    role = Role.NONE if method == "hello" else Role.LOCAL
    call = FakeCall(method, parameters, FakeSession(role))
    Dispatcher(agent)(call)
    assert call.ended.wait(5)
    return call


def test_it_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(DOCUMENT)
    names = re.findall(r'"#/\$defs/(\w+)"', json.dumps(DOCUMENT))
    assert set(names) <= set(DOCUMENT["$defs"])


def test_there_is_an_example_of_every_method() -> None:
    assert set(EXAMPLES) == set(METHODS) == set(DOCUMENT["methods"])


@pytest.mark.parametrize("method", list(EXAMPLES))
def test_what_the_schema_takes_the_agent_takes(method: str) -> None:
    request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": EXAMPLES[method]}
    jsonschema.Draft202012Validator(DOCUMENT).validate(request)
    decoded = rpc.decode_request(json.dumps(request).encode())
    decode_parameters(METHODS[method].parameters, decoded.parameters)


def parts_of(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema in it, itself first, without what it refers to."""
    yield path, schema
    for number, item in enumerate(schema.get("anyOf", ())):
        yield from parts_of(item, f"{path}/{number}")
    for name, item in schema.get("properties", {}).items():
        yield from parts_of(item, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from parts_of(schema[key], f"{path}/{key}")


BOUNDS: dict[str, list[set[str]]] = {
    "string": [{"maxLength"}],
    "integer": [{"minimum", "maximum"}],
    "number": [{"minimum", "maximum"}],
    "array": [{"maxItems"}],
    "object": [{"maxProperties", "propertyNames"}, {"additionalProperties", "properties"}],
    "boolean": [set()],
    "null": [set()],
}


def test_nothing_in_the_schema_is_without_a_bound() -> None:
    whole = {name: DOCUMENT["$defs"][name] for name in DOCUMENT["$defs"]}
    places = [part for name, schema in whole.items() for part in parts_of(schema, name)]
    places += parts_of(DOCUMENT, "a request")
    for name in ("methods", "notifications"):
        for key, said in DOCUMENT[name].items():
            places += [p for k in ("parameters", "answer") for p in parts_of(said.get(k, {}), key)]
    typed = [(path, schema) for path, schema in places if "type" in schema]
    assert len(typed) > 500
    for path, schema in typed:
        assert any(wanted <= set(schema) for wanted in BOUNDS[schema["type"]]), path
        if "maxProperties" not in schema and schema["type"] == "object":
            assert schema["additionalProperties"] is False, path


def bounded_in(schema: dict[str, Any], key: str = "") -> Iterator[tuple[str, Any, Any, str]]:
    """Where, just within, just beyond, and the limit as it is told; of what a caller chooses."""
    if "$ref" in schema:
        schema = DOCUMENT["$defs"][schema["$ref"].rpartition("/")[2]]
    for item in schema.get("anyOf", ()):
        yield from bounded_in(item, key)
    for name, item in schema.get("properties", {}).items():
        yield from bounded_in(item, f"{key}.{name}")
    kind = schema.get("type")
    if kind == "string":
        most = schema["maxLength"]
        yield key, "x" * most, "x" * (most + 1), str(most)
        yield key, "~" * most, "é", str(most)
    elif kind == "integer":
        yield key, schema["minimum"], schema["minimum"] - 1, str(schema["minimum"])
        yield key, schema["maximum"], schema["maximum"] + 1, str(schema["maximum"])
    elif kind == "array":
        for path, within, beyond, told in bounded_in(schema["items"], key):
            count = max(1, schema.get("minItems", 1))
            yield path, [within] * count, [beyond] * count, told
        most = schema["maxItems"]
        (item, *_) = [within for _, within, _, _ in bounded_in(schema["items"])]
        yield key, [item] * most, [item] * (most + 1), str(most)


def placed(parameters: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    name, _, rest = path.removeprefix(".").partition(".")
    return parameters | {name: placed(parameters[name], f".{rest}", value) if rest else value}


LIMITED = [
    (method, *found)
    for method in METHODS
    for found in bounded_in(DOCUMENT["methods"][method]["parameters"])
]


def test_each_parameter_is_taken_at_its_bound_and_refused_beyond_it_with_its_name() -> None:
    chosen = {(method, path) for method, path, *_ in LIMITED}
    assert len(chosen) > 100
    for method, path, within, beyond, told in LIMITED:
        kind, schema = METHODS[method].parameters, DOCUMENT["methods"][method]["parameters"]
        taken = placed(EXAMPLES[method], path, within)
        assert takes(schema, taken), (method, path)
        decode_parameters(kind, taken)
        refused = placed(EXAMPLES[method], path, beyond)
        assert not takes(schema, refused), (method, path)
        with pytest.raises(rpc.BadRequest) as caught:
            decode_parameters(kind, refused)
        assert caught.value.code == "out-of-bounds", (method, path)
        assert caught.value.message.startswith(f"{kind.__name__}{path}: "), (method, path)
        assert told in caught.value.message, (method, path)
        assert len(caught.value.message) < 200


def test_an_id_beyond_what_every_reader_of_json_can_hold_is_refused() -> None:
    frame = '{"jsonrpc": "2.0", "id": %d, "method": "ping"}'
    for number in (COUNT_LIMIT, -COUNT_LIMIT):
        assert takes(DOCUMENT, json.loads(frame % number))
        assert rpc.decode_request((frame % number).encode()).request_id == number
    for number in (COUNT_LIMIT + 1, -COUNT_LIMIT - 1):
        assert not takes(DOCUMENT, json.loads(frame % number))
        with pytest.raises(rpc.BadRequest):
            rpc.decode_request((frame % number).encode())


def test_what_a_tool_has_said_without_end_is_sent_as_far_as_the_schema_says() -> None:
    endless = "x" * 100_000
    sent = json.loads(rpc.encode_answer(1, Planned(plan=PLAN, digest=endless, findings=())))
    validator(DOCUMENT["methods"]["plan"]["answer"]).validate(sent["result"])
    failed = json.loads(rpc.encode_error(1, AgentError(endless, remedy=endless)))
    validator({"$ref": "#/$defs/Error"}).validate(failed["error"])
    assert failed["error"]["message"].endswith("x…")


WRONG: list[tuple[str, dict[str, Any]]] = [
    ("ping", {"x": 1}),
    ("promote", {"volume": "data"}),
    ("promote", {**PROMOTE, "epoch": "6"}),
    ("promote", {**PROMOTE, "epoch": True}),
    ("promote", {**PROMOTE, "force": True}),
    ("promote", {**PROMOTE, "volume": ["data"]}),
    ("promote", {**PROMOTE, "marker_at_least": {"epoch": 1}}),
    ("promote", {**PROMOTE, "marker_at_least": ["7"]}),
    ("plan", {"operation": "force", "volume": "data"}),
    ("plan", {"operation": "promote", "volume": None}),
    ("create", {**EXAMPLES["create"], "role": "second"}),
    ("events", {"limit": None}),
    ("hello", {"role": "local", "key_id": "x"}),
]


@pytest.mark.parametrize(("method", "parameters"), WRONG)
def test_what_the_schema_refuses_the_agent_refuses(method: str, parameters: dict[str, Any]) -> None:
    assert not takes(DOCUMENT["methods"][method]["parameters"], parameters)
    with pytest.raises(rpc.BadRequest):
        decode_parameters(METHODS[method].parameters, parameters)


# What the others answer: below, and test_arbitration.py.
APART = {"hello", "incident.answer", "grant.promote"}


@pytest.mark.parametrize("method", [name for name in EXAMPLES if name not in APART])
def test_every_answer_is_as_published_and_can_be_read_back(agent: Agent, method: str) -> None:
    call = answer(agent, method, EXAMPLES[method])
    assert call.error is None
    sent = on_the_wire(call.result)
    validator(DOCUMENT["methods"][method]["answer"]).validate(sent)
    assert on_the_wire(from_wire(METHODS[method].answers, sent)) == sent
    for name, parameters in call.notifications:
        schema = DOCUMENT["notifications"][name]["parameters"]
        validator(schema).validate(on_the_wire(parameters))


def test_an_answer_to_hello_is_as_published() -> None:
    call = answer(make_agent(keys={"SHA256:abc": KeyRole.OBSERVE}), "hello", EXAMPLES["hello"])
    schema = DOCUMENT["methods"]["hello"]["answer"]
    validator(schema).validate(on_the_wire(call.result))


def test_every_notification_is_as_published() -> None:
    heard = Heard()
    agent = make_agent(heard=heard)
    answer(agent, "promote", PROMOTE)
    events = (Event(wall_s=1.0, text="data: x", volume="data"),)
    agent.published(agent.observer.snapshot, "data", events)
    told = dict(heard.notifications)
    assert set(told) | {"operation.progress"} == set(NOTIFICATIONS)
    for name, parameters in told.items():
        schema = DOCUMENT["notifications"][name]["parameters"]
        validator(schema).validate(on_the_wire(parameters))


@pytest.mark.parametrize(
    "error", [Refused("no", findings=()), AgentError("x", code="INTERNAL"), rpc.too_large()]
)
def test_every_error_is_as_published(error: AgentError) -> None:
    sent = json.loads(rpc.encode_error(1, error))
    validator({"$ref": "#/$defs/Error"}).validate(sent["error"])


def test_the_page_says_what_the_schema_says() -> None:
    text = PAGE.read_text()
    wanted = GENERATED.sub(lambda match: match[1] + page() + match[2], text)
    if os.environ.get("GOLDEN_WRITE"):
        PAGE.write_text(wanted)
    assert GENERATED.search(text)
    assert PAGE.read_text() == wanted
