"""What is answered where the agent itself is not well."""

from __future__ import annotations

import pytest

from storage_agent.model.errors import ConfigurationError, OperationFailed
from storage_agent.service.agent import Agent
from storage_agent.service.api.answers import Setup
from tests.unit.fakes import agent_config
from tests.unit.service.parts import FakeEngine, make_agent
from tests.unit.service.test_methods import CREATE, PROMOTE, ask, error_of


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def agent(engine: FakeEngine) -> Agent:
    return make_agent(engine=engine)


def test_with_a_wrong_configuration_reads_are_served_and_changes_refused(
    engine: FakeEngine,
) -> None:
    problem = ConfigurationError("/etc/storage-agent/agent.toml:3: unknown key")
    empty = Setup(config=agent_config(), digest="d", problem=problem)
    agent = make_agent(engine=engine, setup=empty)
    status = ask(agent, "status").result
    assert status.problems[0].message == "/etc/storage-agent/agent.toml:3: unknown key"
    for method, parameters in (
        ("promote", PROMOTE),
        ("create", CREATE),
        ("plan", {"operation": "promote", "volume": "data"}),
        ("config.show", {}),
    ):
        assert error_of(ask(agent, method, parameters)).exit_status == 8
    assert engine.begun == []


def test_with_a_damaged_journal_changes_are_refused(engine: FakeEngine) -> None:
    engine.resume_fails = OperationFailed("journal damaged", code="JOURNAL_DAMAGED")
    agent = make_agent(engine=engine)
    agent.start()
    try:
        assert error_of(ask(agent, "promote", PROMOTE)).code == "JOURNAL_DAMAGED"
        assert ask(agent, "status").result.problems[0].code == "JOURNAL_DAMAGED"
    finally:
        agent.stop(1.0)


def test_a_handler_that_breaks_off_is_an_internal_error(agent: Agent, engine: FakeEngine) -> None:
    engine.history = None  # type: ignore[assignment]
    error = error_of(ask(agent, "operation.list"))
    assert error.code == "INTERNAL"
    assert "TypeError" in error.message
