"""The promotion decision as a table: one state each, and the codes that refuse it."""

from __future__ import annotations

import dataclasses

import pytest

from storage_agent.model.array import ArrayState
from storage_agent.model.configuration import Arbitration, VolumeConfig
from storage_agent.model.filesystem import Content, FilesystemView
from storage_agent.model.finding import Finding, blockers
from storage_agent.model.operation import OperationRequest
from storage_agent.model.plan import OperationKind
from storage_agent.model.replica import (
    ConnectionState,
    DiskState,
    Replica,
    ReplicationState,
    Role,
)
from storage_agent.model.snapshot import CHEAP_FACETS, Attachment, Facet
from storage_agent.policy.content import content_findings
from storage_agent.policy.evidence import NEVER_SEEN, follow
from storage_agent.policy.promotion import (
    needs_grant,
    peer_is_primary,
    promotion_findings,
    without_primary_peer,
)
from tests.unit.fakes import (
    CONTENT,
    FakeHost,
    volume_config,
)
from tests.unit.replicas import (
    in_sync_replica,
    lost_peer,
    with_peer,
)

VOLUME = volume_config()
PROVEN = Attachment(in_sync_until_loss=True)
SYNCED = in_sync_replica()


def request(peer_is_off: str | None = None) -> OperationRequest:
    return OperationRequest(
        kind=OperationKind.PROMOTE, volume="data", operation_id="x", peer_is_off=peer_is_off
    )


def findings(host: FakeHost, peer_is_off: str | None = None) -> tuple[Finding, ...]:
    return promotion_findings(VOLUME, host.seen(VOLUME), request(peer_is_off), "beta")


def refusals(host: FakeHost, peer_is_off: str | None = None) -> list[str]:
    return [finding.code for finding in blockers(findings(host, peer_is_off))]


def test_in_sync_and_connected_is_promotable() -> None:
    assert findings(FakeHost()) == ()


@pytest.mark.parametrize(
    ("replica", "codes"),
    [
        (dataclasses.replace(SYNCED, disk=DiskState.INCONSISTENT), ["DISK_NOT_UPTODATE"]),
        (dataclasses.replace(SYNCED, disk=DiskState.OUTDATED), ["DISK_NOT_UPTODATE"]),
        (dataclasses.replace(SYNCED, disk=DiskState.CONSISTENT), ["DISK_NOT_UPTODATE"]),
        (dataclasses.replace(SYNCED, disk=DiskState.DISKLESS), ["DISK_NOT_UPTODATE"]),
        (dataclasses.replace(SYNCED, suspended=("fencing",)), ["REPLICA_SUSPENDED"]),
        (with_peer(SYNCED, role=Role.PRIMARY), ["PEER_IS_PRIMARY"]),
        (with_peer(SYNCED, role=Role.UNKNOWN), ["PEER_ROLE_UNKNOWN"]),
        (with_peer(SYNCED, out_of_sync_bytes=65536), ["OUT_OF_SYNC"]),
        (with_peer(SYNCED, out_of_sync_bytes=None), ["OUT_OF_SYNC"]),
        (with_peer(SYNCED, replication=ReplicationState.VERIFY_S), ["OUT_OF_SYNC"]),
        (with_peer(SYNCED, replication=ReplicationState.BEHIND), ["OUT_OF_SYNC"]),
        (with_peer(SYNCED, replication=ReplicationState.OFF), ["OUT_OF_SYNC"]),
    ],
)
def test_connected_but_not_well(replica: Replica, codes: list[str]) -> None:
    assert refusals(FakeHost(replica=replica)) == codes


def test_a_sync_source_may_serve_but_has_no_fallback() -> None:
    replica = with_peer(
        SYNCED,
        replication=ReplicationState.SYNC_SOURCE,
        disk=DiskState.INCONSISTENT,
        out_of_sync_bytes=1 << 30,
    )
    (finding,) = findings(FakeHost(replica=replica))
    assert finding.code == "PEER_NOT_IN_SYNC"
    assert "1.0 GiB (1073741824 bytes)" in finding.measured


@pytest.mark.parametrize("disk", [DiskState.UP_TO_DATE, DiskState.CONSISTENT])
def test_unconnected_needs_the_peer_off_and_an_unbroken_attachment(disk: DiskState) -> None:
    lost = lost_peer(SYNCED, disk)
    assert refusals(FakeHost(replica=lost)) == ["PEER_NOT_PROVEN_OFF", "CURRENCY_UNPROVEN"]
    assert refusals(FakeHost(replica=lost, attachment=PROVEN)) == ["PEER_NOT_PROVEN_OFF"]
    assert refusals(FakeHost(replica=lost), "beta") == ["CURRENCY_UNPROVEN"]
    assert refusals(FakeHost(replica=lost, attachment=NEVER_SEEN), "beta") == ["CURRENCY_UNPROVEN"]
    assert refusals(FakeHost(replica=lost, attachment=PROVEN), "beta") == []


def test_another_hosts_name_is_no_declaration() -> None:
    host = FakeHost(replica=lost_peer(SYNCED), attachment=PROVEN)
    assert refusals(host, "gamma") == ["PEER_NOT_PROVEN_OFF"]


def test_connected_to_a_peer_without_disk_needs_the_evidence() -> None:
    replica = with_peer(SYNCED, disk=DiskState.DISKLESS, out_of_sync_bytes=4096)
    assert refusals(FakeHost(replica=replica)) == ["CURRENCY_UNPROVEN"]
    assert refusals(FakeHost(replica=replica, attachment=PROVEN)) == []


def test_evidence_that_is_only_too_new_wants_time_and_nobody_brought_back() -> None:
    replica = with_peer(SYNCED, disk=DiskState.DISKLESS, role=Role.PRIMARY)
    host = FakeHost(replica=replica, attachment=follow(NEVER_SEEN, replica))
    (finding,) = [f for f in findings(host) if f.code == "CURRENCY_UNPROVEN"]
    assert finding.remedy == "wait 30 s, then: storage-agent status data"


@pytest.mark.parametrize("disk", [DiskState.OUTDATED, DiskState.INCONSISTENT])
def test_a_peer_that_is_known_to_be_worse_may_still_be_primary(disk: DiskState) -> None:
    replica = with_peer(lost_peer(SYNCED), disk=disk)
    assert refusals(FakeHost(replica=replica)) == ["PEER_NOT_PROVEN_OFF"]
    (finding,) = findings(FakeHost(replica=replica), "beta")
    assert finding.code == "PEER_MAY_HAVE_WRITTEN"
    assert finding.measured == f"peer disk: {disk}, as far as this host knows"


def test_what_the_peer_wrote_alone_is_warned_of() -> None:
    host = FakeHost(replica=lost_peer(SYNCED), attachment=PROVEN)
    (finding,) = findings(host, "beta")
    assert finding.code == "PEER_MAY_HAVE_WRITTEN"
    assert finding.measured == "in sync until the connection was lost"


def test_an_outdated_peer_does_not_help_a_copy_that_is_only_consistent() -> None:
    replica = with_peer(lost_peer(SYNCED, DiskState.CONSISTENT), disk=DiskState.OUTDATED)
    assert refusals(FakeHost(replica=replica)) == ["PEER_NOT_PROVEN_OFF", "CURRENCY_UNPROVEN"]


def test_stand_alone_is_refused_whatever_else_is_said() -> None:
    replica = with_peer(lost_peer(SYNCED), connection=ConnectionState.STANDALONE)
    assert refusals(FakeHost(replica=replica, attachment=PROVEN), "beta") == ["STAND_ALONE"]


def test_arbitration_by_a_coordinator_does_not_take_a_persons_word() -> None:
    host = FakeHost(replica=lost_peer(SYNCED), attachment=PROVEN)
    for declared in (None, "beta"):
        found = arbitrated(host, request(declared))
        assert [finding.code for finding in found] == ["PROMOTION_NOT_GRANTED"]
        assert 'arbitration = "none"' in found[0].remedy


def test_a_grant_stands_for_the_peer_and_for_nothing_else() -> None:
    lost = lost_peer(SYNCED)
    proven = FakeHost(replica=lost, attachment=PROVEN)
    assert arbitrated(proven, request(), is_granted=True) == ()
    host = FakeHost(replica=lost, attachment=NEVER_SEEN)
    found = arbitrated(host, request(), is_granted=True)
    assert [finding.code for finding in found] == ["CURRENCY_UNPROVEN"]
    worse = FakeHost(replica=with_peer(lost, disk=DiskState.OUTDATED))
    assert [f.code for f in arbitrated(worse, request())] == ["PROMOTION_NOT_GRANTED"]
    assert arbitrated(worse, request(), is_granted=True) == ()


def test_a_grant_counts_for_nothing_without_a_coordinator() -> None:
    host = FakeHost(replica=lost_peer(SYNCED), attachment=PROVEN)
    found = promotion_findings(VOLUME, host.seen(VOLUME), request(), "beta", is_granted=True)
    assert [finding.code for finding in blockers(found)] == ["PEER_NOT_PROVEN_OFF"]


def arbitrated(
    host: FakeHost, asked: OperationRequest, *, is_granted: bool = False
) -> tuple[Finding, ...]:
    volume = dataclasses.replace(VOLUME, arbitration=Arbitration.COORDINATOR)
    return promotion_findings(volume, host.seen(volume), asked, "beta", is_granted=is_granted)


@pytest.mark.parametrize("state", ["missing", "not-empty", "occupied", "unsafe"])
def test_mount_points(state: str) -> None:
    (finding,) = findings(FakeHost(mount_point_state=state))
    assert (finding.code, finding.measured) == ("MOUNT_POINT", state)
    assert finding.remedy


def test_a_device_that_is_mounted_elsewhere() -> None:
    snapshot = FakeHost(mounted=True).seen(VOLUME)
    assert isinstance(snapshot.filesystem, FilesystemView)
    (ours,) = snapshot.filesystem.mounts
    points = (VOLUME.mount_point, "/mnt", "/media/x")
    mounts = tuple(dataclasses.replace(ours, mount_point=point) for point in points)
    view = dataclasses.replace(snapshot.filesystem, mounts=mounts)
    moved = dataclasses.replace(snapshot, filesystem=view)
    (finding,) = promotion_findings(VOLUME, moved, request(), "beta")
    assert (finding.code, finding.measured) == ("MOUNTED_ELSEWHERE", "/mnt, /media/x")
    assert finding.limit == "/srv/data"
    assert finding.remedy.startswith("see who uses it, this interrupts them: ")
    assert finding.remedy.endswith("; then: umount /mnt")


def test_an_array_that_does_not_run() -> None:
    assert refusals(FakeHost(array=None)) == ["ARRAY_NOT_RUNNING"]
    assert refusals(FakeHost(array=ArrayState.INACTIVE)) == ["ARRAY_NOT_RUNNING"]
    assert refusals(FakeHost(array=ArrayState.READ_AUTO)) == []


def test_a_resource_that_is_down() -> None:
    host = FakeHost()
    host.replica = None
    assert refusals(host) == ["REPLICA_DOWN"]


@pytest.mark.parametrize(
    ("replica", "expected"),
    [
        (with_peer(SYNCED, role=Role.PRIMARY), True),
        (SYNCED, False),
        (with_peer(lost_peer(SYNCED), role=Role.PRIMARY), False),
        (dataclasses.replace(SYNCED, peer=None), False),
    ],
    ids=["serves", "does-not", "not-connected", "no-connection"],
)
def test_only_a_connected_primary_can_let_go(replica: Replica, expected: bool) -> None:
    assert peer_is_primary(FakeHost(replica=replica).seen(VOLUME)) is expected


def test_what_is_left_once_the_peer_has_let_go() -> None:
    host = FakeHost(replica=with_peer(SYNCED, role=Role.PRIMARY), mount_point_state="missing")
    found = findings(host)
    assert [finding.code for finding in found] == ["PEER_IS_PRIMARY", "MOUNT_POINT"]
    assert without_primary_peer(found) == found[1:]


@pytest.mark.parametrize("facet", [Facet.ARRAY, Facet.REPLICA, Facet.FILESYSTEM, Facet.NFS])
def test_what_cannot_be_looked_at_is_refused_once(facet: Facet) -> None:
    (finding,) = findings(FakeHost(blind={facet: "no answer"}))
    assert (finding.code, finding.measured) == ("UNOBSERVED", "no answer")


def test_a_primary_goes_on_unless_its_writes_are_frozen() -> None:
    alone = dataclasses.replace(lost_peer(SYNCED), role=Role.PRIMARY)
    assert refusals(FakeHost(replica=alone)) == []
    frozen = dataclasses.replace(alone, suspended=("fencing", "no-data"))
    (finding,) = findings(FakeHost(replica=frozen))
    assert (finding.code, finding.measured) == (
        "REPLICA_SUSPENDED",
        "suspended: fencing, no-data",
    )


def test_the_handler_is_asked_only_without_a_connection() -> None:
    assert not needs_grant(VOLUME, FakeHost().seen(VOLUME))
    lost = FakeHost(replica=lost_peer(SYNCED))
    assert needs_grant(VOLUME, lost.seen(VOLUME))
    primary = FakeHost(replica=dataclasses.replace(lost_peer(SYNCED), role=Role.PRIMARY))
    assert not needs_grant(VOLUME, primary.seen(VOLUME))


# -- what lies on the array ------------------------------------------------------------------------


def on_the_array(host: FakeHost, volume: VolumeConfig = VOLUME) -> tuple[Finding, ...]:
    facets = CHEAP_FACETS | {Facet.CONTENT}
    return content_findings(volume, host.observe(volume, facets))


def test_the_volumes_own_filesystem() -> None:
    assert on_the_array(FakeHost()) == ()
    assert on_the_array(FakeHost(replica=lost_peer(SYNCED, DiskState.CONSISTENT))) == ()


@pytest.mark.parametrize(
    ("content", "measured"),
    [
        (dataclasses.replace(CONTENT, uuid="other"), "ext4 other"),
        (dataclasses.replace(CONTENT, type="xfs"), f"xfs {CONTENT.uuid}"),
        (None, "neither ext4 nor xfs"),
    ],
)
def test_another_filesystem_is_refused_before_the_role(
    content: Content | None, measured: str
) -> None:
    (finding,) = on_the_array(FakeHost(content=content))
    assert (finding.code, finding.measured) == ("WRONG_FILESYSTEM", measured)
    assert finding.limit == f"ext4 {CONTENT.uuid}"


def test_a_volume_without_identity_has_no_filesystem_yet() -> None:
    made = dataclasses.replace(VOLUME.filesystem, uuid=None)
    (finding,) = on_the_array(FakeHost(), dataclasses.replace(VOLUME, filesystem=made))
    assert (finding.code, finding.limit) == ("WRONG_FILESYSTEM", "ext4 none yet")


@pytest.mark.parametrize(
    "host",
    [
        FakeHost(array_bytes=CONTENT.size_bytes - 512),
        FakeHost(replica=dataclasses.replace(SYNCED, size_bytes=CONTENT.size_bytes - 512)),
    ],
    ids=["array", "replica"],
)
def test_a_filesystem_that_does_not_fit_is_refused(host: FakeHost) -> None:
    (finding,) = on_the_array(host)
    assert finding.code == "FILESYSTEM_TOO_LARGE"
    assert str(CONTENT.size_bytes) in finding.measured
    assert str(CONTENT.size_bytes - 512) in finding.limit


def test_it_may_fill_what_carries_it() -> None:
    full = dataclasses.replace(SYNCED, size_bytes=CONTENT.size_bytes)
    assert on_the_array(FakeHost(replica=full, array_bytes=CONTENT.size_bytes)) == ()
    # Not connected yet, DRBD does not know its own size.
    assert on_the_array(FakeHost(replica=dataclasses.replace(SYNCED, size_bytes=None))) == ()


def test_without_replica_the_array_alone_counts() -> None:
    local = dataclasses.replace(VOLUME, replica=None)
    assert on_the_array(FakeHost(), local) == ()
    (finding,) = on_the_array(FakeHost(array_bytes=1 << 20), local)
    assert finding.code == "FILESYSTEM_TOO_LARGE"


def test_what_cannot_be_read_is_unknown() -> None:
    blind = {Facet.CONTENT: "/dev/md/data: Input/output error"}
    (finding,) = on_the_array(FakeHost(blind=blind))
    assert (finding.code, finding.measured) == ("UNOBSERVED", blind[Facet.CONTENT])


@pytest.mark.parametrize(
    "host",
    [
        FakeHost(content=None, array=None),
        FakeHost(content=None, array=ArrayState.INACTIVE),
        FakeHost(content=None, blind={Facet.ARRAY: "no answer"}),
        FakeHost(content=None, blind={Facet.REPLICA: "no answer"}),
        FakeHost(content=None, replica=dataclasses.replace(SYNCED, disk=DiskState.INCONSISTENT)),
    ],
)
def test_of_a_copy_that_is_refused_anyway_nothing_is_said(host: FakeHost) -> None:
    assert on_the_array(host) == ()


@pytest.mark.parametrize("replication", [ReplicationState.VERIFY_S, ReplicationState.VERIFY_T])
def test_while_they_are_compared_nothing_is_said_to_differ(replication: ReplicationState) -> None:
    comparing = with_peer(SYNCED, replication=replication)
    (finding,) = findings(FakeHost(replica=comparing))
    assert (finding.code, "differ" in finding.summary) == ("OUT_OF_SYNC", True)
    assert "no difference was found" in finding.summary
    (finding,) = findings(FakeHost(replica=with_peer(comparing, out_of_sync_bytes=4096)))
    assert "which one is right is not known" in finding.summary


def test_a_lost_quorum_was_suspended_by_nobody() -> None:
    frozen = dataclasses.replace(SYNCED, suspended=("quorum",))
    (finding,) = findings(FakeHost(replica=frozen))
    assert "by hand" not in finding.remedy
    assert "quorum" in finding.remedy
