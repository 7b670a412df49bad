"""The record survives, gives an epoch once, and knows when it is an old one."""

from __future__ import annotations

import fcntl
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from storage_agent.coordinator.deciding import arbiter
from storage_agent.coordinator.deciding.arbiter import Decision, Incident, State
from storage_agent.coordinator.record import store as store_module
from storage_agent.coordinator.record.store import LOCK_TIMEOUT_S, Store
from storage_agent.model.errors import AgentError, Busy, OutcomeUnknown


@pytest.fixture
def store(tmp_path: Path) -> Store:
    found = Store(tmp_path, tmp_path / "run")
    found.decide("p/data", lambda _: Decision(state=State(epoch=7, owner="alpha")), 1)
    return found


def continue_alpha(state: State | None) -> Decision:
    assert state is not None
    asked = Incident(host="alpha", incident="n1", boot_id="b", epoch=state.epoch)
    return arbiter.decide_incident(state, asked)


def promote_beta(state: State | None) -> Decision:
    assert state is not None
    return arbiter.decide_promotion(state, "beta", "op", {})


def test_what_was_decided_is_found_again(store: Store, tmp_path: Path) -> None:
    decided = store.decide("p/data", continue_alpha, 1000)
    again = Store(tmp_path, tmp_path / "run")
    assert again.get("p/data") == decided.state
    assert again.get("p/other") is None
    assert again.grants("p/data") == [(8, "continue", "alpha", 1000)]


def test_two_that_decide_see_each_other(store: Store, tmp_path: Path) -> None:
    second = Store(tmp_path, tmp_path / "run")
    assert store.decide("p/data", continue_alpha, 1).grant is not None
    refused = second.decide("p/data", promote_beta, 1)
    assert refused.grant is None
    assert refused.refusal is not None
    assert refused.refusal.code == "PEER_HAS_GRANT"


def test_an_epoch_is_given_once_whatever_a_rule_says(store: Store) -> None:
    decided = store.decide("p/data", continue_alpha, 1)
    grant = decided.grant
    assert grant is not None

    def wrong(state: State | None) -> Decision:
        other = arbiter.Grant(kind=arbiter.GrantKind.PROMOTE, epoch=grant.epoch, host="beta")
        return Decision(state=State(epoch=grant.epoch, grant=other), grant=other)

    with pytest.raises(AgentError, match="UNIQUE"):
        store.decide("p/data", wrong, 1)
    assert store.get("p/data") == decided.state


def test_what_is_not_recorded_is_not_changed(store: Store) -> None:
    assert store.change("p/none", lambda s: State(epoch=0)) is None
    assert store.get("p/none") is None


def test_a_backup_is_recognised(store: Store, tmp_path: Path) -> None:
    assert not store.is_proven("p/data")
    store.vouch(["p/data"])
    assert store.is_proven("p/data")
    assert not store.is_proven("p/other")
    shutil.copy(tmp_path / "coordinator.sqlite", tmp_path / "backup")
    store.decide("p/data", continue_alpha, 1)
    assert store.is_proven("p/data")
    shutil.copy(tmp_path / "backup", tmp_path / "coordinator.sqlite")
    assert not store.is_proven("p/data")
    # And no further change makes it look new.
    for epoch in range(20, 30):
        store.change("p/data", lambda _, e=epoch: State(epoch=e))  # type: ignore[misc]
        assert not store.is_proven("p/data")
    store.vouch(["p/data"])
    assert store.is_proven("p/data")


def test_after_a_reboot_nothing_vouches_for_it(store: Store, tmp_path: Path) -> None:
    store.vouch(["p/data"])
    shutil.rmtree(tmp_path / "run")
    store.decide("p/data", continue_alpha, 1)
    assert not store.is_proven("p/data")


@contextmanager
def held(folder: Path) -> Iterator[sqlite3.Connection]:
    """Somebody else writes, and takes his time."""
    other = sqlite3.connect(
        folder / "coordinator.sqlite", isolation_level=None, check_same_thread=False
    )
    other.execute("BEGIN IMMEDIATE")
    try:
        yield other
    finally:
        other.close()


def test_who_reads_waits_for_no_writer(store: Store, tmp_path: Path) -> None:
    store.vouch(["p/data"])
    begun_s = time.monotonic()
    with held(tmp_path):
        again = Store(tmp_path, tmp_path / "run")
        assert again.is_proven("p/data")
        assert again.grants("p/data") == []
        found = again.get("p/data")
    assert found is not None
    assert found.epoch == 7
    assert time.monotonic() - begun_s < LOCK_TIMEOUT_S / 2


def test_who_writes_waits_for_its_turn(store: Store, tmp_path: Path) -> None:
    with held(tmp_path) as other:
        timer = threading.Timer(0.2, other.rollback)
        timer.start()
        assert store.decide("p/data", continue_alpha, 1).grant is not None
        timer.join()


def test_its_turn_does_not_come(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "LOCK_TIMEOUT_S", 0.01)
    with held(tmp_path), pytest.raises(Busy) as caught:
        store.decide("p/data", continue_alpha, 1)
    assert caught.value.code == "STORE_BUSY"
    found = store.get("p/data")
    assert found is not None
    assert found.epoch == 7


def test_a_backup_is_recognised_by_who_only_reads(store: Store, tmp_path: Path) -> None:
    shutil.copy(tmp_path / "coordinator.sqlite", tmp_path / "backup")
    store.vouch(["p/data"])
    store.decide("p/data", continue_alpha, 1)
    shutil.copy(tmp_path / "backup", tmp_path / "coordinator.sqlite")
    with held(tmp_path):
        assert not store.is_proven("p/data")


def nonsense(path: Path) -> None:
    path.write_bytes(b"no database" * 100)


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


def no_numbers(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("DELETE FROM meta")


def no_state(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("UPDATE volumes SET state = '[1]'")


@pytest.mark.parametrize("damage", [nonsense, cut_short, no_numbers, no_state])
def test_a_damaged_record_is_said_so(
    store: Store, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    damage(tmp_path / "coordinator.sqlite")
    with pytest.raises(OutcomeUnknown) as caught:
        Store(tmp_path, tmp_path / "run").get("p/data")
    assert caught.value.code == "STORE_FAILED"
    assert "coordinator.sqlite" in caught.value.message
    # And what it says to do helps.
    assert "coordinator.sqlite.damaged; storage-coordinator adopt --all" in caught.value.remedy
    (tmp_path / "coordinator.sqlite").rename(tmp_path / "coordinator.sqlite.damaged")
    assert Store(tmp_path, tmp_path / "run").get("p/data") is None


def test_what_cannot_be_opened_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "coordinator.sqlite").mkdir()
    with pytest.raises(OutcomeUnknown) as caught:
        Store(tmp_path, tmp_path / "run")
    assert (caught.value.code, bool(caught.value.remedy)) == ("STORE_FAILED", True)


def test_a_number_that_cannot_be_noted_is_said_so(store: Store, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "run")
    (tmp_path / "run").write_text("in the way")
    with pytest.raises(OutcomeUnknown) as caught:
        store.vouch(["p/data"])
    assert caught.value.code == "STORE_FAILED"
    assert str(tmp_path / "run" / "changes") in caught.value.message


def test_a_stopped_process_holds_the_number_for_a_while_only(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "LOCK_TIMEOUT_S", 0.05)
    store.vouch(["p/data"])
    with (tmp_path / "run" / "lock").open("a") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(OutcomeUnknown, match="held by another process"):
            store.vouch(["p/data"])
    store.vouch(["p/data"])
