"""By what it is known that the old primary does not write, and what stops a failover without it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from storage_agent.coordinator.coordinator import Coordinator
from storage_agent.coordinator.failover import check_takeover, fail_over
from storage_agent.coordinator.settings import FenceSettings
from storage_agent.model.configuration import Arbitration
from storage_agent.model.errors import OperationFailed, Refused
from tests.unit.coordinator.pair import VOLUME, Pair, make_coordinator


def fence_fails(host: str, _timeout_s: float) -> str:
    raise OperationFailed(f"{host} is not proven to be off: on", code="FENCING_FAILED")


def test_a_fence_that_proves_nothing_does_not_stop_what_a_grant_proves(
    pair: Pair, coordinator: Coordinator
) -> None:
    pair.kill("alpha")
    told: list[str] = []
    done = fail_over(coordinator, VOLUME, "beta", fence=fence_fails, on_text=told.append)
    assert pair.serving() == ["beta"]
    assert done.proof == f"grant of epoch {done.epoch}"
    (text,) = told
    assert text.endswith(f"goes on by {done.proof}: alpha is not proven to be off: on")


def test_a_fence_that_proves_it_is_named_beside_the_grant(
    pair: Pair, coordinator: Coordinator
) -> None:
    pair.kill("alpha")
    done = fail_over(coordinator, VOLUME, "beta", fence=lambda host, _: f"fence_x: {host} off")
    assert done.proof == f"grant of epoch {done.epoch}, fence_x: alpha off"


def test_without_arbitration_somebody_has_to_say_that_the_old_primary_is_off(
    tmp_path: Path,
) -> None:
    pair = Pair(tmp_path, arbitration=Arbitration.NONE)
    coordinator = make_coordinator(pair)
    coordinator.adopt(VOLUME)
    with pytest.raises(Refused) as caught:
        fail_over(coordinator, VOLUME, "beta", is_declared_off=True)
    assert caught.value.code == "PEER_SERVES"
    pair.kill("alpha")
    with pytest.raises(Refused) as caught:
        fail_over(coordinator, VOLUME, "beta", automatic=True)
    assert caught.value.code == "PERSON_NEEDED"
    assert "storage-coordinator failover office/data --to beta" in caught.value.remedy
    assert pair.serving() == []
    done = fail_over(coordinator, VOLUME, "beta", is_declared_off=True)
    assert done.proof == "a person's word that alpha is off"
    assert pair.serving() == ["beta"]


def unarbitrated(folder: Path) -> tuple[Pair, Coordinator]:
    """alpha is dead."""
    pair = Pair(folder, arbitration=Arbitration.NONE)
    coordinator = make_coordinator(pair)
    coordinator.adopt(VOLUME)
    pair.kill("alpha")
    return pair, coordinator


def test_without_arbitration_a_fence_agent_may_say_it(tmp_path: Path) -> None:
    pair, coordinator = unarbitrated(tmp_path)

    def off(host: str, _timeout_s: float) -> str:
        return f"fence_x reports {host} off"

    done = fail_over(coordinator, VOLUME, "beta", automatic=True, fence=off)
    assert done.proof == "fence_x reports alpha off"
    assert pair.serving() == ["beta"]


def test_without_any_other_proof_a_fence_that_fails_stops_it(tmp_path: Path) -> None:
    pair, coordinator = unarbitrated(tmp_path)
    with pytest.raises(OperationFailed) as caught:
        fail_over(coordinator, VOLUME, "beta", automatic=True, fence=fence_fails)
    assert caught.value.code == "FENCING_FAILED"
    assert "alpha is not proven to be off: on" in caught.value.message
    assert "turn alpha off" in caught.value.remedy
    assert "storage-coordinator failover office/data --to beta" in caught.value.remedy
    assert pair.serving() == []
    state = coordinator.store.get(VOLUME.key)
    assert state is not None
    assert state.sole is None


def test_a_persons_word_decides_where_the_fence_fails(tmp_path: Path) -> None:
    pair, coordinator = unarbitrated(tmp_path)
    told: list[str] = []
    done = fail_over(
        coordinator,
        VOLUME,
        "beta",
        is_declared_off=True,
        fence=fence_fails,
        on_text=told.append,
    )
    assert done.proof == "a person's word that alpha is off"
    assert "alpha is not proven to be off: on" in told[0]
    assert pair.serving() == ["beta"]


@pytest.mark.parametrize(
    ("arbitration", "has_fence", "automatic", "proof"),
    [
        (
            Arbitration.NONE,
            False,
            False,
            "a person powers alpha off and types its name: nobody arbitrates, and alpha has no "
            "fence agent",
        ),
        (
            Arbitration.NONE,
            False,
            True,
            "a person powers alpha off and types its name: nobody arbitrates, and alpha has no "
            "fence agent; `automatic` can do nothing here",
        ),
        (
            Arbitration.NONE,
            True,
            True,
            "fence_x reports alpha off, or a person powers alpha off and types its name",
        ),
        (
            Arbitration.COORDINATOR,
            False,
            True,
            "this coordinator's grant: alpha does not go on without one",
        ),
        (
            Arbitration.COORDINATOR,
            True,
            False,
            "this coordinator's grant: alpha does not go on without one; fence_x turns alpha off "
            "as well",
        ),
    ],
)
def test_it_is_said_beforehand_which_proof_is_wanted(
    tmp_path: Path, arbitration: Arbitration, has_fence: bool, automatic: bool, proof: str
) -> None:
    coordinator = make_coordinator(Pair(tmp_path, arbitration=arbitration))
    fence = FenceSettings(agent="fence_x", options="/none") if has_fence else None
    hosts = coordinator.settings.hosts
    alpha = dataclasses.replace(hosts["alpha"], fence=fence)
    coordinator.settings = dataclasses.replace(
        coordinator.settings, hosts={**hosts, "alpha": alpha}
    )
    coordinator.adopt(VOLUME)
    volume = dataclasses.replace(VOLUME, automatic=automatic)
    check = check_takeover(coordinator, coordinator.look(volume), "beta", if_peer_died=True)
    assert check.proof == proof
