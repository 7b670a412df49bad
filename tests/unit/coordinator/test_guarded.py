"""A grant goes by what the old primary's kernel was seen to do, not by what is configured."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from storage_agent.coordinator.coordinator import Coordinator
from storage_agent.coordinator.deciding.arbiter import State, seen_guarded
from storage_agent.coordinator.failover import check_takeover, fail_over
from storage_agent.model.configuration import Arbitration
from storage_agent.model.errors import AgentError, Refused
from tests.unit.coordinator.pair import VOLUME, Pair, make_coordinator
from tests.unit.replicas import guards_as

GOES_ON = guards_as(Arbitration.NONE)


def unguarded(folder: Path, *hosts: str) -> tuple[Pair, Coordinator]:
    """Configured for a coordinator on both hosts; on these the kernel was never told."""
    pair = Pair(folder)
    for name in hosts:
        pair.hosts[name].guards = GOES_ON
    coordinator = make_coordinator(pair)
    coordinator.adopt(VOLUME)
    return pair, coordinator


def guarded(coordinator: Coordinator) -> tuple[str, ...]:
    state = coordinator.look(VOLUME).state
    assert state is not None
    return state.guarded


def test_what_was_seen_last_is_kept(tmp_path: Path) -> None:
    pair, coordinator = unguarded(tmp_path)
    assert guarded(coordinator) == ("alpha", "beta")
    pair.hosts["alpha"].guards = GOES_ON
    assert guarded(coordinator) == ("beta",)
    pair.hosts["alpha"].guards = guards_as(Arbitration.COORDINATOR)
    assert guarded(coordinator) == ("alpha", "beta")
    pair.kill("alpha")
    assert guarded(coordinator) == ("alpha", "beta")
    assert guarded(make_coordinator(pair)) == ("alpha", "beta")


def test_seen_guarded() -> None:
    state = State(epoch=1, guarded=("beta",))
    assert seen_guarded(state, "alpha", is_guarded=True).guarded == ("alpha", "beta")
    assert seen_guarded(state, "beta", is_guarded=False).guarded == ()
    assert seen_guarded(state, "alpha", is_guarded=False) == state


def test_nobody_takes_over_without_a_person_where_the_old_primary_may_write_on(
    tmp_path: Path,
) -> None:
    pair, coordinator = unguarded(tmp_path, "alpha")
    before = check_takeover(coordinator, coordinator.look(VOLUME), "beta", if_peer_died=True)
    assert not before.is_guarded
    assert "ARBITRATION_NOT_IN_FORCE" in {finding.code for finding in before.findings}
    assert "a person powers alpha off" in before.proof
    assert before.loss is not None
    pair.kill("alpha")
    lost = check_takeover(coordinator, coordinator.look(VOLUME), "beta").loss
    assert lost is not None
    assert not lost.is_proven
    with pytest.raises(Refused) as caught:
        fail_over(coordinator, VOLUME, "beta", automatic=True)
    assert caught.value.code == "PERSON_NEEDED"
    assert "alpha was not seen to stand still" in caught.value.message
    assert pair.serving() == []
    done = fail_over(coordinator, VOLUME, "beta", is_declared_off=True)
    assert done.proof == "a person's word that alpha is off"
    assert pair.serving() == ["beta"]


def test_a_fence_agent_makes_it_good(tmp_path: Path) -> None:
    pair, coordinator = unguarded(tmp_path, "alpha")
    pair.kill("alpha")
    done = fail_over(
        coordinator, VOLUME, "beta", automatic=True, fence=lambda host, _: f"fence_x: {host} off"
    )
    assert done.proof == "fence_x: alpha off"
    assert pair.serving() == ["beta"]


def test_a_primary_that_writes_alone_already_counts_as_unguarded(tmp_path: Path) -> None:
    pair, coordinator = unguarded(tmp_path)
    pair.link_up = False
    assert guarded(coordinator) == ("beta",)
    pair.hosts["alpha"].frozen = True
    assert guarded(coordinator) == ("alpha", "beta")


def test_a_host_that_would_not_stand_still_itself_gets_no_grant(tmp_path: Path) -> None:
    pair, coordinator = unguarded(tmp_path, "beta")
    pair.kill("alpha")
    with pytest.raises(AgentError) as caught:
        fail_over(coordinator, VOLUME, "beta", automatic=True)
    assert caught.value.code == "ARBITRATION_NOT_IN_FORCE"
    assert caught.value.remedy == "storage-agent assemble data"
    assert pair.serving() == []
    pair.hosts["beta"].guards = None
    assert fail_over(coordinator, VOLUME, "beta", automatic=True).proof.startswith("grant of epoch")


def test_a_host_that_shows_no_replica_promises_nothing(tmp_path: Path) -> None:
    _, coordinator = unguarded(tmp_path)
    view = coordinator.look(VOLUME)
    bare = dataclasses.replace(view.hosts[0], snapshot=None)
    assert not bare.is_guarded
