"""The wire methods, what a subscriber hears, and the link, on a whole agent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from storage_agent.engine.engine import Engine
from storage_agent.engine.epoch import EpochStore
from storage_agent.model.errors import AgentError
from storage_agent.model.nfs import ServerState
from storage_agent.model.operation import Epoch
from storage_agent.model.wire import to_wire
from storage_agent.policy.readiness import assess
from storage_agent.service.agent import Agent
from storage_agent.service.api.access import Role
from storage_agent.service.api.answers import Changed, Setup
from storage_agent.service.api.methods import Dispatcher
from storage_agent.service.observing.incident_source import IncidentSource
from tests.unit.fakes import COORDINATOR, FakeHost, MemoryStore
from tests.unit.incidents import CONFIG, FROZEN, NONCE, PRIMARY, frozen_host, incident, serving_host
from tests.unit.service.api_page import DOCUMENT, on_the_wire, validator
from tests.unit.service.parts import (
    FakeCall,
    FakeSession,
    Heard,
    ThreadClock,
    idle_ticks,
    make_observer,
    wait_until,
)

ANSWER = {"volume": "data", "incident": NONCE, "boot_id": "boot-1", "epoch": 6}
ANSWER |= {"coordinator": COORDINATOR}
GRANTED = {"volume": "data", "epoch": 6, "operation_id": "op-1"}
GRANT = {**GRANTED, "coordinator": COORDINATOR}


class World:
    """A real engine on a host in memory, inside an agent."""

    def texts(self) -> list[str]:
        return [event.text for event in self.agent.events.last(50)]

    def __init__(self, host: FakeHost) -> None:
        self.host, self.heard, self.store = host, Heard(), MemoryStore()
        self.folder = (0,)
        first = Epoch(number=5, operation_id="before", coordinator=COORDINATOR)
        EpochStore(self.store).write("data", first)
        clock = ThreadClock()
        source = IncidentSource(lambda: self.folder)
        observer = make_observer(CONFIG, host, sources=(source,))
        engine = Engine(
            config=CONFIG,
            host=host,
            store=self.store,
            clock=clock,
            on_change=lambda record: self.agent.runs.changed(record),
            wait_for_news=lambda volume, timeout_s: clock.sleep(timeout_s),
        )
        setup = Setup(config=CONFIG, digest="d")
        self.agent = Agent(
            setup=setup,
            load=lambda: setup,
            apply=lambda config: None,
            engine=engine,
            observer=observer,
            assess=assess,
            clock=clock,
            broadcast=self.heard,
            inhibit=lambda volume: None,
            ticks=idle_ticks(),
            key_role=lambda _: None,
        )

    def ask(self, method: str, parameters: dict[str, Any], role: Role = Role.GRANT) -> FakeCall:
        call = FakeCall(method, parameters, FakeSession(role))
        Dispatcher(self.agent)(call)
        assert call.ended.wait(5)
        return call

    def error(self, method: str, parameters: dict[str, Any], role: Role = Role.GRANT) -> AgentError:
        error = self.ask(method, parameters, role).error
        assert error is not None
        return error

    def heard_of_incident(self) -> bool:
        return any(
            isinstance(told, Changed) and told.snapshot.incident == incident()
            for _, told in self.heard.notifications
        )


@pytest.fixture
def world() -> Iterator[World]:
    world = World(frozen_host(server=ServerState.STARTED))
    yield world
    world.agent.stop(1.0)


def test_list_answer_and_list_again(world: World) -> None:
    shown = world.ask("incident.list", {}, Role.OBSERVE).result
    assert to_wire(shown) == {
        "incidents": [
            {
                "incident": NONCE,
                "volume": "data",
                "resource": "data",
                "boot_id": "boot-1",
                "opened_unix_s": 1_700_000_000,
                "epoch": 5,
                "answer": "none",
            }
        ]
    }
    asked = {**ANSWER, "verdict": "continue"}
    answered = to_wire(world.ask("incident.answer", asked).result)["incident"]
    assert (answered["answer"], answered["epoch"]) == ("continue", 6)
    assert to_wire(world.ask("incident.answer", asked).result) == {"incident": answered}
    assert to_wire(world.ask("incident.list", {}).result) == {"incidents": [answered]}
    texts = [event.text for event in world.agent.events.last(10)]
    assert f"data: incident {NONCE} answered: continue, epoch 6, by uid 0 pid 1" in texts


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"incident": "forged"}, "INCIDENT_UNKNOWN"),
        ({"boot_id": "boot-0"}, "INCIDENT_UNKNOWN"),
        ({"epoch": 5}, "STALE_EPOCH"),
        ({"coordinator": "claim-2"}, "OTHER_COORDINATOR"),
        ({"verdict": "none"}, "bad-type"),
        ({"verdict": "resume-io"}, "bad-type"),
        ({"epoch": "6"}, "bad-type"),
        ({"volume": "home"}, "UNKNOWN_VOLUME"),
        ({"force": True}, "unknown-key"),
    ],
)
def test_wrong_answers(world: World, changes: dict[str, Any], code: str) -> None:
    asked = {**ANSWER, "verdict": "continue", **changes}
    assert world.error("incident.answer", asked).code == code
    assert world.host.answered == []


def test_the_answers_are_as_published(world: World) -> None:
    answer = {**ANSWER, "verdict": "deny"}
    for method, asked in (("incident.list", {}), ("incident.answer", answer)):
        schema = DOCUMENT["methods"][method]["answer"]
        validator(schema).validate(on_the_wire(world.ask(method, asked).result))


def test_only_the_grant_role_answers_and_grants(world: World) -> None:
    for role in (Role.OBSERVE, Role.OPERATE):
        answer = {**ANSWER, "verdict": "continue"}
        assert world.error("incident.answer", answer, role).code == "NOT_PERMITTED"
        assert world.error("grant.promote", GRANT, role).code == "NOT_PERMITTED"
    assert world.host.answered == []


def test_a_grant_is_told_back(world: World) -> None:
    granted = to_wire(world.ask("grant.promote", GRANT).result)["granted"]
    assert granted == {**GRANTED, "boot_id": "boot-1"}
    assert world.error("grant.promote", {**GRANT, "operation_id": "op-2"}).code == "STALE_EPOCH"
    assert world.error("grant.promote", {**GRANT, "operation_id": "a b"}).code == "USAGE"
    assert world.error("grant.promote", {**GRANT, "operation_id": "boot-1"}).code == "REFUSED"
    schema = DOCUMENT["methods"]["grant.promote"]["answer"]
    validator(schema).validate(on_the_wire(world.ask("grant.promote", GRANT).result))


def test_the_whole_course_of_an_incident() -> None:
    world = World(serving_host())
    world.agent.start()
    wait_until(lambda: world.agent.observer.snapshot.volumes["data"].incident is None)
    # The kernel freezes; the handler opens its incident.
    world.host.incident = incident()
    world.host.replica = FROZEN
    world.folder = (1,)
    world.agent.observer.hint("data")
    wait_until(world.heard_of_incident)
    wait_until(lambda: world.host.server is ServerState.STARTED)
    # Answered, and thawed.
    world.ask("incident.answer", {**ANSWER, "verdict": "continue"})
    world.host.replica = PRIMARY
    world.agent.observer.hint("data")
    wait_until(lambda: world.host.server is ServerState.SERVING)
    wait_until(lambda: any(text.startswith("data: open-link succeeded") for text in world.texts()))
    assert f"data: incident absent → {NONCE} waits for an answer" in world.texts()
    assert any(text.startswith("data: close-link succeeded") for text in world.texts())
    world.agent.stop(1.0)
