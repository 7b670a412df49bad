"""A host that asks and asks: it uses up neither epochs, nor the record, nor another host's turn."""

from __future__ import annotations

import dataclasses

import pytest

from storage_agent.coordinator import incidents as module
from storage_agent.coordinator.budget import Budget
from storage_agent.coordinator.coordinator import INCIDENT_BURST, Coordinator
from storage_agent.coordinator.incidents import answer_incidents
from storage_agent.coordinator.reaching.answers import told_by
from storage_agent.coordinator.record.store import RecordFailed
from storage_agent.coordinator.watch import Event, Watch
from storage_agent.model.incident import Incident, IncidentAnswer
from tests.unit.coordinator.pair import VOLUME, Pair


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LAG_S", 0.0)


@pytest.fixture
def adopted(coordinator: Coordinator) -> Coordinator:
    coordinator.adopt(VOLUME)
    return coordinator


def epoch(coordinator: Coordinator) -> int:
    state = coordinator.store.get(VOLUME.key)
    assert state is not None
    return state.epoch


def reopen(pair: Pair, nonce: str) -> None:
    """As if the link had come back and gone again."""
    host = pair.hosts["alpha"]
    host.frozen = True
    assert isinstance(host.incident, Incident)
    host.incident = dataclasses.replace(
        host.incident, incident=nonce, answer=IncidentAnswer.NONE, epoch=None
    )


def test_new_names_without_an_end_use_a_few_epochs(pair: Pair, adopted: Coordinator) -> None:
    adopted.incident_budget = Budget(INCIDENT_BURST, 3600)
    pair.cut_link()
    begun = epoch(adopted)
    verdicts = []
    for number in range(3 * INCIDENT_BURST):
        reopen(pair, f"nonce-{number}")
        verdicts += [(a.verdict, a.why) for a in answer_incidents(adopted, "alpha")]
    assert len(verdicts) == 3 * INCIDENT_BURST
    assert epoch(adopted) - begun == INCIDENT_BURST
    verdict, why = verdicts[-1]
    assert verdict == ""
    assert why.startswith("alpha opens one incident of data after the other")


def test_who_does_not_show_itself_frozen_gets_no_epoch(pair: Pair, adopted: Coordinator) -> None:
    pair.cut_link()
    pair.hosts["alpha"].frozen = False
    begun = epoch(adopted)
    (answered,) = answer_incidents(adopted, "alpha")
    assert (answered.verdict, epoch(adopted)) == ("", begun)
    assert answered.why == "alpha does not show data as a frozen primary"
    pair.hosts["alpha"].frozen = True
    (answered,) = answer_incidents(adopted, "alpha")
    assert (answered.verdict, epoch(adopted)) == ("continue", begun + 1)


def test_the_same_denial_takes_one_epoch(pair: Pair, adopted: Coordinator) -> None:
    """A host that never shows it as answered hears the same again."""
    pair.cut_link()
    adopted.store.change(VOLUME.key, lambda s: dataclasses.replace(s, sole="beta"))
    begun = epoch(adopted)
    for _ in range(5):
        (answered,) = answer_incidents(adopted, "alpha")
        assert answered.verdict == "deny"
        host = pair.hosts["alpha"]
        assert isinstance(host.incident, Incident)
        host.incident = dataclasses.replace(host.incident, answer=IncidentAnswer.NONE)
    assert epoch(adopted) == begun + 1


def test_a_flood_of_one_host_keeps_no_answer_from_another(pair: Pair, adopted: Coordinator) -> None:
    for number in range(10 * INCIDENT_BURST):
        adopted.incident_budget.take((VOLUME.key, "beta"), number / 1000)
    pair.cut_link()
    assert [a.verdict for a in answer_incidents(adopted, "alpha")] == ["continue"]


def test_what_a_host_calls_a_fault_of_the_record_is_that_hosts_word(
    pair: Pair, adopted: Coordinator
) -> None:
    events: list[Event] = []
    watch = Watch(adopted, events.append)
    error = {"message": "no", "data": {"code": "STORE_FAILED", "exit_status": 6}}

    def fails(_host: str, _method: str) -> None:
        raise told_by("alpha", error)

    pair.before = fails
    assert not watch.try_to_look("alpha")
    (event,) = events
    assert (event.kind, event.host) == ("host", "alpha")
    assert event.text.startswith("alpha says: ")
    assert not isinstance(told_by("alpha", error), RecordFailed)
    assert told_by("alpha", error).code == "HOST_CODE_FOREIGN"
