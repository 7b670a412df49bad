"""May the role be given back, and may the peer be left: what would be taken away, and from whom."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from storage_agent.model.filesystem import FilesystemView, Holder
from storage_agent.model.finding import Finding, Severity, blockers
from storage_agent.model.observed import Unobserved
from storage_agent.model.operation import SHUTDOWN_ORIGIN, OperationRequest
from storage_agent.model.plan import OperationKind
from storage_agent.model.replica import ConnectionState, DiskState, Replica, ReplicationState, Role
from storage_agent.model.snapshot import UseView, VolumeSnapshot
from storage_agent.policy.demotion import demotion_findings, leaving_findings
from tests.unit.cli.snapshots import peer_view, replica_view, secondary, serving, syncing, unknown
from tests.unit.fakes import volume_config

VOLUME = volume_config()
LOCAL = dataclasses.replace(VOLUME, replica=None)
LOST = peer_view(
    connection=ConnectionState.CONNECTING,
    role=Role.UNKNOWN,
    disk=DiskState.DUNKNOWN,
    replication=ReplicationState.OFF,
)
ALONE = replica_view(peer=LOST)


def findings(snapshot: VolumeSnapshot, **asked: Any) -> tuple[Finding, ...]:
    request = OperationRequest(
        kind=OperationKind.DEMOTE, volume="data", operation_id="x", **asked
    )  # fmt: skip
    return demotion_findings(VOLUME, snapshot, request, "beta")


def leaving(snapshot: VolumeSnapshot, **asked: Any) -> list[str]:
    request = OperationRequest(
        kind=OperationKind.LEAVE, volume="data", operation_id="x", **asked
    )  # fmt: skip
    return [f.code for f in blockers(leaving_findings(VOLUME, snapshot, request, "beta"))]


def test_a_move_to_a_peer_that_is_ready_is_not_questioned() -> None:
    assert findings(serving()) == ()


def test_with_nobody_to_take_over_it_says_what_it_would_take_away() -> None:
    (finding,) = findings(serving(replica=ALONE))
    assert (finding.code, finding.severity) == ("PEER_CANNOT_TAKE_OVER", Severity.BLOCKER)
    assert finding.measured == (
        "Connecting, Off, peer disk DUnknown; taken away: mounted at /srv/data; "
        "serving at 10.9.0.10/24, clients: 10.9.0.21:900 (9 opens, 3 locks), "
        "10.9.0.22:900 (3 opens, 1 locks)"
    )
    assert finding.remedy.endswith(
        "storage-agent standalone data, then: "
        "storage-agent demote data --yes-stop-serving alpha/data"
    )


def test_who_uses_it_is_told_with_what_would_be_taken_away() -> None:
    holder = Holder(kind="process", what="process backup (9) has /srv/data/x open", pid=9)
    use = UseView(holders=(holder,), written_bytes=4096, watched_s=2)
    (finding,) = findings(serving(replica=ALONE, use=use))
    assert finding.measured.endswith(
        "; process backup (9) has /srv/data/x open; 4.0 KiB (4096 bytes) in 2 s"
    )


def test_the_name_is_not_enough_while_the_peer_is_counted_on() -> None:
    for replica in (ALONE, syncing().replica):
        (finding,) = findings(serving(replica=replica), stop_serving="alpha/data")
        assert (finding.code, finding.severity) == ("PEER_CANNOT_TAKE_OVER", Severity.BLOCKER)
        assert "storage-agent standalone data, then: " in finding.remedy


@pytest.mark.parametrize(
    "replica",
    [
        replica_view(peer=dataclasses.replace(LOST, connection=ConnectionState.STANDALONE)),
        replica_view(peer=None),
        # Not for `standalone`: without its disk this host needs the peer.
        dataclasses.replace(ALONE, disk=DiskState.DISKLESS),
        dataclasses.replace(ALONE, role=Role.SECONDARY),
    ],
    ids=["given up", "no connection", "own disk lost", "only mounted"],
)
def test_named_it_is_done_and_warned_of_where_no_peer_is_counted_on(replica: Replica) -> None:
    (finding,) = findings(serving(replica=replica), stop_serving="alpha/data")
    assert (finding.code, finding.severity) == ("PEER_CANNOT_TAKE_OVER", Severity.WARNING)
    assert "storage-agent standalone" not in finding.remedy
    assert blockers(findings(serving(replica=replica)))


@pytest.mark.parametrize(
    "replica",
    [
        replica_view(disk=DiskState.DISKLESS),
        replica_view(disk=DiskState.DETACHING),
        replica_view(
            disk=DiskState.INCONSISTENT, peer=peer_view(replication=ReplicationState.SYNC_TARGET)
        ),
    ],
    ids=["own disk lost", "own disk on its way out", "sync target"],
)
def test_a_peer_that_has_the_good_copy_may_take_over(replica: Replica) -> None:
    assert findings(serving(replica=replica)) == ()


def test_a_host_that_goes_down_takes_its_users_with_it() -> None:
    going = {"stop_serving": "alpha/data", "origin": SHUTDOWN_ORIGIN}
    (finding,) = findings(serving(replica=ALONE), **going)
    assert (finding.code, finding.severity) == ("PEER_CANNOT_TAKE_OVER", Severity.WARNING)
    assert blockers(findings(serving(replica=ALONE), origin=SHUTDOWN_ORIGIN))


@pytest.mark.parametrize("named", ["beta/data", "alpha/home", "data", "alpha", ""])
def test_another_name_is_no_word(named: str) -> None:
    assert blockers(findings(serving(replica=ALONE), stop_serving=named))


def test_a_peer_that_is_still_being_filled_cannot_take_over() -> None:
    (finding,) = findings(syncing())
    assert "SyncSource, peer disk Inconsistent" in finding.measured


def test_no_connection_at_all() -> None:
    (finding,) = findings(serving(replica=replica_view(peer=None)))
    assert finding.measured.startswith("no connection; taken away: ")


def test_a_volume_without_replica_has_nobody_else() -> None:
    request = OperationRequest(kind=OperationKind.DEMOTE, volume="data", operation_id="x")
    (finding,) = demotion_findings(LOCAL, serving(replica=None), request, "")
    assert finding.code == "PEER_CANNOT_TAKE_OVER"
    assert finding.summary.startswith("no other host")


def test_the_bare_role_is_given_back_without_a_question() -> None:
    """What a promotion that failed has left must not stay stuck."""
    assert findings(secondary(replica=ALONE)) == ()


def test_what_is_secondary_already_is_not_questioned() -> None:
    lone = dataclasses.replace(ALONE, role=Role.SECONDARY)
    assert findings(secondary(replica=lone)) == ()


def test_a_frozen_replica() -> None:
    frozen = serving(replica=replica_view(suspended=("fencing",)))
    assert [f.code for f in findings(frozen)] == ["REPLICA_SUSPENDED"]


def test_a_second_mount_would_be_in_the_way() -> None:
    view = serving().filesystem
    assert isinstance(view, FilesystemView)
    extra = dataclasses.replace(view.mounts[0], mount_point="/mnt/other")
    both = dataclasses.replace(view, mounts=(*view.mounts, extra))
    (finding,) = findings(serving(filesystem=both))
    assert (finding.code, finding.measured) == ("MOUNTED_ELSEWHERE", "/mnt/other")


# -- leaving the peer -----------------------------------------------------------------------------


def test_leaving_while_serving_is_refused_whatever_is_said() -> None:
    served = ["VOLUME_PRIMARY", "VOLUME_MOUNTED", "VOLUME_EXPORTED"]
    assert leaving(serving()) == served
    assert leaving(serving(), stop_serving="alpha/data") == served
    assert "UNOBSERVED" in leaving(unknown(), stop_serving="alpha/data")


def test_leaving_a_peer_that_depends_on_this_copy_wants_the_name() -> None:
    lone = secondary(replica=dataclasses.replace(ALONE, role=Role.SECONDARY))
    assert leaving(lone) == ["ONLY_GOOD_COPY"]
    assert leaving(lone, stop_serving="alpha/data") == []


def test_a_copy_that_is_out_of_reach_is_left_without_a_word() -> None:
    lost = dataclasses.replace(
        ALONE,
        role=Role.SECONDARY,
        disk=DiskState.DISKLESS,
        peer=dataclasses.replace(LOST, disk=DiskState.OUTDATED),
    )
    assert leaving(secondary(replica=lost)) == []


def test_what_is_held_open_is_not_left() -> None:
    """`drbdadm down` would fail half-way, with the connection gone."""
    holder = Holder(kind="process", what="process blkid (9) has /dev/drbd0 open", pid=9)
    held = secondary(use=UseView(holders=(holder,), written_bytes=0, watched_s=2))
    assert leaving(held, stop_serving="alpha/data") == ["VOLUME_HELD"]


def test_leaving_wants_to_know_who_uses_it() -> None:
    unseen = secondary(use=Unobserved(reason="/proc does not answer"))
    assert leaving(unseen, stop_serving="alpha/data") == ["UNOBSERVED"]


def test_leaving_a_peer_that_has_all() -> None:
    assert leaving(secondary()) == []
    assert leaving(secondary(replica=None)) == []
