"""Going on alone, rejoining and ending a split brain as tables: one state each, and the codes."""

from __future__ import annotations

import dataclasses

import pytest

from storage_agent.model.configuration import Arbitration
from storage_agent.model.finding import Finding, Severity, blocker, blockers
from storage_agent.model.incident import Incident
from storage_agent.model.nfs import ServerState
from storage_agent.model.observed import Unobserved
from storage_agent.model.operation import OperationRequest
from storage_agent.model.plan import OperationKind
from storage_agent.model.replica import (
    ConnectionState,
    DiskState,
    GenerationIdentifiers,
    Replica,
    ReplicationState,
    Role,
)
from storage_agent.model.snapshot import Facet
from storage_agent.policy.naming import name_state
from storage_agent.policy.promotion import promotion_findings
from storage_agent.policy.readiness import Verdict, assess
from storage_agent.policy.standalone import (
    parting_findings,
    rejoin_findings,
    split_brain_findings,
    standalone_findings,
    standing_alone,
)
from tests.unit.fakes import (
    FakeHost,
    agent_config,
    volume_config,
)
from tests.unit.incidents import incident
from tests.unit.replicas import (
    in_sync_replica,
    lost_peer,
    with_peer,
)

VOLUME = volume_config()
PRIMARY = in_sync_replica(role=Role.PRIMARY)
ALONE = with_peer(
    PRIMARY,
    connection=ConnectionState.STANDALONE,
    role=Role.UNKNOWN,
    disk=DiskState.OUTDATED,
    replication=ReplicationState.OFF,
    out_of_sync_bytes=512 << 10,
)
SPLIT = dataclasses.replace(
    with_peer(ALONE, disk=DiskState.DUNKNOWN),
    split_brain=True,
    generation=GenerationIdentifiers(current="A6BAEA7CBC09FDEA", bitmap="ACAF0A112C9C99E2"),
)


def codes(found: tuple[Finding, ...]) -> list[str]:
    return [finding.code for finding in found]


def standalone(replica: Replica | None, arbitration: Arbitration = Arbitration.NONE) -> list[str]:
    volume = dataclasses.replace(VOLUME, arbitration=arbitration)
    host = FakeHost()
    host.replica = replica
    return codes(standalone_findings(volume, host.seen(volume), "beta"))


@pytest.mark.parametrize(
    ("replica", "expected"),
    [
        (PRIMARY, []),
        (with_peer(PRIMARY, disk=DiskState.INCONSISTENT), ["PEER_NOT_TOLD"]),
        # By the word of a person or the coordinator, perhaps.
        (ALONE, ["PEER_NOT_TOLD"]),
        # Its disk may come back as it was, and DRBD would not know that it is old.
        (with_peer(PRIMARY, disk=DiskState.DISKLESS), ["PEER_NOT_TOLD"]),
        (lost_peer(PRIMARY), ["PEER_NOT_TOLD"]),
        (with_peer(lost_peer(PRIMARY), disk=DiskState.OUTDATED), ["PEER_NOT_TOLD"]),
        # A handshake under way: connected to DRBD, and nothing agreed.
        (with_peer(PRIMARY, replication=ReplicationState.OFF), ["PEER_NOT_TOLD"]),
        (dataclasses.replace(PRIMARY, peer=None), ["PEER_NOT_TOLD"]),
    ],
)
def test_a_primary_with_current_data_may_and_says_what_it_risks(
    replica: Replica, expected: list[str]
) -> None:
    assert standalone(replica) == ["STANDING_ALONE", *expected]


STOOD = standing_alone(VOLUME, PRIMARY, "beta")
NOT_TOLD = blocker("PEER_NOT_TOLD", "", measured="", limit="", remedy="")


@pytest.mark.parametrize(
    ("before", "replica", "asks", "expected"),
    [
        ((STOOD,), ALONE, None, []),
        ((STOOD,), ALONE, incident("deny", 6), []),
        ((STOOD, NOT_TOLD), ALONE, None, ["PEER_NOT_TOLD"]),
        # Resumed after a crash: how it was before is not known.
        ((), ALONE, None, ["PEER_NOT_TOLD"]),
        ((STOOD,), with_peer(ALONE, disk=DiskState.DUNKNOWN), None, ["PEER_NOT_TOLD"]),
        ((STOOD,), dataclasses.replace(ALONE, peer=None), None, ["PEER_NOT_TOLD"]),
        # Its own disk is gone: it may have met the peer since.
        (
            (STOOD,),
            dataclasses.replace(ALONE, disk=DiskState.DISKLESS),
            None,
            ["DISK_NOT_UPTODATE", "PEER_NOT_TOLD"],
        ),
        # Outdated by the coordinator's word, perhaps.
        ((STOOD,), ALONE, incident("continue", 6), ["PEER_NOT_TOLD"]),
        ((STOOD,), ALONE, Unobserved(reason="damaged"), ["PEER_NOT_TOLD"]),
    ],
)
def test_who_was_told_is_known_only_where_it_was_seen(
    before: tuple[Finding, ...],
    replica: Replica,
    asks: Incident | Unobserved | None,
    expected: list[str],
) -> None:
    host = FakeHost()
    host.replica = replica
    snapshot = dataclasses.replace(host.seen(VOLUME), incident=asks)
    after = standalone_findings(VOLUME, snapshot, "beta")
    found = codes(parting_findings(before, after, snapshot))
    assert sorted(found) == sorted(["STANDING_ALONE", *expected])


@pytest.mark.parametrize(
    ("replica", "code"),
    [
        (in_sync_replica(), "NOT_PRIMARY"),
        (dataclasses.replace(PRIMARY, suspended=("fencing",)), "REPLICA_SUSPENDED"),
        (dataclasses.replace(PRIMARY, disk=DiskState.INCONSISTENT), "DISK_NOT_UPTODATE"),
        (dataclasses.replace(PRIMARY, disk=DiskState.DISKLESS), "DISK_NOT_UPTODATE"),
        (None, "REPLICA_DOWN"),
    ],
)
def test_everything_else_may_not(replica: Replica | None, code: str) -> None:
    assert standalone(replica)[0] == code


def test_without_being_asked_the_coordinator_is_named() -> None:
    found = standalone(PRIMARY, Arbitration.COORDINATOR)
    assert found == ["STANDING_ALONE", "COORDINATOR_NOT_ASKED"]


@pytest.mark.parametrize("decide", [standalone_findings, rejoin_findings])
def test_unknown_and_unreplicated_are_no(decide: object) -> None:
    blind = FakeHost(blind={Facet.REPLICA: "no answer"}).seen(VOLUME)
    assert callable(decide)
    assert codes(decide(VOLUME, blind, "beta")) == ["UNOBSERVED"]
    local = dataclasses.replace(VOLUME, replica=None)
    nothing = dataclasses.replace(FakeHost().seen(local), replica=None)
    assert codes(decide(local, nothing, "beta")) == ["NO_REPLICA"]


def test_a_split_brain_that_cannot_be_looked_at_is_not_ended() -> None:
    asked = OperationRequest(kind=OperationKind.SPLIT_BRAIN, volume="data", operation_id="x")
    blind = FakeHost(blind={Facet.REPLICA: "no answer"}).seen(VOLUME)
    (finding,) = split_brain_findings(VOLUME, blind, asked, "beta")
    assert (finding.code, finding.measured) == ("UNOBSERVED", "no answer")


def test_it_is_loud_for_as_long_as_it_lasts() -> None:
    host = FakeHost(replica=ALONE, mounted=True, server=ServerState.SERVING)
    snapshot = host.seen(VOLUME)
    config = agent_config()
    readiness = assess(config, config.volumes["data"], snapshot)
    alone = next(f for f in readiness.findings if f.code == "STANDING_ALONE")
    assert readiness.verdict is Verdict.DEGRADED
    assert alone.severity is Severity.WARNING
    assert "524288 bytes) not on beta" in alone.measured
    assert "storage-agent rejoin data" in alone.remedy
    assert name_state(VOLUME, snapshot).endswith("standing alone: NO FALLBACK")


def test_rejoin_is_refused_in_a_split_brain_alone() -> None:
    def rejoin(replica: Replica) -> tuple[Finding, ...]:
        return rejoin_findings(VOLUME, FakeHost(replica=replica).seen(VOLUME), "beta")

    assert rejoin(ALONE) == rejoin(PRIMARY) == rejoin(in_sync_replica()) == ()
    (finding,) = rejoin(SPLIT)
    assert finding.code == "SPLIT_BRAIN"
    assert finding.measured == (
        "Primary, UpToDate, 512.0 KiB (524288 bytes) changed here since, "
        "generation A6BAEA7CBC09FDEA, apart since ACAF0A112C9C99E2"
    )
    assert "storage-agent split-brain data" in finding.remedy


SECONDARY_SPLIT = dataclasses.replace(SPLIT, role=Role.SECONDARY)


@pytest.mark.parametrize(
    ("replica", "mounted", "expected"),
    [
        (SECONDARY_SPLIT, False, []),
        (SECONDARY_SPLIT, True, ["STILL_USED"]),
        (SPLIT, False, ["STILL_USED"]),
        (dataclasses.replace(ALONE, role=Role.SECONDARY), False, ["NO_SPLIT_BRAIN"]),
        (in_sync_replica(), False, ["NO_SPLIT_BRAIN"]),
        (PRIMARY, True, ["NO_SPLIT_BRAIN", "STILL_USED"]),
    ],
)
def test_only_an_unused_copy_in_a_split_brain_is_discarded(
    replica: Replica, mounted: bool, expected: list[str]
) -> None:
    snapshot = FakeHost(replica=replica, mounted=mounted).seen(VOLUME)

    def asked(choice: str) -> list[str]:
        request = OperationRequest(
            kind=OperationKind.SPLIT_BRAIN,
            volume="data",
            operation_id="x",
            options={"choice": choice},
        )
        return codes(split_brain_findings(VOLUME, snapshot, request, "beta"))

    assert asked("discard") == expected
    assert asked("keep") == []


@pytest.mark.parametrize(
    ("replica", "code"),
    [
        (SECONDARY_SPLIT, "SPLIT_BRAIN"),
        (dataclasses.replace(ALONE, role=Role.SECONDARY), "STAND_ALONE"),
        (dataclasses.replace(in_sync_replica(), peer=None), "STAND_ALONE"),
    ],
)
def test_neither_side_is_promoted_meanwhile(replica: Replica, code: str) -> None:
    request = OperationRequest(
        kind=OperationKind.PROMOTE, volume="data", operation_id="x", peer_is_off="beta"
    )
    snapshot = FakeHost(replica=replica).seen(VOLUME)
    assert code in codes(blockers(promotion_findings(VOLUME, snapshot, request, "beta")))
