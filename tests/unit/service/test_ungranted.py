"""Which epochs a key of the role operate may name."""

from __future__ import annotations

import dataclasses

import pytest

from storage_agent.model.configuration import Arbitration
from storage_agent.service.agent import Agent
from storage_agent.service.api.access import Role
from storage_agent.service.api.answers import Setup
from tests.unit.fakes import agent_config, volume_config
from tests.unit.service.parts import FakeEngine, make_agent
from tests.unit.service.test_methods import EIGHTH, PROMOTE, SIXTH, ask, error_of


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def agent(engine: FakeEngine) -> Agent:
    return make_agent(engine=engine)


CHANGING = ["promote", "demote", "assemble", "standalone", "rejoin"]


@pytest.mark.parametrize("method", CHANGING)
def test_the_role_operate_leaves_no_epoch_out(
    agent: Agent, engine: FakeEngine, method: str
) -> None:
    """known: 5."""
    error = error_of(ask(agent, method, {**PROMOTE, **EIGHTH}, Role.OPERATE))
    assert (error.code, error.exit_status) == ("EPOCH_NOT_NEXT", 3)
    assert [finding.code for finding in error.findings] == ["EPOCH_NOT_NEXT"]
    assert engine.begun == []
    for number, role in enumerate((Role.GRANT, Role.LOCAL)):
        asked = {**PROMOTE, **EIGHTH, "operation_id": f"op-{number}"}
        assert ask(agent, method, asked, role).error is None


@pytest.mark.parametrize("method", [name for name in CHANGING if name != "standalone"])
def test_where_a_coordinator_arbitrates_an_epoch_comes_with_a_grant_alone(
    engine: FakeEngine, method: str
) -> None:
    volume = dataclasses.replace(volume_config(), arbitration=Arbitration.COORDINATOR)
    agent = make_agent(engine=engine, setup=Setup(config=agent_config(volume), digest="d1"))
    asked = {**PROMOTE, **SIXTH}
    assert error_of(ask(agent, method, asked, Role.OPERATE)).code == "EPOCH_NOT_GRANTED"
    assert engine.begun == []
    # `grant.promote` has given it to this operation.
    engine.epochs["data"] = 6
    assert ask(agent, method, asked, Role.OPERATE).error is None
    engine.epochs["data"] = 5
    for number, role in enumerate((Role.GRANT, Role.LOCAL)):
        given = {**asked, "operation_id": f"op-{number}"}
        assert ask(agent, method, given, role).error is None
    if method != "promote":
        assert ask(agent, method, {**PROMOTE, "operation_id": "op-7"}, Role.OPERATE).error is None


def test_where_no_epoch_is_known_the_engine_refuses(agent: Agent, engine: FakeEngine) -> None:
    del engine.epochs["data"]
    assert ask(agent, "promote", {**PROMOTE, **EIGHTH}, Role.OPERATE).error is None
