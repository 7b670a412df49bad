"""A failover that was broken off goes on, or is taken back."""

from __future__ import annotations

import contextlib
import dataclasses

import pytest

from storage_agent.coordinator.coordinator import Coordinator
from storage_agent.coordinator.deciding import arbiter
from storage_agent.coordinator.deciding.contradictions import contradictions
from storage_agent.coordinator.failover import fail_over
from storage_agent.coordinator.incidents import answer_incidents
from storage_agent.coordinator.switchover import switch_over
from storage_agent.coordinator.withdrawal import withdraw
from storage_agent.model.errors import AgentError
from storage_agent.model.nfs import ServerState
from storage_agent.model.replica import DiskState
from tests.unit.coordinator.pair import VOLUME, Killed, Pair, make_coordinator
from tests.unit.coordinator.test_broken_off import CLAIM, HOSTS, busy, owned, record, watched
from tests.unit.replicas import in_sync_replica


def failover_broken_off(pair: Pair, at: str) -> Coordinator:
    """The coordinator's process ends at this request; then the link is back, and alpha, which was
    rebooted, is a secondary like beta."""
    coordinator = owned(pair)
    pair.cut_link()

    def die(_host: str, method: str) -> None:
        if method == at:
            raise Killed

    pair.before = die
    with contextlib.suppress(Killed):
        fail_over(coordinator, VOLUME, "beta")
        raise AssertionError("it was not broken off")
    pair.before = lambda _host, _method: None
    alpha = pair.hosts["alpha"]
    alpha.frozen, alpha.mounted, alpha.server = False, False, ServerState.ABSENT
    alpha.incident = None
    alpha.replica = in_sync_replica()
    pair.link_up = True
    return make_coordinator(pair)


@pytest.mark.parametrize("at", ["grant.promote", "promote"])
@pytest.mark.parametrize("target", HOSTS)
def test_once_both_are_in_sync_it_keeps_nobody_from_being_chosen(
    pair: Pair, at: str, target: str
) -> None:
    coordinator = failover_broken_off(pair, at)
    found = {f.code: f for f in contradictions(coordinator.look(VOLUME))}
    assert found["MOVE_UNFINISHED"].remedy == "storage-coordinator switchover office/data --to beta"
    granted = record(coordinator).grant
    assert granted is not None
    switch_over(coordinator, VOLUME, target)
    assert pair.serving() == [target]
    # What is still on its way comes too late.
    with pytest.raises(AgentError):
        coordinator.fleet.ask(
            "beta",
            "grant.promote",
            {
                "volume": "data",
                "epoch": granted.epoch,
                "coordinator": record(coordinator).coordinator,
                "operation_id": granted.operation_id,
            },
        )


def test_the_service_ends_it_too(pair: Pair) -> None:
    coordinator = failover_broken_off(pair, "grant.promote")
    watched(pair, rounds=4)
    assert (record(coordinator).sole, record(coordinator).is_loose) == (None, False)
    switch_over(coordinator, VOLUME, "alpha")
    assert pair.serving() == ["alpha"]


def test_a_host_that_does_not_accept_the_end_is_asked_again(pair: Pair) -> None:
    coordinator = failover_broken_off(pair, "grant.promote")
    busy(pair, "beta", 1)
    told = watched(pair, rounds=2)
    assert any("how the failover to beta has ended" in event.text for event in told)
    watched(pair, rounds=4)
    assert record(coordinator).sole is None


def test_a_continue_that_was_nearly_taken_back_is_given_anew(pair: Pair) -> None:
    """alpha has no good disk, so the grant is taken back; that is broken off after alpha has
    accepted the newer epoch, and the disk is there again."""
    coordinator = owned(pair)
    pair.cut_link()
    alpha = pair.hosts["alpha"]
    alpha.disk = DiskState.CONSISTENT

    def die(_host: str, method: str) -> None:
        if method == CLAIM:
            raise Killed

    pair.after = die
    with contextlib.suppress(Killed):
        answer_incidents(coordinator, "alpha")
        raise AssertionError("it was not broken off")
    pair.after = lambda _host, _method: None
    alpha.disk = DiskState.UP_TO_DATE
    watched(pair)
    assert pair.serving() == ["alpha"]


def test_a_grant_is_taken_back_also_after_its_peer_was_denied(pair: Pair) -> None:
    """Each denial may take an epoch; the grant is the same."""
    coordinator = owned(pair)
    pair.cut_link()
    coordinator.store.decide(
        VOLUME.key,
        lambda state: arbiter.decide_promotion(state, "beta", "lost", {}),  # type: ignore[arg-type]
        0,
    )
    coordinator.store.change(VOLUME.key, lambda s: dataclasses.replace(s, epoch=s.epoch + 3))
    grant = record(coordinator).grant
    assert grant is not None
    assert withdraw(coordinator, VOLUME, grant)
    assert record(coordinator).sole is None
