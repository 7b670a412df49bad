"""Epochs that cannot be: no lie of a host gets into the record, and what is in it is taken back."""

from __future__ import annotations

import dataclasses

import pytest

from storage_agent.coordinator.coordinator import Coordinator
from storage_agent.coordinator.deciding import epochs as rules
from storage_agent.coordinator.deciding.contradictions import contradictions
from storage_agent.coordinator.epochs import plan_reset, reset
from storage_agent.coordinator.record.store import GRANTS_KEPT
from storage_agent.engine.epoch import EpochStore
from storage_agent.model.errors import AgentError, Refused
from storage_agent.policy.epoch import MAXIMUM_JUMP
from tests.unit.coordinator.pair import VOLUME, Pair

FAR = 10**15


def shows(pair: Pair, host: str, number: int) -> None:
    """What its epoch file says from now on, of the same coordinator."""
    store = EpochStore(pair.stores[host])
    store.write("data", dataclasses.replace(store.read("data"), number=number))


def record(coordinator: Coordinator) -> int:
    state = coordinator.store.get(VOLUME.key)
    assert state is not None
    return state.epoch


def test_what_an_agent_takes_at_once_is_what_is_believed_here() -> None:
    assert rules.JUMP_LIMIT == MAXIMUM_JUMP


@pytest.mark.parametrize(
    ("ours", "shown", "highest", "liars"),
    [
        (7, {"a": 7, "b": 7}, 7, ""),
        (7, {"a": 9, "b": 7}, 9, ""),
        (7, {"a": 7, "b": FAR}, 7, "b"),
        (7, {"a": FAR, "b": 8}, 8, "a"),
        (None, {"a": 7, "b": FAR}, 7, "b"),
        (None, {"a": 1_000_000, "b": 1_000_003}, 1_000_003, ""),
        (7, {"a": 1_000_000, "b": 1_000_003}, 1_000_003, ""),
        (50_000, {"a": 50_000, "b": 1}, 50_000, "b"),
        (FAR + 1, {"a": 9, "b": FAR}, 9, "b"),
        (FAR + 1, {"a": 9, "b": 9}, 9, ""),
        (FAR + 1, {"a": 9, "b": None}, 9, ""),
        (7, {"b": FAR}, 7, "b"),
        (None, {"b": FAR}, 0, "b"),
        (7, {"a": None, "b": None}, 7, ""),
        (None, {}, 0, ""),
        (7, {"a": (1 << 53) - 2, "b": (1 << 53) - 2}, 7, "ab"),
    ],
)
def test_who_is_believed(
    ours: int | None, shown: dict[str, int | None], highest: int, liars: str
) -> None:
    assert rules.believed(ours, shown) == (highest, frozenset(liars))


@pytest.mark.parametrize(
    ("given", "shown", "epoch"),
    [
        ([6, 7, 8, 9, FAR + 1], {"a": 9, "b": FAR}, 9),
        ([FAR + 1], {"a": 9}, 9),
        ([6, 7, 8, 9, FAR + 1], {"a": 1}, 9),
        ([6, 20_005, FAR], {"a": 6}, 20_005),
        ([6], {"a": None}, None),
    ],
)
def test_a_record_goes_back_to_what_can_have_been_used(
    given: list[int], shown: dict[str, int | None], epoch: int | None
) -> None:
    assert rules.reset_to(given, shown) == epoch


def test_a_lie_is_not_stored_and_no_remedy_leads_to_it(
    pair: Pair, coordinator: Coordinator
) -> None:
    coordinator.adopt(VOLUME)
    begun = record(coordinator)
    shows(pair, "alpha", FAR)
    with pytest.raises(AgentError) as caught:
        coordinator.adopt(VOLUME)
    assert caught.value.code == "EPOCH_IMPLAUSIBLE"
    assert f"alpha shows epoch {FAR}" in caught.value.message
    assert f"/epoch-data /root/ && storage-agent epoch restore data {begun};" in caught.value.remedy
    assert record(coordinator) == begun
    codes = {f.code for f in contradictions(coordinator.look(VOLUME))}
    assert "EPOCH_IMPLAUSIBLE" in codes
    assert not codes & {"EPOCH_AHEAD", "EPOCHS_DIFFER"}
    # As the remedy says, on alpha; then:
    pair.stores["alpha"].remove("epoch-data")
    pair.agents["alpha"].engine.restore_epoch("data", begun)
    coordinator.adopt(VOLUME)
    assert record(coordinator) == begun + 1


def test_a_host_without_an_epoch_is_not_advised_to_take_the_lie(
    pair: Pair, coordinator: Coordinator
) -> None:
    coordinator.adopt(VOLUME)
    shows(pair, "alpha", FAR)
    pair.stores["beta"].remove("epoch-data")
    found = {f.code: f for f in contradictions(coordinator.look(VOLUME))}
    assert f"restore data {record(coordinator)};" in found["EPOCH_MISSING"].remedy


def test_what_was_stored_can_be_taken_back(pair: Pair, coordinator: Coordinator) -> None:
    """As an earlier version did it: the epoch of the liar, in the record and on the liar."""
    coordinator.adopt(VOLUME)
    used = record(coordinator)
    with pytest.raises(Refused) as caught:
        plan_reset(coordinator, VOLUME)
    assert caught.value.code == "NOTHING_TO_RESET"
    coordinator.store.change(VOLUME.key, lambda s: dataclasses.replace(s, epoch=FAR + 1))
    shows(pair, "alpha", FAR + 1)
    with pytest.raises(Refused) as caught:
        coordinator.adopt(VOLUME)
    assert "restore data" in caught.value.remedy
    pair.stores["alpha"].remove("epoch-data")
    pair.agents["alpha"].engine.restore_epoch("data", used)
    with pytest.raises(Refused) as caught:
        coordinator.adopt(VOLUME)
    assert caught.value.remedy == "storage-coordinator reset-epoch office/data"
    planned = plan_reset(coordinator, VOLUME)
    assert (planned.before, planned.epoch) == (FAR + 1, used)
    reset(coordinator, VOLUME, planned)
    # Nothing is granted before both have heard it.
    pair.cut_link()
    with pytest.raises(Refused):
        reset(coordinator, VOLUME, planned)
    pair.link_up = True
    pair.hosts["alpha"].frozen = False
    pair.hosts["alpha"].incident = None
    coordinator.adopt(VOLUME)
    assert record(coordinator) == used + 1
    assert (pair.epoch("alpha"), pair.epoch("beta")) == (used + 1, used + 1)


def test_the_record_of_what_was_given_is_bounded(coordinator: Coordinator) -> None:
    coordinator.adopt(VOLUME)
    store = coordinator.store
    with store._writing() as db:
        db.executemany(
            "INSERT INTO grants VALUES (?, ?, 'continue', 'alpha', '', 'n', 1)",
            [(VOLUME.key, -n) for n in range(2 * GRANTS_KEPT)],
        )
    coordinator.adopt(VOLUME)
    assert len(store.epochs(VOLUME.key)) == GRANTS_KEPT
    assert max(store.epochs(VOLUME.key)) == record(coordinator)
