"""The published contract: the schema, the page made of it, and both sides held to it."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from storage_agent.configuration.load import digest
from storage_agent.model.errors import AgentError, Refused
from storage_agent.model.key import KeyRole
from storage_agent.model.wire import from_wire
from storage_agent.service.agent import Agent
from storage_agent.service.api import rpc
from storage_agent.service.api.access import Role
from storage_agent.service.api.methods import METHODS, Dispatcher
from storage_agent.service.api.parameters import decode_parameters
from storage_agent.service.api.schema import NOTIFICATIONS
from storage_agent.service.observing.changes import Event
from tests.unit.fakes import ARRAY_UUID, COORDINATOR, FILESYSTEM_UUID, agent_config
from tests.unit.service.api_page import DOCUMENT, on_the_wire, page, validator
from tests.unit.service.parts import FakeCall, FakeEngine, FakeSession, Heard, make_agent

PAGE = Path(__file__).parents[3] / "docs/api.md"
GENERATED = re.compile(r"(<!-- generated -->\n).*?(<!-- end -->\n)", re.DOTALL)

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
