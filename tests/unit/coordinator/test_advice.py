"""What a person at the control machine is told when something is wrong: a code and the next
command, true in that situation."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from storage_agent.coordinator.coordinator import Coordinator
from storage_agent.coordinator.deciding.arbiter import State
from storage_agent.coordinator.deciding.contradictions import contradictions
from storage_agent.coordinator.failover import check_takeover
from storage_agent.coordinator.host_findings import host_findings
from storage_agent.coordinator.incidents import answer_incidents
from storage_agent.coordinator.move_check import check_move
from storage_agent.coordinator.record.store import Store
from storage_agent.coordinator.views import HostView, VolumeView
from storage_agent.model.answers import Verdict
from storage_agent.model.errors import AgentError, Missing, Refused
from storage_agent.model.finding import Finding, warning
from storage_agent.model.operation import Marker
from storage_agent.model.replica import (
    ConnectionState,
    DiskState,
    GenerationIdentifiers,
    Replica,
    Role,
)
from tests.unit.coordinator.pair import VOLUME, Pair, make_coordinator
from tests.unit.replicas import with_peer


def advice(findings: tuple[Finding, ...], code: str) -> str:
    (found,) = (finding for finding in findings if finding.code == code)
    return found.remedy


def changed(view: VolumeView, host: str, change: Callable[[Replica], Replica]) -> VolumeView:
    """As if one host showed another replica."""

    def fresh(found: HostView) -> HostView:
        if found.host != host:
            return found
        assert found.snapshot is not None
        assert found.replica is not None
        snapshot = dataclasses.replace(found.snapshot, replica=change(found.replica))
        return dataclasses.replace(found, snapshot=snapshot)

    one, two = (fresh(found) for found in view.hosts)
    return dataclasses.replace(view, hosts=(one, two))


def silent(view: VolumeView, host: str) -> VolumeView:
    """As if one host were not reached from here; the pair is well."""
    error = Missing("no route to host", code="HOST_UNREACHABLE")
    one, two = (
        HostView(host=found.host, error=error) if found.host == host else found
        for found in view.hosts
    )
    return dataclasses.replace(view, hosts=(one, two))


def split(current: str, out_of_sync_bytes: int) -> Callable[[Replica], Replica]:
    def change(replica: Replica) -> Replica:
        apart = with_peer(
            replica,
            connection=ConnectionState.STANDALONE,
            out_of_sync_bytes=out_of_sync_bytes,
        )
        ids = GenerationIdentifiers(current=current, bitmap="ACAF0A112C9C99E2")
        return dataclasses.replace(apart, split_brain=True, generation=ids)

    return change


# --- a move, a takeover ---------------------------------------------------------------------------


def test_nobody_is_moved_to_a_dead_host(pair: Pair, coordinator: Coordinator) -> None:
    pair.kill("beta")
    to_the_dead = check_move(coordinator, coordinator.look(VOLUME), "beta").findings
    assert advice(to_the_dead, "BOTH_MUST_ANSWER") == "see why: storage-coordinator ping beta"


def test_a_dead_host_is_taken_over_from(pair: Pair, coordinator: Coordinator) -> None:
    pair.kill("alpha")
    found = check_move(coordinator, coordinator.look(VOLUME), "beta").findings
    assert advice(found, "BOTH_MUST_ANSWER") == (
        "see why: storage-coordinator ping alpha; if it is dead: "
        "storage-coordinator failover office/data --to beta"
    )
    # What is advised is not refused.
    assert not [
        f
        for f in check_takeover(coordinator, coordinator.look(VOLUME), "beta").findings
        if f.severity == "blocker"
    ]


def test_a_host_that_only_we_do_not_reach_is_not_replaced(
    pair: Pair, coordinator: Coordinator
) -> None:
    view = silent(coordinator.look(VOLUME), "alpha")
    move = check_move(coordinator, view, "beta").findings
    assert advice(move, "BOTH_MUST_ANSWER") == "see why: storage-coordinator ping alpha"
    takeover = check_takeover(coordinator, view, "beta").findings
    assert advice(takeover, "PEER_CONNECTED").startswith(
        "see why it does not answer here: storage-coordinator ping alpha;"
    )


def test_a_host_without_its_replica_is_to_bring_it_up(pair: Pair, coordinator: Coordinator) -> None:
    view = coordinator.look(VOLUME)
    bare = [
        dataclasses.replace(host, snapshot=dataclasses.replace(host.snapshot, replica=None))
        for host in view.hosts
        if host.snapshot is not None
    ]
    found = check_move(
        coordinator, dataclasses.replace(view, hosts=(view.hosts[0], bare[1])), "beta"
    ).findings
    assert advice(found, "BOTH_MUST_ANSWER") == "on beta: storage-agent assemble data"


@pytest.mark.parametrize("is_dead", [True, False])
def test_a_target_that_is_not_known(pair: Pair, coordinator: Coordinator, is_dead: bool) -> None:
    if is_dead:
        pair.kill("beta")
    view = coordinator.look(VOLUME)
    if not is_dead:
        beta = dataclasses.replace(view.of("beta"), snapshot=None)
        view = dataclasses.replace(view, hosts=(view.of("alpha"), beta))
    found = check_takeover(coordinator, view, "beta").findings
    assert advice(found, "TARGET_UNKNOWN") == (
        "bring beta back first: storage-coordinator ping beta"
        if is_dead
        else "on beta: storage-agent config show"
    )


def test_a_refusal_of_the_rules_names_the_volume(pair: Pair, tmp_path: Path) -> None:
    coordinator, other = make_coordinator(pair), make_coordinator(pair, tmp_path / "other")
    coordinator.adopt(VOLUME)
    other.adopt(VOLUME)
    with pytest.raises(Refused) as caught:
        coordinator.adopt(VOLUME, takes_over=False)
    assert caught.value.remedy.endswith(": storage-coordinator adopt office/data")
    found = contradictions(coordinator.look(VOLUME))
    assert all("VOLUME" not in finding.remedy for finding in found)
    assert {"OTHER_COORDINATOR", "EPOCH_AHEAD"} <= {finding.code for finding in found}


# --- both hosts side by side ----------------------------------------------------------------------


def test_a_frozen_old_primary_is_rebooted(pair: Pair, coordinator: Coordinator) -> None:
    pair.cut_link()
    view = changed(
        coordinator.look(VOLUME), "beta", lambda r: dataclasses.replace(r, role=Role.PRIMARY)
    )
    text = advice(contradictions(view), "OLD_PRIMARY_FROZEN")
    assert text.startswith("on alpha: reboot --force --no-sync ")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, "storage-coordinator switchover office/data --to alpha"),
        ({"out_of_sync_bytes": 4096}, "wait for the resync: storage-coordinator status office/"),
        ({"connection": ConnectionState.CONNECTING}, "see why the two are not connected: on both"),
    ],
)
def test_nobody_is_primary(
    pair: Pair, coordinator: Coordinator, change: dict[str, object], expected: str
) -> None:
    view = coordinator.look(VOLUME)
    for host in VOLUME.hosts:
        view = changed(
            view,
            host,
            lambda r: with_peer(dataclasses.replace(r, role=Role.SECONDARY), **change),
        )
    assert advice(contradictions(view), "NO_PRIMARY").startswith(expected)


def test_an_epoch_file_that_is_lost_gets_a_number_that_is_known(
    pair: Pair, coordinator: Coordinator
) -> None:
    view = coordinator.look(VOLUME)
    beta = dataclasses.replace(view.of("beta"), epoch=None)
    found = contradictions(dataclasses.replace(view, hosts=(view.of("alpha"), beta)))
    assert view.state is not None
    assert advice(found, "EPOCH_MISSING") == (
        f"on beta, as root: storage-agent epoch restore data {view.state.epoch}; then: "
        "storage-coordinator adopt office/data"
    )


# --- what the hosts say against themselves --------------------------------------------------------


def test_a_well_pair_says_nothing(pair: Pair, coordinator: Coordinator) -> None:
    assert host_findings(coordinator.look(VOLUME)) == ()


def test_frozen_has_a_code_and_the_next_command_here(pair: Pair, coordinator: Coordinator) -> None:
    pair.cut_link()
    text = advice(host_findings(coordinator.look(VOLUME)), "INCIDENT_OPEN")
    assert text.startswith("does the service run that answers it: systemctl status storage-coord")


def test_frozen_for_good_goes_to_the_other_host(pair: Pair, coordinator: Coordinator) -> None:
    pair.cut_link()
    pair.hosts["alpha"].disk = DiskState.FAILED
    answer_incidents(coordinator, "alpha")
    text = advice(host_findings(coordinator.look(VOLUME)), "CONTINUE_WITHDRAWN")
    assert text.startswith("storage-coordinator failover office/data --to beta;")


def test_no_fallback_has_a_code_also_where_only_we_see_it(
    pair: Pair, coordinator: Coordinator
) -> None:
    (found,) = host_findings(silent(coordinator.look(VOLUME), "beta"))
    assert (found.code, found.remedy) == ("NO_FALLBACK", "storage-coordinator ping beta")


def test_what_the_primary_says_is_told_with_its_name(pair: Pair, coordinator: Coordinator) -> None:
    view = coordinator.look(VOLUME)
    said = warning("NO_FALLBACK", "x", measured="m", limit="l", remedy="storage-agent status data")
    there = dataclasses.replace(said, remedy="on beta: storage-agent status data")
    here = dataclasses.replace(said, remedy="on the coordinator's machine: storage-coordinator x")
    alpha = dataclasses.replace(
        view.of("alpha"), verdict=Verdict(word="degraded", findings=(said, there, here))
    )
    found = host_findings(dataclasses.replace(view, hosts=(alpha, view.of("beta"))))
    assert [finding.remedy for finding in found] == [
        "on alpha: storage-agent status data",
        "on beta: storage-agent status data",
        "storage-coordinator x",
    ]
    assert {finding.summary for finding in found} == {"alpha: x"}


def test_a_dead_primary_is_named_with_what_to_do(pair: Pair, coordinator: Coordinator) -> None:
    pair.kill("alpha")
    text = advice(host_findings(coordinator.look(VOLUME)), "NO_PRIMARY")
    assert "ping alpha; " in text
    assert text.endswith("storage-coordinator failover office/data --to beta --dry-run")


# --- split brain ----------------------------------------------------------------------------------


def test_both_sides_of_a_split_brain_are_told_at_once(pair: Pair, coordinator: Coordinator) -> None:
    view = changed(coordinator.look(VOLUME), "alpha", split("A6BAEA7CBC09FDEA", 65536))
    view = changed(view, "beta", split("0123456789ABCDEE", 4096))
    alpha = view.of("alpha")
    assert alpha.snapshot is not None
    marker = Marker(
        epoch=7, counter=41, operation_id="x", host="alpha", boot_id="b", wall_s=1_700_000_000.0
    )
    snapshot = dataclasses.replace(alpha.snapshot, marker=marker)
    alpha = dataclasses.replace(alpha, snapshot=snapshot)
    (found,) = (
        f
        for f in host_findings(dataclasses.replace(view, hosts=(alpha, view.of("beta"))))
        if f.code == "SPLIT_BRAIN"
    )
    assert found.summary.endswith(
        "alpha has written 64.0 KiB (65536 bytes), beta has written 4.0 KiB (4096 bytes)"
    )
    one, two = found.measured.split("; beta: ")
    assert "generation A6BAEA7CBC09FDEA, apart since ACAF0A112C9C99E2" in one
    assert one.endswith("last served on alpha, epoch 7 count 41, 2023-11-14 22:13:20 UTC")
    assert "generation 0123456789ABCDEE, apart since ACAF0A112C9C99E2" in two
    assert two.endswith("last served: not known there")
    assert "storage-agent split-brain data --discard; on the other:" in found.remedy


@pytest.mark.parametrize("is_dead", [True, False])
def test_one_side_alone_says_that_the_other_is_not_known(
    pair: Pair, coordinator: Coordinator, is_dead: bool
) -> None:
    view = changed(coordinator.look(VOLUME), "alpha", split("A6BAEA7CBC09FDEA", 65536))
    error = AgentError("no route to host") if is_dead else None
    beta = dataclasses.replace(view.of("beta"), error=error, snapshot=None)
    found = host_findings(dataclasses.replace(view, hosts=(view.of("alpha"), beta)))
    (brain,) = (f for f in found if f.code == "SPLIT_BRAIN")
    assert brain.summary.endswith("beta has written unknown how much")
    why = "no route to host" if is_dead else "its replica is not seen"
    assert brain.measured.endswith(f"; beta: unknown: {why}")


# --- the record -----------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["state", "file"])
def test_a_damaged_record_is_put_aside_and_adopted_anew(
    pair: Pair, tmp_path: Path, how: str
) -> None:
    folder = tmp_path / "control"
    coordinator = make_coordinator(pair, folder)
    coordinator.adopt(VOLUME)
    store = coordinator.store
    if how == "file":
        store._path.write_bytes(b"no database" * 100)
    else:
        with store._writing() as db:
            db.execute("UPDATE volumes SET state = '{}'")
    with pytest.raises(AgentError) as caught:
        coordinator.adopt(VOLUME)
    assert caught.value.code == "STORE_FAILED"
    aside = f"{store._path}.damaged"
    assert f"mv {store._path} {aside}; storage-coordinator adopt --all" in caught.value.remedy
    # As advised.
    store._path.rename(aside)
    fresh = make_coordinator(pair, folder)
    assert isinstance(fresh.store, Store)
    state: State | None = fresh.adopt(VOLUME).state
    assert state is not None
    assert fresh.store.is_proven(VOLUME.key)
