"""Each method: its parameters, who may call it, and what it answers."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from storage_agent.model.configuration import Arbitration
from storage_agent.model.errors import AgentError
from storage_agent.model.key import KeyRole
from storage_agent.model.operation import OperationState
from storage_agent.model.wire import to_wire
from storage_agent.service.agent import Agent
from storage_agent.service.api.access import Role
from storage_agent.service.api.answers import Ended, Operations, Setup
from storage_agent.service.api.methods import METHODS, Dispatcher
from tests.unit.fakes import COORDINATOR, agent_config, volume_config
from tests.unit.service.parts import FakeCall, FakeEngine, FakeSession, make_agent, wait_until

PROMOTE = {"volume": "data", "operation_id": "op-1"}
SIXTH = {"epoch": 6, "coordinator": COORDINATOR}
EIGHTH = {"epoch": 8, "coordinator": COORDINATOR}
CREATE = {**PROMOTE, "role": "first", "confirm": "0123456789ab"}


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def agent(engine: FakeEngine) -> Agent:
    return make_agent(engine=engine)


def ask(
    agent: Agent, method: str, parameters: dict[str, Any] | None = None, role: Role = Role.LOCAL
) -> FakeCall:
    call = FakeCall(method, parameters or {}, FakeSession(role))
    Dispatcher(agent)(call)
    assert call.ended.wait(5)
    return call


def error_of(call: FakeCall) -> AgentError:
    assert call.error is not None
    return call.error


def test_ping(agent: Agent) -> None:
    assert ask(agent, "ping").result.protocol == 1


def test_status_is_one_json_object(agent: Agent) -> None:
    answer = json.loads(json.dumps(to_wire(ask(agent, "status").result)))
    assert answer["host"] == "alpha"
    assert answer["config_digest"] == "d1"
    assert answer["operations"] == []
    assert answer["problems"] == []
    assert answer["age_s"] >= 0
    assert answer["snapshot"]["volumes"]["data"]["array"] == {"unobserved": "not looked at yet"}
    assert answer["readiness"]["data"]["verdict"] == "blocked"
    assert answer["readiness"]["data"]["findings"]


def test_status_shows_what_runs(agent: Agent, engine: FakeEngine) -> None:
    engine.go.clear()
    call = FakeCall("promote", PROMOTE)
    Dispatcher(agent)(call)
    wait_until(lambda: call.notifications)
    running = ask(agent, "status").result.operations
    assert [record.request.operation_id for record in running] == ["op-1"]
    engine.go.set()
    assert call.ended.wait(5)


@pytest.mark.parametrize("kind", ["promote", "demote", "assemble", "standalone", "rejoin"])
def test_operations_end_with_their_record_and_tell_on_the_way(
    agent: Agent, engine: FakeEngine, kind: str
) -> None:
    parameters = {**PROMOTE, **EIGHTH, "expected_primary": "beta", "marker_at_least": [7, 2]}
    call = ask(agent, kind, parameters)
    assert call.result.state is OperationState.SUCCEEDED
    assert [name for name, _ in call.notifications] == ["operation.progress"] * 2
    request = engine.begun[0]
    assert (str(request.kind), request.volume, request.epoch) == (kind, "data", 8)
    assert request.coordinator == COORDINATOR
    assert (request.expected_primary, request.marker_at_least) == ("beta", (7, 2))
    assert request.origin == "uid 0 pid 1"


def test_create_carries_role_and_confirmation(agent: Agent, engine: FakeEngine) -> None:
    ask(agent, "create", CREATE)
    assert engine.begun[0].options == {"role": "first", "confirm": "0123456789ab"}


def test_abandon_carries_its_confirmation(agent: Agent, engine: FakeEngine) -> None:
    ask(agent, "abandon", {**PROMOTE, "confirm": "0123456789ab"})
    (request,) = engine.begun
    assert request.kind == "abandon"
    assert request.options == {"confirm": "0123456789ab"}
    call = ask(agent, "abandon", PROMOTE)
    assert error_of(call).code == "missing-key"


def test_what_is_half_made_is_a_problem_that_everybody_sees(
    agent: Agent, engine: FakeEngine
) -> None:
    engine.half_made = ("data",)
    (problem,) = ask(agent, "status").result.problems
    assert problem.code == "CREATION_UNFINISHED"
    assert "storage-agent create data --abandon" in problem.remedy


def test_plan_answers_plan_and_digest(agent: Agent, engine: FakeEngine) -> None:
    call = ask(agent, "plan", {"operation": "create", "volume": "data", "role": "join"})
    assert call.result.digest == call.result.plan.digest()
    assert call.result.findings == ()
    assert engine.begun[0].options == {"role": "join"}


@pytest.mark.parametrize(
    "parameters",
    [
        {"operation": "create", "volume": "data"},
        {"operation": "promote", "volume": "data", "role": "first"},
        {"operation": "split-brain", "volume": "data"},
        {"operation": "rejoin", "volume": "data", "choice": "discard"},
    ],
)
def test_a_role_belongs_to_create_alone_and_a_choice_to_split_brain(
    agent: Agent, parameters: dict[str, Any]
) -> None:
    assert error_of(ask(agent, "plan", parameters)).code == "bad-type"


@pytest.mark.parametrize(
    ("method", "parameters", "code"),
    [
        ("reboot", {}, "unknown-method"),
        ("", {}, "unknown-method"),
        ("Promote", PROMOTE, "unknown-method"),
        ("ping", {"x": 1}, "unknown-key"),
        ("promote", {**PROMOTE, "device": "/dev/sda"}, "unknown-key"),
        ("promote", {**PROMOTE, "force": True}, "unknown-key"),
        ("promote", {"volume": "data"}, "missing-key"),
        ("promote", {**PROMOTE, "epoch": 8}, "missing-key"),
        ("demote", {**PROMOTE, "coordinator": COORDINATOR}, "missing-key"),
        ("plan", {"operation": "promote", "volume": "data", "epoch": 8}, "missing-key"),
        ("promote", {**PROMOTE, "epoch": True}, "bad-type"),
        ("promote", {**PROMOTE, "epoch": "7"}, "bad-type"),
        ("promote", {**PROMOTE, "epoch": [7]}, "bad-type"),
        ("promote", {**PROMOTE, "volume": 7}, "bad-type"),
        ("promote", {**PROMOTE, "volume": ["data"]}, "bad-type"),
        ("promote", {**PROMOTE, "volume": None}, "bad-type"),
        ("promote", {**PROMOTE, "marker_at_least": [1]}, "out-of-bounds"),
        ("promote", {**PROMOTE, "marker_at_least": ["1", "2"]}, "bad-type"),
        ("create", {**CREATE, "role": "both"}, "bad-type"),
        ("split-brain", {**PROMOTE, "choice": "discard"}, "missing-key"),
        ("split-brain", {**PROMOTE, "choice": "both", "confirm": "x"}, "bad-type"),
        ("plan", {"operation": "wipe", "volume": "data"}, "bad-type"),
        ("events", {"limit": 0}, "out-of-bounds"),
        ("events", {"limit": 1001}, "out-of-bounds"),
        ("events", {"limit": False}, "bad-type"),
        ("operation.list", {"limit": 51}, "out-of-bounds"),
        ("operation.show", {"operation_id": "nobody"}, "UNKNOWN_OPERATION"),
        ("hello", {"role": "observe", "key_id": "k"}, "USAGE"),
        ("promote", {**PROMOTE, "operation_id": "boot-x-data"}, "REFUSED"),
        ("promote", {**PROMOTE, "operation_id": "arbitration-x-data"}, "REFUSED"),
        ("promote", {**PROMOTE, "operation_id": "a b"}, "USAGE"),
        *(
            ("promote", {**PROMOTE, "volume": name}, "bad-name")
            for name in (
                *("-f", "--force", "r0/0", "r0 r1", "`id`", "$(id)", "r0;id", "r0\n", ""),
                *("DATA", "Data", "../etc", "/dev/sda", "0data", "data_1"),
            )
        ),
        *(
            ("promote", {**PROMOTE, "volume": name}, "out-of-bounds")
            for name in ("x" * 40, "x" * 60_000, "dätä", "ｄａｔａ", "data\u0301")
        ),
        ("promote", {**PROMOTE, "volume": "all"}, "UNKNOWN_VOLUME"),
    ],
)
def test_what_does_not_fit_is_refused_by_name_and_begins_nothing(
    agent: Agent, engine: FakeEngine, method: str, parameters: dict[str, Any], code: str
) -> None:
    error = error_of(ask(agent, method, parameters))
    assert error.code == code
    assert len(error.message) < 200
    assert engine.begun == []


def test_an_unknown_volume_names_the_known_ones(agent: Agent) -> None:
    error = error_of(ask(agent, "promote", {**PROMOTE, "volume": "home"}))
    assert error.message == "no volume 'home' is configured on alpha"
    assert "systemctl reload storage-agentd" in error.remedy
    assert error.exit_status == 2


ALLOWED = {
    Role.NONE: {"hello"},
    Role.OBSERVE: {"ping", "status", "plan", "operation.show", "operation.list", "subscribe"}
    | {"events", "config.show", "incident.list", "seal.show"},
}
ALLOWED[Role.OPERATE] = ALLOWED[Role.OBSERVE] | {"promote", "demote", "assemble"}
ALLOWED[Role.OPERATE] |= {"standalone", "rejoin"}
ALLOWED[Role.GRANT] = ALLOWED[Role.OPERATE] | {"incident.answer", "grant.promote", "epoch.claim"}
ALLOWED[Role.GRANT] |= {"proof.take", "seal.set"}
ALLOWED[Role.LOCAL] = ALLOWED[Role.GRANT] | {"create", "epoch.restore", "leave", "split-brain"}
ALLOWED[Role.LOCAL] |= {"sessions.end", "abandon", "assemble-degraded", "remake"}


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("method", list(METHODS))
def test_every_role_may_do_exactly_its_own(
    agent: Agent, engine: FakeEngine, role: Role, method: str
) -> None:
    # Wrong parameters on purpose: who may not ask does not learn that they are wrong.
    call = ask(agent, method, {"volume": "nowhere", "nonsense": 1}, role)
    may = method in ALLOWED[role] or method == "hello"
    assert (error_of(call).code != "NOT_PERMITTED") is may
    assert engine.begun == []


@pytest.mark.parametrize("method", ["promote", "demote", "plan"])
@pytest.mark.parametrize(
    ("word", "may_not", "may"),
    [
        ({"peer_is_off": "beta"}, Role.OPERATE, Role.GRANT),
        ({"stop_serving": "alpha/data"}, Role.GRANT, Role.LOCAL),
    ],
    ids=["peer_is_off", "stop_serving"],
)
def test_not_everybody_may_give_a_persons_word(
    agent: Agent, engine: FakeEngine, method: str, word: dict[str, str], may_not: Role, may: Role
) -> None:
    parameters: dict[str, Any] = {"volume": "data", **word}
    parameters |= {"operation": "promote"} if method == "plan" else {"operation_id": "op-1"}
    parameters |= {"epoch": 6, "coordinator": "claim-1"} if method == "promote" else {}
    refused = ask(agent, method, parameters, may_not)
    assert error_of(refused).code == "NOT_PERMITTED"
    assert engine.begun == []
    assert ask(agent, method, parameters, may).error is None
    (name,) = word
    assert getattr(engine.begun[0], name) == word[name]


@pytest.mark.parametrize(
    ("role", "origin"), [(Role.LOCAL, "shutdown"), (Role.OPERATE, "uid 0 pid 1")]
)
def test_who_asks_at_a_shutdown_is_the_host(
    agent: Agent, engine: FakeEngine, role: Role, origin: str
) -> None:
    ask(agent, "demote", {"volume": "data", "operation_id": "shutdown-1"}, role)
    assert engine.begun[0].origin == origin


def test_only_root_on_the_host_lets_it_go_on_without_asking_the_coordinator(
    engine: FakeEngine,
) -> None:
    volume = dataclasses.replace(volume_config(), arbitration=Arbitration.COORDINATOR)
    agent = make_agent(engine=engine, setup=Setup(config=agent_config(volume), digest="d1"))
    confirmed = {**PROMOTE, "confirm": "0123456789ab"}
    assert error_of(ask(agent, "standalone", confirmed, Role.GRANT)).code == "NOT_PERMITTED"
    assert error_of(ask(agent, "standalone", PROMOTE)).code == "NOT_CONFIRMED"
    assert engine.begun == []
    assert ask(agent, "standalone", confirmed).error is None
    assert engine.begun[0].options == {"confirm": "0123456789ab"}


def test_split_brain_carries_the_choice_and_its_confirmation(
    agent: Agent, engine: FakeEngine
) -> None:
    ask(agent, "split-brain", {**PROMOTE, "choice": "discard", "confirm": "0123456789ab"})
    assert engine.begun[0].options == {"choice": "discard", "confirm": "0123456789ab"}


def greeted(
    role: str, key_id: str, authorized: KeyRole | None = None, *, has_place: bool = True
) -> FakeCall:
    """The gateway's hello, before an agent that has authorized the key."""
    agent = make_agent(keys={key_id: authorized} if authorized else {})
    call = FakeCall("hello", {"role": role, "key_id": key_id}, FakeSession(Role.NONE))
    call.has_place = has_place
    Dispatcher(agent)(call)
    assert call.ended.wait(5)
    return call


@pytest.mark.parametrize("role", list(KeyRole))
def test_the_gateway_takes_the_role_of_its_key_once(agent: Agent, role: KeyRole) -> None:
    taken = greeted(role, "SHA256:ab/c+", role)
    assert taken.result.role is role
    session = taken.session
    assert (session.role, session.key_id) == (role, "SHA256:ab/c+")
    assert session.origin == "ssh key SHA256:ab/c+"
    again = FakeCall("hello", {"role": "grant", "key_id": "SHA256:ab/c+"}, session)
    Dispatcher(agent)(again)
    assert again.ended.wait(5)
    assert error_of(again).code == "USAGE"
    assert session.role == role


@pytest.mark.parametrize(
    ("role", "key_id", "authorized", "code"),
    [
        ("local", "k", None, "bad-type"),
        ("none", "k", None, "bad-type"),
        ("observe", "", None, "bad-name"),
        ("observe", "k" * 65, None, "out-of-bounds"),
        ("observe", "a b", None, "bad-name"),
        ("observe", "k", None, "KEY_REVOKED"),
        ("grant", "k", KeyRole.OPERATE, "KEY_REVOKED"),
        ("observe", "k", KeyRole.OPERATE, "KEY_REVOKED"),
    ],
)
def test_the_gateway_takes_no_other_role(
    role: str, key_id: str, authorized: KeyRole | None, code: str
) -> None:
    call = greeted(role, key_id, authorized)
    assert error_of(call).code == code
    assert call.session.role is Role.NONE


def test_without_a_place_the_gateway_has_no_role() -> None:
    call = greeted("observe", "k", KeyRole.OBSERVE, has_place=False)
    assert error_of(call).code == "TOO_MANY_CONNECTIONS"
    assert call.session.role is Role.NONE
    assert not call.session.key_id


def test_the_sessions_of_a_key_are_ended(agent: Agent) -> None:
    call = FakeCall("sessions.end", {"key_id": "k"})
    call.open_sessions |= {"k": 2, "other": 1}
    Dispatcher(agent)(call)
    assert call.ended.wait(5)
    assert call.result == Ended(sessions=2)
    assert call.open_sessions == {"other": 1}


def test_over_the_network_a_promotion_names_its_epoch(agent: Agent, engine: FakeEngine) -> None:
    """Without one it would be the next, whatever happened since the caller has looked."""
    refused = ask(agent, "promote", PROMOTE, Role.OPERATE)
    assert error_of(refused).code == "missing-key"
    assert engine.begun == []
    assert ask(agent, "promote", {**PROMOTE, **SIXTH}, Role.OPERATE).error is None
    assert engine.begun[0].epoch == 6


def test_subscribing_answers_the_present_state(agent: Agent) -> None:
    call = ask(agent, "subscribe")
    assert call.session.is_subscribed
    assert call.result.host == "alpha"


def test_operations_can_be_shown_and_listed(agent: Agent) -> None:
    record = ask(agent, "promote", PROMOTE).result
    assert ask(agent, "operation.show", {"operation_id": "op-1"}).result == record
    assert ask(agent, "operation.list").result == Operations(operations=(record,))


def test_events_are_the_last_ones(agent: Agent) -> None:
    ask(agent, "promote", PROMOTE)
    (event,) = ask(agent, "events", {"limit": 1}).result.events
    assert event.text == "data: promote succeeded: serving"
    assert event.operation_id == "op-1"


def test_config_show(agent: Agent) -> None:
    answer = ask(agent, "config.show").result
    assert answer.config == agent_config()
    assert answer.digest == "d1"
