"""An adoption that was broken off, and then a frozen primary: it goes on, and somebody serves."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from storage_agent.coordinator.coordinator import Coordinator
from storage_agent.coordinator.deciding.arbiter import Grant, GrantKind, State
from storage_agent.coordinator.deciding.contradictions import contradictions
from storage_agent.coordinator.failover import fail_over
from storage_agent.coordinator.incidents import answer_incidents
from storage_agent.coordinator.watch import Event, Watch
from storage_agent.engine.epoch import EpochStore
from storage_agent.model.errors import AgentError, Busy, OutcomeUnknown, Refused
from tests.unit.coordinator.pair import VOLUME, Killed, Pair, make_coordinator

CLAIM = "epoch.claim"
HOSTS = ("alpha", "beta")


def listens_to(pair: Pair, host: str) -> str:
    return pair.agents[host].engine.coordinator("data")


def broken_off(
    pair: Pair, coordinator: Coordinator, accepted: int, *, takes_over: bool = False
) -> None:
    """The coordinator's process ends once so many hosts have accepted its claim."""
    left = [accepted]

    def die_before(_host: str, method: str) -> None:
        if method == CLAIM and left[0] == 0:
            raise Killed

    def die_after(_host: str, method: str) -> None:
        left[0] -= method == CLAIM
        die_before(_host, method)

    pair.before, pair.after = die_before, die_after
    with contextlib.suppress(Killed):
        coordinator.adopt(VOLUME, takes_over=takes_over)
        raise AssertionError("it was not broken off")
    pair.before = pair.after = lambda _host, _method: None


def watched(pair: Pair, rounds: int = 3, folder: Path | None = None, **more: object) -> list[Event]:
    """The service, started anew, looks so often at each host that answers."""
    told: list[Event] = []
    watch = Watch(make_coordinator(pair, folder, **more), told.append)
    for _ in range(rounds):
        for host in HOSTS:
            with contextlib.suppress(AgentError):
                watch.look(host)
    return told


def record(coordinator: Coordinator) -> State:
    state = coordinator.store.get(VOLUME.key)
    assert state is not None
    return state


def owned(pair: Pair) -> Coordinator:
    coordinator = make_coordinator(pair)
    coordinator.adopt(VOLUME)
    return coordinator


@pytest.mark.parametrize("chain", [(0,), (1,), (0, 1), (1, 0), (1, 1), (0, 0, 0)])
def test_the_service_goes_on_with_it_and_answers(pair: Pair, chain: tuple[int, ...]) -> None:
    coordinator = owned(pair)
    for accepted in chain:
        broken_off(pair, coordinator, accepted)
    pair.cut_link()
    told = watched(pair)
    assert pair.serving() == ["alpha"]
    assert "confirmed by both hosts" in [event.text for event in told]
    assert record(coordinator).sole == "alpha"
    assert record(coordinator).former == ()


@pytest.mark.parametrize("verb", ["adopt", "failover"])
def test_a_person_gets_further_with_what_is_named(pair: Pair, verb: str) -> None:
    coordinator = owned(pair)
    broken_off(pair, coordinator, 1)
    pair.cut_link()
    found = {f.code: f for f in contradictions(coordinator.look(VOLUME))}
    assert "OTHER_COORDINATOR" not in found
    assert found["ADOPTION_UNFINISHED"].remedy == "storage-coordinator adopt office/data"
    if verb == "failover":
        with pytest.raises(Refused) as caught:
            fail_over(coordinator, VOLUME, "beta")
        assert caught.value.code == "ADOPTION_UNFINISHED"
        assert caught.value.remedy == "storage-coordinator adopt office/data"
    coordinator.adopt(VOLUME)
    if verb == "failover":
        fail_over(coordinator, VOLUME, "beta")
        assert pair.serving() == ["beta"]
    else:
        assert [a.verdict for a in answer_incidents(coordinator, "alpha")] == ["continue"]
        assert pair.serving() == ["alpha"]


def test_what_was_granted_before_it_still_counts(pair: Pair) -> None:
    """beta was given the volume, alpha is frozen: no second word for alpha."""
    coordinator = owned(pair)
    pair.cut_link()
    fail_over(coordinator, VOLUME, "beta")
    broken_off(pair, coordinator, 1)
    watched(pair)
    assert pair.serving() == ["beta"]
    assert record(coordinator).sole == "beta"


def test_an_old_record_that_began_to_claim_does_not_take_a_later_claim_for_its_own(
    pair: Pair,
) -> None:
    """It was put back from the moment in which the claim was broken off; another one was ended
    since, and by that beta may have been given the volume."""
    coordinator = owned(pair)
    broken_off(pair, coordinator, 2)
    old = record(coordinator)
    coordinator.adopt(VOLUME, takes_over=False)
    coordinator.store.change(VOLUME.key, lambda _: old)
    (pair.folder / "run" / "changes").unlink()
    pair.cut_link()
    told = watched(pair)
    assert pair.serving() == []
    assert any("another coordinator" in event.text for event in told)


def test_of_an_old_record_the_claim_that_was_broken_off_is_not_sent_again(pair: Pair) -> None:
    """Both have accepted it, so the same again would shut out nothing of what was granted since."""
    coordinator = owned(pair)
    broken_off(pair, coordinator, 1)
    half = record(coordinator)
    for host in HOSTS:
        coordinator.claim(VOLUME, host, half, half.coordinator, listens_to(pair, host))
    (pair.folder / "run" / "changes").unlink()
    pair.cut_link()
    watched(pair)
    assert pair.serving() == ["alpha"]
    assert record(coordinator).coordinator != half.coordinator
    late = Grant(kind=GrantKind.PROMOTE, epoch=half.epoch + 1, host="beta", operation_id="late")
    with pytest.raises(AgentError):
        coordinator.fleet.ask(
            "beta",
            "grant.promote",
            {
                "volume": "data",
                "epoch": late.epoch,
                "coordinator": half.coordinator,
                "operation_id": late.operation_id,
            },
        )


def test_an_admins_own_promotion_under_the_number_of_the_claim_is_no_word_of_ours(
    pair: Pair,
) -> None:
    coordinator = owned(pair)
    broken_off(pair, coordinator, 0)
    claimed = record(coordinator).epoch
    # It has taken the number that the claim was to have, and listens to us still.
    epochs = EpochStore(pair.stores["beta"])
    epochs.write("data", dataclasses.replace(epochs.read("data"), number=claimed))
    pair.cut_link()
    watched(pair)
    assert pair.serving() == []
    with pytest.raises(Refused) as caught:
        make_coordinator(pair).adopt(VOLUME)
    assert caught.value.code == "OWNER_UNCLEAR"
    assert "connected, alpha goes on by itself" in caught.value.remedy


def test_another_ones_claim_on_one_host_is_not_ours(pair: Pair, tmp_path: Path) -> None:
    coordinator = owned(pair)
    broken_off(pair, coordinator, 1)
    broken_off(pair, make_coordinator(pair, tmp_path / "second"), 1, takes_over=True)
    pair.cut_link()
    told = watched(pair)
    assert pair.serving() == []
    assert any("another coordinator" in event.text for event in told)
    # The link's return ends it, as the remedy says.
    pair.link_up, pair.hosts["alpha"].frozen = True, False
    coordinator.adopt(VOLUME)
    assert pair.serving() == ["alpha"]


# --- one host is gone meanwhile ------------------------------------------------------------------


@pytest.mark.parametrize("accepted", [0, 1])
@pytest.mark.parametrize("dead", HOSTS)
def test_one_host_is_dead(pair: Pair, accepted: int, dead: str) -> None:
    """The record is known to be the newest: the other one's ear is enough."""
    coordinator = owned(pair)
    broken_off(pair, coordinator, accepted)
    pair.kill(dead)
    if dead == "beta":
        pair.cut_link()
    watched(pair, unreachable_s=0)
    if dead == "alpha":
        assert coordinator.store.get(VOLUME.key) is not None
        fail_over(make_coordinator(pair), VOLUME, "beta")
    alive = pair.other(dead)
    assert pair.serving() == [alive]
    # It comes back, listening to an earlier claim: the service asks it for its ear again.
    pair.alive.add(dead)
    pair.link_up = True
    watched(pair)
    assert listens_to(pair, dead) == listens_to(pair, alive) == record(coordinator).coordinator
    assert record(coordinator).former == ()
    assert pair.serving() == [alive]


def test_one_host_is_dead_and_the_record_may_be_old(pair: Pair) -> None:
    coordinator = owned(pair)
    broken_off(pair, coordinator, 0)
    pair.kill("alpha")
    (pair.folder / "run" / "changes").unlink()
    watched(pair, unreachable_s=0)
    assert not make_coordinator(pair).go_on_alone(VOLUME)
    with pytest.raises(Refused) as caught:
        fail_over(make_coordinator(pair), VOLUME, "beta")
    assert caught.value.code == "ADOPTION_UNFINISHED"
    make_coordinator(pair).trust(VOLUME)
    fail_over(make_coordinator(pair), VOLUME, "beta")
    assert pair.serving() == ["beta"]


def test_a_host_that_is_only_silent_for_a_moment_is_waited_for(pair: Pair) -> None:
    coordinator = owned(pair)
    broken_off(pair, coordinator, 1)
    half = record(coordinator)
    pair.kill("alpha")
    watched(pair, unreachable_s=60)
    assert record(coordinator) == half


def test_there_is_nothing_to_go_on_with(pair: Pair) -> None:
    assert not make_coordinator(pair).go_on_alone(VOLUME)
    coordinator = owned(pair)
    assert not coordinator.go_on_alone(VOLUME)


# --- a host is busy -------------------------------------------------------------------------------


def busy(pair: Pair, host: str, times: int) -> Callable[[], int]:
    """So often it refuses a claim. Returns how often it was asked."""
    asked = [0]

    def refuse(name: str, method: str) -> None:
        if (name, method) == (host, CLAIM):
            asked[0] += 1
            if asked[0] <= times:
                raise Busy("data is busy", remedy="wait for it: storage-agent operation")

    pair.before = refuse
    return lambda: asked[0]


def test_a_persons_adoption_waits_for_an_operation(pair: Pair) -> None:
    coordinator = owned(pair)
    asked = busy(pair, "beta", 2)
    coordinator.adopt(VOLUME)
    assert asked() == 3
    assert record(coordinator).former == ()


def test_the_service_waits_for_nothing_and_goes_on_at_its_next_look(pair: Pair) -> None:
    coordinator = owned(pair)
    pair.cut_link()
    answer_incidents(coordinator, "alpha")
    pair.link_up = True
    for _ in range(2):
        coordinator.look(VOLUME)
    asked = busy(pair, "beta", 1)
    told = watched(pair, rounds=2)
    assert asked() == 1
    assert record(coordinator).former != ()
    assert "beta says: data is busy" in [event.text for event in told]
    pair.before = lambda _host, _method: None
    pair.cut_link(nonce="n2")
    watched(pair)
    assert pair.serving() == ["alpha"]


def test_the_claim_is_forgotten_only_where_the_wire_says_so(pair: Pair) -> None:
    """The answer is lost: whether it was accepted is not known, and nothing hangs on it."""
    coordinator = owned(pair)

    def lose(_host: str, method: str) -> None:
        if method == CLAIM:
            raise OutcomeUnknown("the answer is lost")

    pair.after = lose
    with pytest.raises(AgentError):
        coordinator.adopt(VOLUME)
    pair.after = lambda _host, _method: None
    pair.cut_link()
    watched(pair)
    assert pair.serving() == ["alpha"]


def test_only_so_many_claims_are_remembered_and_always_those_that_are_listened_to(
    pair: Pair,
) -> None:
    coordinator = owned(pair)
    for _ in range(20):
        broken_off(pair, coordinator, 0)
    assert len(record(coordinator).former) == 17
    assert record(coordinator).former[0].coordinator == listens_to(pair, "alpha")
    pair.cut_link()
    watched(pair)
    assert pair.serving() == ["alpha"]


# --- a failover that was broken off ---------------------------------------------------------------
