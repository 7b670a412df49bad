"""What the peer hears when it asks whether this host could take over."""

from __future__ import annotations

import dataclasses

from storage_agent.model.replica import Role
from storage_agent.policy.common import blocker
from storage_agent.service.refusal import refusal
from tests.unit.fakes import FakeHost
from tests.unit.replicas import in_sync_replica, with_peer
from tests.unit.service.parts import FakeEngine, make_agent, wait_until

FULL = blocker("STATE_FOLDER", "it is full", measured="0 bytes", limit="1 MiB", remedy="df")


def test_it_is_asked_of_this_moment() -> None:
    engine = FakeEngine()
    host = FakeHost(replica=with_peer(in_sync_replica(), role=Role.PRIMARY))
    agent = make_agent(engine=engine, host=host)
    assert refusal(agent, "data").startswith("UNOBSERVED: ")
    agent.observer.start(lambda *_: None)
    try:
        wait_until(lambda: refusal(agent, "data") == "")
        engine.in_the_way = (FULL,)
        assert refusal(agent, "data") == "STATE_FOLDER: it is full"
        engine.in_the_way = ()
        assert refusal(agent, "data") == ""
    finally:
        agent.observer.stop()
    assert refusal(agent, "unheard-of") == ""


def test_a_host_that_serves_takes_over_from_nobody() -> None:
    engine = FakeEngine()
    engine.in_the_way = (FULL,)
    agent = make_agent(engine=engine)
    view = agent.observer.snapshot.volumes["data"]
    primary = dataclasses.replace(view, replica=in_sync_replica(role=Role.PRIMARY))
    agent.observer.snapshot = dataclasses.replace(
        agent.observer.snapshot, volumes={"data": primary}
    )
    assert refusal(agent, "data") == ""
