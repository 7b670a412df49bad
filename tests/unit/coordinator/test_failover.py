"""The other side takes over: with a grant, never beside a writer; what becomes of the old one."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path

import pytest

from storage_agent.coordinator.coordinator import Coordinator
from storage_agent.coordinator.failover import check_takeover, fail_over
from storage_agent.coordinator.incidents import answer_incidents
from storage_agent.coordinator.switchover import switch_over
from storage_agent.engine.account import Accounts
from storage_agent.model.errors import AgentError, OperationFailed, OutcomeUnknown, Refused
from storage_agent.model.incident import Incident, IncidentAnswer
from storage_agent.model.nfs import ServerState
from storage_agent.model.plan import StepKind
from storage_agent.model.replica import DiskState
from tests.unit.coordinator.pair import FIRST_EPOCH, VOLUME, Killed, Pair, make_coordinator
from tests.unit.fakes import MemoryStore
from tests.unit.replicas import in_sync_replica
from tests.unit.service.parts import wait_until


def sole(coordinator: Coordinator) -> str | None:
    state = coordinator.store.get(VOLUME.key)
    assert state is not None
    return state.sole


def refusal(coordinator: Coordinator, target: str = "beta") -> str:
    with pytest.raises(Refused) as caught:
        fail_over(coordinator, VOLUME, target)
    assert caught.value.remedy
    return caught.value.code


def test_a_dead_primary_is_replaced(pair: Pair, coordinator: Coordinator) -> None:
    pair.kill("alpha")
    done = fail_over(coordinator, VOLUME, "beta")
    assert pair.serving() == ["beta"]
    assert done.epoch == FIRST_EPOCH + 2
    assert sole(coordinator) == "beta"


def test_it_names_the_primary_that_was_seen(pair: Pair, coordinator: Coordinator) -> None:
    """The dead one; and after an answer that was lost, the target itself."""
    pair.kill("alpha")
    fail_over(coordinator, VOLUME, "beta")
    fail_over(coordinator, VOLUME, "beta")
    records = pair.agents["beta"].engine.history(10)
    assert [r.request.expected_primary for r in reversed(records)] == ["alpha", "beta"]
    assert [str(r.state) for r in records] == ["succeeded", "succeeded"]


def test_the_old_primary_is_denied_when_it_asks(pair: Pair, coordinator: Coordinator) -> None:
    """Cut off from all, it froze; it asks only after the other side has taken over."""
    pair.cut_link()
    pair.alive.discard("alpha")
    fail_over(coordinator, VOLUME, "beta")
    pair.alive.add("alpha")
    coordinator = make_coordinator(pair)
    (answered,) = answer_incidents(coordinator, "alpha")
    assert answered.verdict == "deny"
    assert pair.serving() == ["beta"]
    assert answer_incidents(coordinator, "alpha") == []


def test_what_the_other_one_wrote_alone_would_be_lost(pair: Pair, coordinator: Coordinator) -> None:
    pair.cut_link()
    answer_incidents(coordinator, "alpha")
    check = check_takeover(coordinator, coordinator.look(VOLUME), "beta", if_peer_died=True)
    assert check.loss is not None
    assert (check.loss.is_proven, check.loss.bytes) == (False, None)
    assert check.loss.why.startswith("alpha was allowed to write alone")


def test_the_frozen_primary_goes_on_and_then_nobody_replaces_it(
    pair: Pair, coordinator: Coordinator
) -> None:
    pair.cut_link()
    assert pair.serving() == []
    (answered,) = answer_incidents(coordinator, "alpha")
    assert answered.verdict == "continue"
    assert pair.serving() == ["alpha"]
    pair.kill("alpha")
    assert refusal(coordinator) == "PEER_HAS_GRANT"
    assert pair.serving() == []


def test_after_a_resync_that_was_seen_it_may_be_replaced(
    pair: Pair, coordinator: Coordinator
) -> None:
    pair.cut_link()
    answer_incidents(coordinator, "alpha")
    pair.link_up = True
    assert sole(coordinator) == "alpha"
    coordinator.look(VOLUME)
    assert sole(coordinator) == "alpha"
    coordinator.look(VOLUME)
    assert sole(coordinator) is None
    pair.kill("alpha")
    fail_over(coordinator, VOLUME, "beta")
    assert pair.serving() == ["beta"]


def test_never_beside_a_live_primary(pair: Pair, coordinator: Coordinator) -> None:
    assert refusal(coordinator) == "PEER_SERVES"
    pair.link_up = False  # not noticed yet: nothing is frozen
    assert refusal(coordinator) == "PEER_SERVES"
    assert pair.serving() == ["alpha"]


def test_a_copy_without_evidence_is_not_promoted(pair: Pair, coordinator: Coordinator) -> None:
    pair.kill("alpha")
    pair.hosts["beta"].mount_point_state = "not-empty"
    assert refusal(coordinator) == "MOUNT_POINT"
    assert sole(coordinator) is None


def test_a_target_that_never_wrote_loses_the_grant_again(
    pair: Pair, coordinator: Coordinator
) -> None:
    pair.cut_link()
    pair.alive.discard("alpha")

    def refuse(host: str, method: str) -> None:
        if method == "promote":
            pair.hosts["beta"].mount_point_state = "not-empty"

    pair.before = refuse
    with pytest.raises(OperationFailed, match="withdrawn"):
        fail_over(coordinator, VOLUME, "beta")
    assert sole(coordinator) is None
    pair.alive.add("alpha")
    fresh = make_coordinator(pair)
    (answered,) = answer_incidents(fresh, "alpha")
    assert answered.verdict == "continue"
    assert pair.serving() == ["alpha"]


def test_a_target_that_was_primary_for_a_moment_keeps_the_grant(
    pair: Pair, coordinator: Coordinator
) -> None:
    def fail() -> None:
        raise OperationFailed("bad superblock")

    pair.kill("alpha")
    pair.hosts["beta"].faults[StepKind.MOUNT] = fail
    with pytest.raises(OperationFailed, match="may have written"):
        fail_over(coordinator, VOLUME, "beta")
    assert sole(coordinator) == "beta"
    # Mended, the same target is tried again in a new epoch.
    del pair.hosts["beta"].faults[StepKind.MOUNT]
    fail_over(coordinator, VOLUME, "beta")
    assert pair.serving() == ["beta"]


@pytest.mark.parametrize("memory", ["whole", "journal gone", "ids forgotten"])
def test_what_an_earlier_try_has_done_is_not_taken_back(
    pair: Pair, coordinator: Coordinator, memory: str
) -> None:
    """The first coordinator died after beta had taken over; the second one's grant is refused. Not
    to know the promotion any more is not that it never was."""

    def die(_host: str, method: str) -> None:
        if method == "promote":
            raise Killed

    pair.cut_link()
    pair.alive.discard("alpha")
    pair.after = die
    with contextlib.suppress(Killed):
        fail_over(coordinator, VOLUME, "beta")
    pair.after = lambda _host, _method: None
    wait_until(lambda: pair.serving() == ["beta"])
    wait_until(lambda: not pair.agents["beta"].engine.running())
    _forget(pair.stores["beta"], memory)
    again = make_coordinator(pair)

    def refuse(_host: str, method: str) -> None:
        if method == "grant.promote":
            raise Refused("not now")

    pair.before = refuse
    with pytest.raises((OperationFailed, Refused)):
        fail_over(again, VOLUME, "beta")
    pair.before = lambda _host, _method: None
    assert sole(again) == "beta"
    pair.alive.add("alpha")
    (answered,) = answer_incidents(make_coordinator(pair), "alpha")
    assert answered.verdict == "deny"
    assert pair.serving() == ["beta"]


def _forget(store: MemoryStore, memory: str) -> None:
    if memory != "whole":
        (journal,) = store.names("operation-takeover-")
        store.remove(journal)
    if memory == "ids forgotten":
        accounts = Accounts(store, "beta")
        account = accounts.read("data")
        assert account is not None
        accounts.write("data", dataclasses.replace(account, recent=()))


def test_what_would_be_lost_is_shown(pair: Pair, coordinator: Coordinator) -> None:
    pair.kill("alpha")
    check = check_takeover(coordinator, coordinator.look(VOLUME), "beta")
    assert check.loss is not None
    assert (check.loss.is_proven, check.loss.seconds, check.loss.bytes) == (True, 0, 0)
    assert check.plan is not None
    assert check.arbitration == "coordinator"
    assert pair.serving() == []


def test_a_record_of_another_boot_grants_nothing(pair: Pair, tmp_path: Path) -> None:
    make_coordinator(pair).adopt(VOLUME)
    (tmp_path / "run" / "changes").unlink()
    pair.kill("alpha")
    assert refusal(make_coordinator(pair)) == "STORE_UNPROVEN"


def test_an_old_backup_is_found_out_by_the_agents(pair: Pair, tmp_path: Path) -> None:
    coordinator = make_coordinator(pair)
    coordinator.adopt(VOLUME)
    backup = (tmp_path / "coordinator.sqlite").read_bytes()
    switch_over(coordinator, VOLUME, "beta")
    (tmp_path / "coordinator.sqlite").write_bytes(backup)
    again = make_coordinator(pair)
    again.store.vouch([VOLUME.key])  # as a person may wrongly do
    with pytest.raises(AgentError) as caught:
        switch_over(again, VOLUME, "alpha")
    assert caught.value.code == "EPOCH_AHEAD"
    again.adopt(VOLUME)
    switch_over(again, VOLUME, "alpha")
    assert pair.serving() == ["alpha"]


def lose_disk(pair: Pair, host: str) -> None:
    """Whoever looks sees that its own copy is gone."""
    shown = pair.hosts[host]
    shown.disk = DiskState.DISKLESS


def test_a_frozen_primary_that_cannot_go_on_loses_its_grant(
    pair: Pair, coordinator: Coordinator
) -> None:
    pair.cut_link()
    lose_disk(pair, "alpha")
    (answered,) = answer_incidents(coordinator, "alpha")
    assert answered.verdict == ""
    assert "DISK_NOT_UPTODATE" in answered.why
    assert answered.why.endswith(
        "beta may take over: storage-coordinator failover office/data --to beta"
    )
    assert "beta may take over" in answered.why
    state = coordinator.store.get(VOLUME.key)
    assert state is not None
    assert (state.sole, state.owner) == (None, "alpha")
    # Asked again it is not told to go on again, and no epoch is used up.
    (again,) = answer_incidents(coordinator, "alpha")
    assert "CONTINUE_WITHDRAWN" in again.why
    assert coordinator.store.get(VOLUME.key) == state
    fail_over(coordinator, VOLUME, "beta")
    (denied,) = answer_incidents(coordinator, "alpha")
    assert (denied.verdict, pair.serving()) == ("deny", ["beta"])


def test_a_continue_that_was_taken_after_all_is_not_withdrawn(
    pair: Pair, coordinator: Coordinator
) -> None:
    """Its answer was lost; asked again, the host takes it while its disk is back for a moment."""
    pair.cut_link()
    lose_disk(pair, "alpha")

    def back(_host: str, method: str) -> None:
        if method == "incident.answer":
            pair.after = lambda _host, _method: None
            pair.hosts["alpha"].disk = DiskState.UP_TO_DATE
            state = coordinator.store.get(VOLUME.key)
            assert state is not None
            incident = pair.hosts["alpha"].incident
            assert isinstance(incident, Incident)
            asked = dataclasses.replace(incident, answer=IncidentAnswer.CONTINUE, epoch=state.epoch)
            agent = pair.agents["alpha"]
            volume = agent.setup.config.volumes["data"]
            agent.engine.arbitration.answer(volume, asked, state.coordinator)

    pair.after = back
    answer_incidents(coordinator, "alpha")
    assert pair.serving() == ["alpha"]
    assert sole(coordinator) == "alpha"
    assert refusal(coordinator) == "PEER_HAS_GRANT"


def test_a_host_that_wrote_alone_stays_the_only_one_when_a_grant_is_withdrawn(
    pair: Pair, coordinator: Coordinator
) -> None:
    """beta has taken over and was restarted; a second try there is refused."""
    pair.cut_link()
    pair.alive.discard("alpha")
    fail_over(coordinator, VOLUME, "beta")
    beta = pair.hosts["beta"]
    beta.replica = in_sync_replica()
    beta.mounted, beta.server = False, ServerState.ABSENT

    def refuse(host: str, method: str) -> None:
        if method == "promote":
            beta.mount_point_state = "not-empty"

    pair.before = refuse
    with pytest.raises(OperationFailed, match="withdrawn"):
        fail_over(coordinator, VOLUME, "beta")
    assert sole(coordinator) == "beta"
    pair.alive.add("alpha")
    (answered,) = answer_incidents(make_coordinator(pair), "alpha")
    assert (answered.verdict, pair.serving()) == ("deny", [])


TAKEOVER_REQUESTS = 7


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("number", range(TAKEOVER_REQUESTS))
def test_killed_in_the_middle_of_a_failover(
    pair: Pair, tmp_path: Path, number: int, when: str
) -> None:
    make_coordinator(pair).adopt(VOLUME)
    pair.cut_link()
    pair.alive.discard("alpha")
    left = [number]

    def die(_host: str, _method: str) -> None:
        left[0] -= 1
        if left[0] == -1:
            raise Killed

    setattr(pair, when, die)
    with contextlib.suppress(Killed):
        fail_over(make_coordinator(pair), VOLUME, "beta")
    assert left[0] < 0
    setattr(pair, when, lambda _host, _method: None)
    # The old primary is back and asks, before anybody tries again.
    pair.alive.add("alpha")
    again = make_coordinator(pair)
    (answered,) = answer_incidents(again, "alpha")
    assert answered.verdict in ("continue", "deny")
    if answered.verdict == "deny":
        take_when_idle(pair, again)
    assert pair.serving() == ["beta" if answered.verdict == "deny" else "alpha"]


def take_when_idle(pair: Pair, coordinator: Coordinator) -> None:
    """What the dead coordinator asked for may still run, and may be seen through already."""
    while "beta" not in pair.serving():
        try:
            fail_over(coordinator, VOLUME, "beta")
        except (Refused, OutcomeUnknown) as exc:
            if exc.code not in ("BUSY", "OUTCOME_UNKNOWN"):
                raise
            coordinator.clock.sleep(0.01)
