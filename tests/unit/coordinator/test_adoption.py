"""Taking a volume over: from nobody, from oneself, from another one; and broken off anywhere."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path

import pytest

from storage_agent.coordinator.coordinator import Coordinator
from storage_agent.coordinator.deciding.arbiter import State
from storage_agent.coordinator.deciding.contradictions import contradictions
from storage_agent.coordinator.failover import fail_over
from storage_agent.coordinator.incidents import answer_incidents
from storage_agent.coordinator.switchover import switch_over
from storage_agent.engine.epoch import EpochStore
from storage_agent.model.errors import AgentError, Refused
from tests.unit.coordinator.pair import VOLUME, Killed, Pair, make_coordinator


def record(coordinator: Coordinator) -> State:
    state = coordinator.store.get(VOLUME.key)
    assert state is not None
    return state


def listens_to(pair: Pair, host: str) -> str:
    return pair.agents[host].engine.coordinator("data")


def refusal(coordinator: Coordinator) -> str:
    with pytest.raises(AgentError) as caught:
        coordinator.adopt(VOLUME)
    assert caught.value.remedy
    return caught.value.code


def test_two_records_with_the_same_numbers(pair: Pair, tmp_path: Path) -> None:
    """The first one has given an epoch that was lost on the way; the second one's claim has the
    same number. Cut off, alpha would believe the one and beta the other."""
    first = make_coordinator(pair, tmp_path / "first")
    first.adopt(VOLUME)
    first.store.change(VOLUME.key, lambda s: dataclasses.replace(s, epoch=s.epoch + 1))
    second = make_coordinator(pair, tmp_path / "second")
    second.adopt(VOLUME)
    assert record(first).epoch == record(second).epoch
    pair.cut_link()
    (answered,) = answer_incidents(first, "alpha")
    assert (answered.verdict, answered.why.split(":")[0]) == ("", "OTHER_COORDINATOR")
    with pytest.raises(Refused) as caught:
        fail_over(first, VOLUME, "alpha")
    assert caught.value.code == "OTHER_COORDINATOR"
    assert pair.serving() == []
    pair.alive.discard("alpha")
    fail_over(make_coordinator(pair, tmp_path / "second"), VOLUME, "beta")
    assert pair.serving() == ["beta"]


def test_epochs_that_an_incident_has_left_apart_are_named_and_joined_again(
    pair: Pair, coordinator: Coordinator
) -> None:
    pair.cut_link()
    answer_incidents(coordinator, "alpha")
    pair.link_up = True
    coordinator.look(VOLUME)
    found = {f.code: f for f in contradictions(coordinator.look(VOLUME))}
    assert found["EPOCHS_DIFFER"].measured == "epoch 6 on beta, 7 on alpha"
    assert found["EPOCHS_DIFFER"].remedy == "storage-coordinator adopt office/data"
    view = coordinator.adopt(VOLUME)
    assert "EPOCHS_DIFFER" not in {f.code for f in contradictions(view)}


def test_the_one_that_is_not_listened_to_says_so(pair: Pair, tmp_path: Path) -> None:
    first = make_coordinator(pair, tmp_path / "first")
    first.adopt(VOLUME)
    first.store.change(VOLUME.key, lambda s: dataclasses.replace(s, epoch=s.epoch + 9))
    make_coordinator(pair, tmp_path / "second").adopt(VOLUME)
    found = [f for f in contradictions(first.look(VOLUME)) if f.code == "OTHER_COORDINATOR"]
    assert [f.measured.split(":")[0] for f in found] == ["alpha", "beta"]
    with pytest.raises(Refused) as caught:
        switch_over(first, VOLUME, "beta")
    assert caught.value.code == "OTHER_COORDINATOR"
    assert "storage-coordinator adopt" in caught.value.remedy
    # Nor does it take the volume back without being told.
    with pytest.raises(Refused):
        first.adopt(VOLUME, takes_over=False)
    first.adopt(VOLUME)
    switch_over(first, VOLUME, "beta")
    assert pair.serving() == ["beta"]


def test_its_own_record_goes_on_though_nobody_could_tell(pair: Pair, tmp_path: Path) -> None:
    """The control machine restarts while alpha is frozen."""
    coordinator = make_coordinator(pair)
    coordinator.adopt(VOLUME)
    before = listens_to(pair, "alpha")
    pair.cut_link()
    (tmp_path / "run" / "changes").unlink()
    coordinator.adopt(VOLUME, takes_over=False)
    assert listens_to(pair, "alpha") == listens_to(pair, "beta") != before
    (answered,) = answer_incidents(coordinator, "alpha")
    assert (answered.verdict, pair.serving()) == ("continue", ["alpha"])


def test_another_ones_frozen_primary_is_not_guessed_about(pair: Pair, tmp_path: Path) -> None:
    make_coordinator(pair).adopt(VOLUME)
    pair.cut_link()
    before = listens_to(pair, "alpha")
    assert refusal(make_coordinator(pair, tmp_path / "second")) == "OWNER_UNCLEAR"
    assert listens_to(pair, "alpha") == listens_to(pair, "beta") == before


def test_what_was_done_between_the_look_and_the_claims_is_seen(pair: Pair, tmp_path: Path) -> None:
    """alpha is told to go on by the first one while the second one is about to claim."""
    first, second = make_coordinator(pair), make_coordinator(pair, tmp_path / "second")
    first.adopt(VOLUME)
    # The second one knows of higher epochs, so what the first one says does not collide.
    epochs = EpochStore(pair.stores["beta"])
    epochs.write("data", dataclasses.replace(epochs.read("data"), number=50))

    def go_on(_host: str, method: str) -> None:
        if method == "epoch.claim":
            pair.before = lambda _host, _method: None
            pair.cut_link()
            answer_incidents(first, "alpha")

    pair.before = go_on
    second.adopt(VOLUME)
    assert pair.serving() == ["alpha"]
    assert record(second).sole == "alpha"


def test_a_record_goes_on_only_from_itself(pair: Pair, tmp_path: Path) -> None:
    """The second one adopts, with lower numbers, and tells alpha to go on, all between the first
    one's look and its claims: what the first one's record says is old by then."""
    first, second = make_coordinator(pair), make_coordinator(pair, tmp_path / "second")
    first.adopt(VOLUME)
    first.store.change(VOLUME.key, lambda s: dataclasses.replace(s, epoch=s.epoch + 9))

    def overtake(_host: str, method: str) -> None:
        if method == "epoch.claim":
            pair.before = lambda _host, _method: None
            second.adopt(VOLUME)
            pair.cut_link()
            answer_incidents(second, "alpha")

    pair.before = overtake
    assert refusal(first) == "OTHER_COORDINATOR"
    with pytest.raises(Refused):
        fail_over(first, VOLUME, "beta")
    assert pair.serving() == ["alpha"]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("whose", ["nobody's", "its own"])
def test_broken_off_it_grants_nothing_until_it_is_repeated(
    pair: Pair, tmp_path: Path, whose: str, number: int, when: str
) -> None:
    coordinator = make_coordinator(pair)
    if whose == "its own":
        coordinator.adopt(VOLUME)
    left = [number if whose == "nobody's" else number % 2]

    def die(_host: str, method: str) -> None:
        left[0] -= method == "epoch.claim"
        if left[0] == -1:
            raise Killed

    setattr(pair, when, die)
    with contextlib.suppress(Killed):
        coordinator.adopt(VOLUME)
    assert left[0] < 0
    setattr(pair, when, lambda _host, _method: None)
    coordinator = make_coordinator(pair)
    with pytest.raises(Refused) as caught:
        switch_over(coordinator, VOLUME, "beta")
    assert caught.value.code in ("OTHER_COORDINATOR", "ADOPTION_UNFINISHED", "STORE_UNPROVEN")
    pair.cut_link()
    assert [a.verdict for a in answer_incidents(coordinator, "alpha")] == [""]
    pair.link_up, pair.hosts["alpha"].frozen = True, False
    coordinator.adopt(VOLUME, takes_over=False)
    switch_over(coordinator, VOLUME, "beta")
    assert pair.serving() == ["beta"]


def test_a_person_may_trust_a_record_whose_claim_one_host_could_not_accept(pair: Pair) -> None:
    coordinator = make_coordinator(pair)
    coordinator.adopt(VOLUME)

    def die(host: str, method: str) -> None:
        if (host, method) == ("alpha", "epoch.claim"):
            pair.before = lambda _host, _method: None
            pair.kill("alpha")
            raise Killed

    pair.before = die
    with contextlib.suppress(Killed):
        coordinator.adopt(VOLUME)
    coordinator = make_coordinator(pair)
    with pytest.raises(Refused) as caught:
        fail_over(coordinator, VOLUME, "beta")
    assert caught.value.code in ("OTHER_COORDINATOR", "ADOPTION_UNFINISHED")
    coordinator.trust(VOLUME)
    fail_over(coordinator, VOLUME, "beta")
    assert pair.serving() == ["beta"]


def test_an_adoption_without_a_record_is_nothing_to_trust(pair: Pair) -> None:
    coordinator = make_coordinator(pair)

    def die(_host: str, method: str) -> None:
        if method == "epoch.claim":
            raise Killed

    pair.after = die
    with contextlib.suppress(Killed):
        coordinator.adopt(VOLUME)
    pair.after = lambda _host, _method: None
    with pytest.raises(Refused) as caught:
        make_coordinator(pair).trust(VOLUME)
    assert caught.value.code == "ADOPTION_UNFINISHED"


def test_a_host_whose_epoch_was_restored_wants_to_be_adopted_again(pair: Pair) -> None:
    coordinator = make_coordinator(pair)
    coordinator.adopt(VOLUME)
    pair.agents["beta"].engine.restore_epoch("data", record(coordinator).epoch)
    with pytest.raises(Refused) as caught:
        switch_over(coordinator, VOLUME, "beta")
    assert caught.value.code == "OTHER_COORDINATOR"
    coordinator.adopt(VOLUME, takes_over=False)
    switch_over(coordinator, VOLUME, "beta")
    assert pair.serving() == ["beta"]
