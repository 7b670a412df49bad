"""What counts as the coordinator's word, and when clients are shut out."""

from __future__ import annotations

import dataclasses

import pytest

from storage_agent.model.configuration import Arbitration
from storage_agent.model.incident import Incident
from storage_agent.model.nfs import ServerState
from storage_agent.model.observed import Unobserved
from storage_agent.model.replica import ConnectionState, DiskState, Replica, Role
from storage_agent.model.snapshot import Attachment, Facet
from storage_agent.policy.arbitration import (
    LinkWish,
    alone_findings,
    answer_findings,
    grant_findings,
    link_wish,
    opening_findings,
)
from storage_agent.policy.readiness import Verdict, assess
from tests.unit.fakes import FakeHost, volume_config
from tests.unit.incidents import (
    CONFIG,
    FROZEN,
    PRIMARY,
    VOLUME,
    frozen_host,
    incident,
    serving_host,
)
from tests.unit.replicas import (
    guards_as,
    in_sync_replica,
    lost_peer,
    with_peer,
)

ASKED = incident("continue", 7)


def test_only_arbitrated_volumes_take_grants() -> None:
    assert grant_findings(VOLUME, FakeHost().seen(VOLUME)) == ()
    other = volume_config()
    codes = [f.code for f in grant_findings(other, FakeHost().seen(other))]
    assert codes == ["GRANT_NOT_USED"]


def test_a_grant_goes_by_the_kernel_and_not_by_the_configuration() -> None:
    host = FakeHost(guards=guards_as(Arbitration.NONE))
    (found,) = grant_findings(VOLUME, host.seen(VOLUME))
    assert found.code == "ARBITRATION_NOT_IN_FORCE"
    blind = FakeHost(blind={Facet.GUARDS: "no answer"})
    assert [f.code for f in grant_findings(VOLUME, blind.seen(VOLUME))] == ["UNOBSERVED"]


@pytest.mark.parametrize(
    ("found", "codes"),
    [
        (incident(), []),
        (incident("continue", 7), []),
        (incident("continue", 6), ["INCIDENT_ANSWERED"]),
        (incident("deny", 7), ["INCIDENT_ANSWERED"]),
        (incident(incident="another"), ["INCIDENT_UNKNOWN"]),
        (incident("continue", 7, incident="another"), ["INCIDENT_UNKNOWN"]),
        (incident(boot_id="boot-0"), ["INCIDENT_UNKNOWN"]),
        (None, ["INCIDENT_UNKNOWN"]),
        (Unobserved(reason="damaged"), ["INCIDENT_UNKNOWN"]),
    ],
)
def test_answers(found: Incident | Unobserved | None, codes: list[str]) -> None:
    assert [f.code for f in answer_findings(VOLUME, found, ASKED, "boot-1")] == codes


@pytest.mark.parametrize(
    ("replica", "code", "measured"),
    [
        (
            dataclasses.replace(FROZEN, disk=DiskState.DISKLESS),
            "DISK_NOT_UPTODATE",
            "disk: Diskless",
        ),
        (
            dataclasses.replace(FROZEN, disk=DiskState.CONSISTENT),
            "DISK_NOT_UPTODATE",
            "disk: Consistent",
        ),
        (None, "DISK_NOT_UPTODATE", "no replica"),
        (Unobserved(reason="it hangs"), "UNOBSERVED", "it hangs"),
    ],
)
def test_only_a_current_copy_goes_on_alone(
    replica: Replica | Unobserved | None, code: str, measured: str
) -> None:
    assert alone_findings(VOLUME, FROZEN) == ()
    (found,) = alone_findings(VOLUME, replica)
    assert (found.code, found.measured) == (code, measured)


def test_an_incident_of_another_boot_is_never_answered() -> None:
    old = incident(boot_id="boot-0")
    asked = dataclasses.replace(ASKED, boot_id="boot-0")
    assert [f.code for f in answer_findings(VOLUME, old, asked, "boot-1")] == ["INCIDENT_UNKNOWN"]


def wish(host: FakeHost, epoch: int | None = 7) -> LinkWish:
    return link_wish(VOLUME, host.seen(VOLUME), epoch)


@pytest.mark.parametrize(
    ("host", "wanted"),
    [
        (serving_host(), LinkWish.NOTHING),
        (frozen_host(), LinkWish.CLOSE),
        # The handler was killed, or the incident cannot be read.
        (frozen_host(incident=None), LinkWish.CLOSE),
        (frozen_host(incident=Unobserved(reason="damaged")), LinkWish.CLOSE),
        # The kernel's events lag behind the handler.
        (frozen_host(replica=PRIMARY), LinkWish.CLOSE),
        (frozen_host(server=ServerState.STARTED), LinkWish.NOTHING),
        (frozen_host(server=ServerState.STANDBY), LinkWish.NOTHING),
        (frozen_host(server=ServerState.ABSENT), LinkWish.NOTHING),
        (frozen_host(blind={Facet.NFS: "stuck"}), LinkWish.CLOSE),
        # Answered.
        (frozen_host(incident=incident("continue", 7)), LinkWish.CLOSE),
        (serving_host(incident=incident("continue", 7)), LinkWish.NOTHING),
        (
            serving_host(incident=incident("continue", 7), server=ServerState.STARTED),
            LinkWish.OPEN,
        ),
        (frozen_host(incident=incident("deny", 7)), LinkWish.CLOSE),
        (serving_host(incident=incident("deny", 7)), LinkWish.CLOSE),
        (serving_host(incident=incident("deny", 7), server=ServerState.STARTED), LinkWish.NOTHING),
        # An admin has promoted it anew since.
        (serving_host(incident=incident("deny", 6)), LinkWish.NOTHING),
        # The peer came back without an answer.
        (serving_host(server=ServerState.STARTED), LinkWish.OPEN),
        (serving_host(server=ServerState.STARTED, mounted=False), LinkWish.NOTHING),
        (
            serving_host(server=ServerState.STARTED, replica=in_sync_replica()),
            LinkWish.NOTHING,
        ),
        (
            serving_host(server=ServerState.STARTED, incident=Unobserved(reason="?")),
            LinkWish.NOTHING,
        ),
    ],
)
def test_links(host: FakeHost, wanted: LinkWish) -> None:
    assert wish(host) is wanted


NEWER_LOST = with_peer(
    dataclasses.replace(lost_peer(in_sync_replica()), disk=DiskState.DISKLESS),
    disk=DiskState.OUTDATED,
)


@pytest.mark.parametrize(
    ("replica", "wanted"),
    [
        (NEWER_LOST, LinkWish.PART),
        (dataclasses.replace(NEWER_LOST, disk=DiskState.FAILED), LinkWish.PART),
        (dataclasses.replace(NEWER_LOST, disk=DiskState.UP_TO_DATE), LinkWish.NOTHING),
        (dataclasses.replace(NEWER_LOST, role=Role.PRIMARY), LinkWish.NOTHING),
        (dataclasses.replace(NEWER_LOST, peer=None), LinkWish.NOTHING),
        (with_peer(NEWER_LOST, disk=DiskState.DUNKNOWN), LinkWish.NOTHING),
        (with_peer(NEWER_LOST, connection=ConnectionState.CONNECTED), LinkWish.NOTHING),
        (None, LinkWish.NOTHING),
    ],
)
def test_a_copy_that_has_lost_newer_data_does_not_meet_an_older_one(
    replica: Replica | None, wanted: LinkWish
) -> None:
    host = FakeHost()
    host.replica = replica
    for volume in (VOLUME, dataclasses.replace(VOLUME, nfs=None)):
        assert link_wish(volume, host.seen(volume), 7) is wanted
    assert link_wish(volume_config(), host.observe(volume_config()), 7) is LinkWish.NOTHING


def test_a_volume_without_a_replica_is_nobody_elses() -> None:
    local = dataclasses.replace(VOLUME, replica=None)
    halted = serving_host(server=ServerState.HALTED)
    assert link_wish(local, halted.seen(local), 7) is LinkWish.OPEN
    halted.mounted = False
    assert link_wish(local, halted.seen(local), 7) is LinkWish.NOTHING


def test_what_drbd_has_frozen_shuts_its_clients_out_whatever_is_configured() -> None:
    volume = volume_config()
    assert link_wish(volume, frozen_host().seen(volume), 7) is LinkWish.CLOSE
    for host in (frozen_host(), serving_host(server=ServerState.STARTED)):
        bare = dataclasses.replace(VOLUME, nfs=None)
        assert link_wish(bare, host.seen(bare), 7) is LinkWish.NOTHING


def test_a_denied_secondary_may_be_promoted_by_the_next_grant() -> None:
    host = FakeHost(replica=in_sync_replica(), incident=incident("deny", 7))
    assert wish(host) is LinkWish.NOTHING


@pytest.mark.parametrize(
    ("host", "codes"),
    [
        (serving_host(), []),
        (frozen_host(), ["REPLICA_SUSPENDED"]),
        (frozen_host(incident=None), ["REPLICA_SUSPENDED"]),
        (serving_host(incident=incident("deny", 7)), ["REPLICA_SUSPENDED"]),
        (serving_host(blind={Facet.REPLICA: "stuck"}), ["NOT_MOUNTED"]),
        # Thawed by something else than the comparison of two disks.
        (serving_host(replica=lost_peer(PRIMARY)), ["CURRENCY_UNPROVEN"]),
        (serving_host(replica=with_peer(PRIMARY, disk=DiskState.DISKLESS)), ["CURRENCY_UNPROVEN"]),
        (serving_host(replica=dataclasses.replace(PRIMARY, peer=None)), ["CURRENCY_UNPROVEN"]),
        (serving_host(replica=lost_peer(PRIMARY), incident=incident("continue", 7)), []),
    ],
)
def test_opening(host: FakeHost, codes: list[str]) -> None:
    assert [f.code for f in opening_findings(VOLUME, host.seen(VOLUME))] == codes


def seen(host: FakeHost) -> tuple[Verdict, list[str]]:
    readiness = assess(CONFIG, VOLUME, host.seen(VOLUME))
    return readiness.verdict, [f.code for f in readiness.findings]


def test_a_coordinator_must_watch_and_that_is_no_fault() -> None:
    assert seen(serving_host()) == (Verdict.SERVING, ["COORDINATOR_NEEDED"])
    assert seen(FakeHost()) == (Verdict.READY, ["COORDINATOR_NEEDED"])


def test_with_a_driver_that_shows_no_roles_there_is_no_arbitration() -> None:
    nine = dataclasses.replace(PRIMARY, driver_version="9.1.23")
    assert seen(serving_host(replica=nine)) == (Verdict.DEGRADED, ["ARBITRATION_NEEDS_84"])


def test_what_a_frozen_host_says() -> None:
    assert seen(frozen_host())[1][:1] == ["INCIDENT_OPEN"]
    assert seen(frozen_host(incident=None))[1][:1] == ["REPLICA_SUSPENDED"]
    denied = frozen_host(incident=incident("deny", 7))
    assert seen(denied)[1][:1] == ["INCIDENT_DENIED"]
    finding = assess(CONFIG, VOLUME, denied.seen(VOLUME)).findings[0]
    assert "beta was granted epoch 7" in finding.summary
    assert "reboot --force --no-sync" in finding.remedy


def test_a_lost_peer_leaves_a_secondary_ready_for_the_grant() -> None:
    proven = Attachment(in_sync_until_loss=True)
    host = FakeHost(replica=lost_peer(in_sync_replica()), attachment=proven)
    assert seen(host) == (Verdict.DEGRADED, ["PROMOTION_NOT_GRANTED", "COORDINATOR_NEEDED"])
