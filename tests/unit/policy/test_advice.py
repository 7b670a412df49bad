"""What a refusal advises, in the situation that it is given in: some of it would be a dead end in
another one."""

from __future__ import annotations

import dataclasses

import pytest

from storage_agent.model.configuration import Arbitration, VolumeConfig
from storage_agent.model.finding import Finding
from storage_agent.model.incident import Incident, IncidentAnswer
from storage_agent.model.nfs import ServerState
from storage_agent.model.operation import Epoch, OperationRequest
from storage_agent.model.plan import OperationKind
from storage_agent.model.replica import ConnectionState, DiskState, Role
from storage_agent.model.snapshot import Attachment
from storage_agent.policy.array.assembly import assembly_findings
from storage_agent.policy.demotion import demotion_findings
from storage_agent.policy.epoch import epoch_findings, unusable_epoch
from storage_agent.policy.evidence import NEVER_SEEN
from storage_agent.policy.liveguard import taken_away
from storage_agent.policy.promotion import promotion_findings
from storage_agent.policy.standalone import split_brain_findings, standalone_findings
from tests.unit.fakes import FakeHost, volume_config
from tests.unit.replicas import (
    in_sync_replica,
    lost_peer,
    with_peer,
)

VOLUME = volume_config()
ARBITRATED = dataclasses.replace(VOLUME, arbitration=Arbitration.COORDINATOR)
SYNCED = in_sync_replica()
ALONE = lost_peer(SYNCED)
PROVEN = Attachment(in_sync_until_loss=True)
REBOOT = "on alpha: reboot --force --no-sync "


def request(kind: OperationKind = OperationKind.PROMOTE, **more: object) -> OperationRequest:
    return OperationRequest(kind=kind, volume="data", operation_id="x", **more)  # type: ignore[arg-type]


def remedy(findings: tuple[Finding, ...], code: str) -> str:
    (found,) = (finding for finding in findings if finding.code == code)
    return found.remedy


def promoting(host: FakeHost, volume: object = VOLUME) -> tuple[Finding, ...]:
    assert isinstance(volume, type(VOLUME))
    return promotion_findings(volume, host.seen(volume), request(), "beta")


def frozen(answer: IncidentAnswer | None, *why: str) -> FakeHost:
    replica = dataclasses.replace(ALONE, role=Role.PRIMARY, suspended=why)
    host = FakeHost(replica=replica, mounted=True, server=ServerState.SERVING)
    if answer is not None:
        host.incident = Incident(
            incident="n1",
            volume="data",
            resource="data",
            boot_id=host.boot,
            opened_unix_s=1,
            epoch=7,
            answer=answer,
        )
    return host


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        (frozen(IncidentAnswer.DENY, "fencing"), REBOOT),
        (frozen(IncidentAnswer.NONE, "fencing"),
         "on the coordinator's machine: storage-coordinator status data; or bring the link to"),
        (frozen(None, "fencing"), "bring the link to beta back; if beta was promoted: reboot"),
        (frozen(None, "no-data"), "bring beta or the link to it back"),
        (frozen(None, "user"), "see since when: storage-agent events"),
    ],
)  # fmt: skip
def test_what_ends_a_freeze(host: FakeHost, expected: str) -> None:
    snapshot = host.seen(ARBITRATED)
    demoting = demotion_findings(ARBITRATED, snapshot, request(OperationKind.DEMOTE), "beta")
    for findings in (demoting, standalone_findings(ARBITRATED, snapshot, "beta")):
        assert remedy(findings, "REPLICA_SUSPENDED").startswith(expected)
    assert remedy(promoting(host, ARBITRATED), "REPLICA_SUSPENDED").startswith(expected)


def test_the_coordinator_is_told_to_which_host() -> None:
    host = FakeHost(replica=ALONE, attachment=PROVEN)
    advice = remedy(promoting(host, ARBITRATED), "PROMOTION_NOT_GRANTED")
    assert "storage-coordinator failover data --to alpha;" in advice
    assert "storage-agent promote data --peer-is-off beta" in advice


@pytest.mark.parametrize(
    ("volume", "code"), [(VOLUME, "PEER_NOT_PROVEN_OFF"), (ARBITRATED, "PROMOTION_NOT_GRANTED")]
)
@pytest.mark.parametrize("disk", [DiskState.UP_TO_DATE, DiskState.OUTDATED])
def test_nobody_is_turned_off_who_has_what_this_copy_lacks(
    volume: VolumeConfig, code: str, disk: DiskState
) -> None:
    """Neither that nor a grant would be enough: what is missing comes first."""
    host = FakeHost(replica=dataclasses.replace(ALONE, disk=disk), attachment=NEVER_SEEN)
    findings = promoting(host, volume)
    lacking = "CURRENCY_UNPROVEN" if disk is DiskState.UP_TO_DATE else "DISK_NOT_UPTODATE"
    assert remedy(findings, code) == remedy(findings, lacking)


def test_a_peer_that_is_not_connected_is_looked_at_before_it_is_turned_off() -> None:
    findings = promoting(FakeHost(replica=ALONE, attachment=PROVEN))
    assert remedy(findings, "PEER_NOT_PROVEN_OFF") == (
        "on beta: storage-agent status data; if it cannot be reached, power beta off, make sure of "
        "it, then: storage-agent promote data --peer-is-off beta"
    )


@pytest.mark.parametrize(
    ("disk", "is_connected", "expected"),
    [
        (DiskState.INCONSISTENT, True, "wait for the resync: storage-agent status --watch"),
        (DiskState.INCONSISTENT, False, "beta has newer data: bring it back, or there: storage-"),
        (DiskState.OUTDATED, False, "beta has newer data: bring it back, or there: storage-"),
        (DiskState.DISKLESS, True, "repair the array, then: storage-agent assemble data"),
        (DiskState.FAILED, True, "look again: storage-agent status data"),
    ],
)
def test_an_old_copy(disk: DiskState, is_connected: bool, expected: str) -> None:
    replica = dataclasses.replace(SYNCED if is_connected else ALONE, disk=disk)
    advice = remedy(promoting(FakeHost(replica=replica)), "DISK_NOT_UPTODATE")
    assert advice.startswith(expected)


@pytest.mark.parametrize(
    ("role", "code", "expected"),
    [
        (Role.PRIMARY, "PEER_IS_PRIMARY", "on beta: storage-agent demote data"),
        (Role.UNKNOWN, "PEER_ROLE_UNKNOWN", "look again in a moment: storage-agent status data"),
    ],
)
def test_only_a_primary_is_demoted(role: Role, code: str, expected: str) -> None:
    assert remedy(promoting(FakeHost(replica=with_peer(SYNCED, role=role))), code) == expected


def test_in_a_split_brain_nothing_else_is_advised() -> None:
    """Least of all to power the other host off and promote this one."""
    replica = with_peer(ALONE, connection=ConnectionState.STANDALONE)
    found = promoting(FakeHost(replica=dataclasses.replace(replica, split_brain=True)))
    assert [finding.code for finding in found] == ["SPLIT_BRAIN"]
    assert found[0].remedy.startswith("on both hosts: storage-agent split-brain data")


def test_a_copy_that_is_served_in_a_split_brain_is_given_up_by_name() -> None:
    apart = with_peer(ALONE, connection=ConnectionState.STANDALONE)
    replica = dataclasses.replace(apart, role=Role.PRIMARY, split_brain=True)
    snapshot = FakeHost(replica=replica, mounted=True).seen(VOLUME)
    asked = request(OperationKind.SPLIT_BRAIN, options={"choice": "discard"})
    advice = remedy(split_brain_findings(VOLUME, snapshot, asked, "beta"), "STILL_USED")
    assert advice == "storage-agent demote data --yes-stop-serving alpha/data"
    named = request(OperationKind.DEMOTE, stop_serving="alpha/data")
    assert "PEER_CANNOT_TAKE_OVER" in {
        finding.code
        for finding in demotion_findings(VOLUME, snapshot, named, "beta")
        if finding.severity != "blocker"
    }


def test_a_diskless_primary_is_given_up_by_name() -> None:
    replica = dataclasses.replace(ALONE, role=Role.PRIMARY, disk=DiskState.DISKLESS)
    advice = remedy(
        assembly_findings(VOLUME, FakeHost(replica=replica).seen(VOLUME)), "ATTACH_ALONE"
    )
    assert advice.endswith("storage-agent demote data --yes-stop-serving alpha/data")


def test_nobody_is_sent_to_the_peer_of_a_local_volume() -> None:
    local = dataclasses.replace(VOLUME, replica=None)
    host = FakeHost(replica=None, mounted=True, server=ServerState.SERVING)
    (advice,) = {f.remedy for f in taken_away(local, host.seen(local))}
    assert advice == (
        "nobody can take it over; stop it: storage-agent demote data --yes-stop-serving alpha/data"
    )
    host = FakeHost(
        replica=dataclasses.replace(SYNCED, role=Role.PRIMARY),
        mounted=True,
        server=ServerState.SERVING,
    )
    assert {f.remedy for f in taken_away(VOLUME, host.seen(VOLUME))} == {
        "move it away first: storage-agent demote data; then on the peer: "
        "storage-agent promote data"
    }


def test_an_epoch_that_jumps_is_raised_by_a_person_and_adopted() -> None:
    known = Epoch(number=5, operation_id="y", coordinator="c")
    (found,) = epoch_findings(request(epoch=90_000, coordinator="c"), known)
    assert found.code == "EPOCH_JUMP"
    assert "storage-agent epoch restore data 90000; then on the coordinator's" in found.remedy


def test_a_damaged_epoch_file_says_what_is_forgotten() -> None:
    found = unusable_epoch("data", "EPOCH_DAMAGED", "is damaged")
    assert found.measured == "the file is damaged"
    assert found.remedy.endswith("on its machine: storage-coordinator adopt data")
