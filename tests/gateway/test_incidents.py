"""Who may answer a frozen primary, from the key to the waiting fence-peer handler. Row 39 of the
hostile inputs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.gateway.frozen import BOOT_ID, asking, make_world
from tests.gateway.host import Session, StorageHost, code_of, frame, wait_for

GO_ON = 4


@pytest.fixture(scope="module")
def pair() -> Iterator[StorageHost]:
    with StorageHost(daemon="tests.gateway.pair_daemon") as made:
        make_world(made)
        yield made
        assert [line for line in made.daemon_log() if "exception" in line] == []


@pytest.fixture
def grant(pair: StorageHost) -> Iterator[Session]:
    made = pair.session("grant")
    yield made
    made.end()


def incident_of(session: Session) -> dict[str, Any]:
    """The open one, once the handler has opened it."""

    def found() -> Any:
        listed = session.ask("incident.list")["result"]["incidents"]
        return next((one for one in listed if one["answer"] == "none"), None)

    shown: dict[str, Any] = wait_for(found, "the incident is shown")
    return shown


def true_answer(pair: StorageHost, incident: dict[str, Any]) -> dict[str, Any]:
    return {
        "volume": "data",
        "incident": incident["incident"],
        "boot_id": incident["boot_id"],
        "verdict": "continue",
        **pair.next_epoch(),
    }


def is_still_frozen(pair: StorageHost, incident: dict[str, Any]) -> bool:
    (listed,) = pair.local(frame("incident.list"))
    (status,) = pair.local(frame("status"))
    replica = status["result"]["snapshot"]["volumes"]["data"]["replica"]
    no_answer = pair.inside("test", "-e", "/run/storage-agent/answers/data").returncode == 1
    return (
        incident["incident"] in [one["incident"] for one in listed["result"]["incidents"]]
        and replica["suspended"] == ["fencing"]
        and no_answer
    )


def test_a_forged_answer_leaves_it_frozen_and_the_true_one_is_heard(
    pair: StorageHost, grant: Session
) -> None:
    with asking(pair) as handler:
        incident = incident_of(grant)
        true = true_answer(pair, incident)
        epoch = true["epoch"]
        forged: list[tuple[dict[str, Any], str]] = [
            ({"incident": "0a1b2c"}, "INCIDENT_UNKNOWN"),
            ({"incident": incident["incident"].upper() + "0"}, "INCIDENT_UNKNOWN"),
            ({"boot_id": "boot-0"}, "INCIDENT_UNKNOWN"),
            ({"coordinator": "claim-2"}, "OTHER_COORDINATOR"),
            ({"epoch": epoch - 1}, "STALE_EPOCH"),
            ({"epoch": 1 << 52}, "EPOCH_JUMP"),
            ({"epoch": 1 << 62}, "out-of-bounds"),
            ({"volume": "home"}, "UNKNOWN_VOLUME"),
            ({"verdict": "outdate"}, "bad-type"),
        ]
        for change, code in forged:
            answer = grant.ask("incident.answer", **{**true, **change})
            assert code_of(answer) == code, change
        for role in ("observe", "operate"):
            session = pair.session(role)
            assert code_of(session.ask("incident.answer", **true)) == "NOT_PERMITTED"
            assert session.end() == 0
        assert is_still_frozen(pair, incident)
        assert handler.poll() is None
        assert pair.next_epoch()["epoch"] == epoch, "no forged word has used it up"
        assert code_of(grant.ask("incident.answer", **true)) == "ok"
        assert handler.wait(20) == GO_ON


def test_a_captured_answer_is_none_for_the_next_incident(pair: StorageHost, grant: Session) -> None:
    with asking(pair) as handler:
        first = incident_of(grant)
        captured = true_answer(pair, first)
        assert code_of(grant.ask("incident.answer", **captured)) == "ok"
        assert handler.wait(20) == GO_ON
    assert pair.inside("rm", "/run/storage-agent/answers/data").returncode == 0
    with asking(pair) as handler:
        second = incident_of(grant)
        assert second["incident"] != first["incident"]
        assert second["boot_id"] == BOOT_ID
        assert code_of(grant.ask("incident.answer", **captured)) == "INCIDENT_UNKNOWN"
        renamed = {**captured, "incident": second["incident"]}
        assert code_of(grant.ask("incident.answer", **renamed)) == "STALE_EPOCH"
        assert is_still_frozen(pair, second)
        assert handler.poll() is None
