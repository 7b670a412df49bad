"""The daemon's life without its sockets: start, boot assembly, reload, what it tells."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator

import pytest

from storage_agent.model.configuration import AgentConfig
from storage_agent.model.errors import ConfigurationError, OperationFailed
from storage_agent.model.operation import Marker, OperationRequest, OperationState
from storage_agent.model.plan import OperationKind
from storage_agent.model.snapshot import HostSnapshot
from storage_agent.service import agent as agent_module
from storage_agent.service.agent import Agent
from storage_agent.service.api.answers import Changed, Setup
from storage_agent.service.observing.changes import Event
from storage_agent.service.runs import NOBODY, Watcher
from tests.unit.fakes import (
    FakeHost,
    agent_config,
    volume_config,
)
from tests.unit.replicas import in_sync_replica
from tests.unit.service.parts import (
    FakeEngine,
    Heard,
    make_agent,
    record_of,
    request_of,
    wait_until,
)


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def agents() -> Iterator[list[Agent]]:
    """Started agents, stopped in the end."""
    made: list[Agent] = []
    yield made
    for agent in made:
        agent.stop(1.0)


def started(agents: list[Agent], agent: Agent) -> Agent:
    agents.append(agent)
    agent.start()
    return agent


def texts(agent: Agent) -> list[str]:
    return [event.text for event in agent.events.last(100)]


def test_at_the_start_each_volume_with_an_array_is_assembled_once_a_boot(
    agents: list[Agent], engine: FakeEngine
) -> None:
    new = volume_config("new")
    new = dataclasses.replace(new, array=dataclasses.replace(new.array, uuid={"beta": "x"}))
    setup = Setup(config=agent_config(volume_config(), new), digest="d")
    agent = started(agents, make_agent(engine=engine, setup=setup))
    wait_until(lambda: "data: assemble succeeded: serving" in texts(agent))
    (request,) = engine.begun
    assert request == OperationRequest(
        kind=OperationKind.ASSEMBLE, volume="data", operation_id="boot-boot1-data", origin="boot"
    )
    assert engine.ran == ["boot-boot1-data"]
    # The daemon is restarted: the engine knows the operation.
    again = FakeEngine()
    again.records = engine.records
    started(agents, make_agent(engine=again, setup=setup))
    wait_until(lambda: again.begun)
    assert again.ran == []


def test_a_busy_volume_is_assembled_when_it_is_free(
    agents: list[Agent], engine: FakeEngine
) -> None:
    engine.busy_times = 3
    started(agents, make_agent(engine=engine))
    wait_until(lambda: engine.ran)
    assert len(engine.begun) == 4


def test_one_that_stays_busy_is_given_up(
    agents: list[Agent], engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent_module, "BUSY_TIMEOUT_S", 0.05)
    engine.busy_times = 1_000_000
    agent = started(agents, make_agent(engine=engine))
    wait_until(lambda: "not assembled, still busy: data" in texts(agent))


def test_what_a_restart_interrupted_is_resumed(agents: list[Agent], engine: FakeEngine) -> None:
    engine.records["op-1"] = record_of(request_of())
    engine.unfinished = ("op-1",)
    agent = started(agents, make_agent(engine=engine))
    wait_until(lambda: "op-1" in engine.ran)
    wait_until(lambda: "data: promote succeeded: serving" in texts(agent))
    assert "operation op-1 was interrupted and is resumed" in texts(agent)


def test_with_a_wrong_configuration_nothing_is_assembled(
    agents: list[Agent], engine: FakeEngine
) -> None:
    problem = ConfigurationError("agent.toml:1: no")
    setup = Setup(config=agent_config(), digest="d", problem=problem)
    agent = started(agents, make_agent(engine=engine, setup=setup))
    assert texts(agent)[0].endswith("started; agent.toml:1: no")
    assert agent.summary() == "agent.toml:1: no"
    assert agent.observer.catch_up()
    assert engine.begun == []


class Loader:
    def __init__(self, setup: Setup) -> None:
        self.setup = setup

    def __call__(self) -> Setup:
        return self.setup


def other_config() -> AgentConfig:
    return agent_config(volume_config(), volume_config("home"))


def test_reload_takes_a_new_configuration(engine: FakeEngine) -> None:
    loader = Loader(Setup(config=other_config(), digest="d2"))
    agent = make_agent(engine=engine, load=loader)
    agent.reload()
    assert agent.setup.digest == "d2"
    assert engine.configured == [other_config()]
    assert agent.require_volume("home").name == "home"
    agent.reload()
    assert texts(agent)[-1] == "configuration read again, unchanged"
    assert len(engine.configured) == 1


def test_reload_keeps_the_present_one_where_the_new_one_is_wrong(engine: FakeEngine) -> None:
    problem = ConfigurationError("agent.toml:9: unknown key")
    empty = dataclasses.replace(agent_config(), volumes={})
    loader = Loader(Setup(config=empty, digest="d2", problem=problem))
    agent = make_agent(engine=engine, load=loader)
    agent.reload()
    assert agent.setup.digest == "d1"
    assert engine.configured == []
    assert texts(agent) == ["configuration not taken: agent.toml:9: unknown key"]
    agent.require_usable()


def test_a_configuration_that_was_wrong_is_taken_when_it_is_right(
    agents: list[Agent], engine: FakeEngine
) -> None:
    wrong = Setup(
        config=dataclasses.replace(agent_config(), volumes={}),
        digest="d0",
        problem=ConfigurationError("agent.toml:1: no"),
    )
    loader = Loader(dataclasses.replace(wrong, problem=ConfigurationError("agent.toml:2: no")))
    agent = started(agents, make_agent(engine=engine, setup=wrong, load=loader))
    agent.reload()
    assert agent.summary() == "agent.toml:2: no"
    loader.setup = Setup(config=agent_config(), digest="d1")
    agent.reload()
    agent.require_usable()
    wait_until(lambda: engine.ran == ["boot-boot1-data"])


def test_reload_is_put_off_while_an_operation_runs(agents: list[Agent], engine: FakeEngine) -> None:
    loader = Loader(Setup(config=other_config(), digest="d2"))
    agent = make_agent(engine=engine, load=loader)
    engine.go.clear()
    agent.runs.start(engine, request_of(), NOBODY)
    assert engine.is_waiting.wait(5)
    agent.reload()
    assert agent.setup.digest == "d1"
    engine.go.set()
    wait_until(lambda: agent.setup.digest == "d2")


def test_after_create_its_configuration_is_there_before_the_answer(engine: FakeEngine) -> None:
    loader = Loader(Setup(config=other_config(), digest="d2"))
    agent = make_agent(engine=engine, load=loader)
    digests: list[str] = []
    watcher = Watcher(
        progress=lambda _: None,
        ended=lambda _: digests.append(agent.setup.digest),
        failed=lambda _: None,
    )
    agent.runs.start(engine, request_of(kind=OperationKind.CREATE), watcher)
    wait_until(lambda: digests)
    assert digests == ["d2"]


def test_what_changes_is_kept_and_broadcast() -> None:
    heard = Heard()
    agent = make_agent(heard=heard)
    snapshot = agent.observer.snapshot
    events = (Event(wall_s=1.0, text="data: replica up → absent", volume="data"),)
    agent.published(snapshot, "data", events)
    assert agent.events.last(1) == events
    ((name, changed),) = heard.notifications
    assert name == "changed"
    assert changed == Changed(
        volume="data",
        snapshot=snapshot.volumes["data"],
        readiness=agent.status().readiness["data"],
        events=events,
    )


def test_what_an_operation_came_to_is_broadcast(engine: FakeEngine) -> None:
    heard = Heard()
    agent = make_agent(engine=engine, heard=heard)
    ended = threading.Event()
    watcher = Watcher(progress=lambda _: None, ended=lambda _: ended.set(), failed=lambda _: None)
    agent.runs.start(engine, request_of(), watcher)
    assert ended.wait(5)
    assert [(name, event.text) for name, event in heard.notifications] == [
        ("event", "data: promote succeeded: serving")
    ]


def test_the_summary_is_one_line(agents: list[Agent], engine: FakeEngine) -> None:
    host = FakeHost(replica=in_sync_replica())
    agent = started(agents, make_agent(engine=engine, host=host))

    def is_known(snapshot: HostSnapshot) -> bool:
        return snapshot.drbd_version is not None

    wait_until(lambda: is_known(agent.observer.snapshot))
    engine.records["op-9"] = record_of(request_of("op-9"))
    wait_until(lambda: agent.summary().endswith("promote data runs"))
    assert agent.summary().startswith("data ")
    assert "\n" not in agent.summary()


def test_a_volume_that_was_not_configured_is_said() -> None:
    empty = dataclasses.replace(agent_config(), volumes={})
    agent = make_agent(setup=Setup(config=empty, digest="d", note="not configured: there is no x"))
    assert agent.summary() == "not configured: there is no x"
    agent.require_usable()


def test_stopping_rests_operations(engine: FakeEngine) -> None:
    agent = make_agent(engine=engine)
    engine.go.clear()
    agent.runs.start(engine, request_of(), NOBODY)
    assert engine.is_waiting.wait(5)
    assert not agent.stop(0.05)
    assert engine.records["op-1"].state is OperationState.RUNNING
    engine.go.set()


def test_stopping_says_what_the_next_start_will_take_up(engine: FakeEngine) -> None:
    engine.record_fails = OperationFailed("No space left")
    heard = Heard()
    assert make_agent(engine=engine, heard=heard).stop(0.05)
    [(_, event)] = heard.notifications
    assert event.text == "an operation will be resumed at the next start: No space left"


def test_status_tells_the_newest_marker_that_is_known(
    agents: list[Agent], engine: FakeEngine
) -> None:
    noted = Marker(epoch=7, counter=3, operation_id="op", host="alpha", boot_id="b", wall_s=1.0)
    engine.markers["data"] = noted
    agent = started(agents, make_agent(engine=engine))
    assert agent.status().snapshot.volumes["data"].marker == noted
    ticked = dataclasses.replace(noted, counter=9)
    agent.marker_written("data", ticked)
    # The end of an operation reads what is noted on disk, which may be older.
    agent.runs.start(agent.engine, request_of("op-9"), NOBODY)
    wait_until(lambda: any("promote succeeded" in text for text in texts(agent)))
    assert agent.status().snapshot.volumes["data"].marker == ticked
