"""Which courses of states prove that a copy without its peer is current."""

from __future__ import annotations

import dataclasses

import pytest

from storage_agent.model.replica import DiskState, Replica, ReplicationState, Role
from storage_agent.policy.evidence import NEVER_SEEN, follow, lost_sight, stays_unsynced
from tests.unit.fakes import in_sync_replica, lost_peer, with_peer

SYNCED = in_sync_replica()
LOST = lost_peer(SYNCED)
DISKLESS = dataclasses.replace(SYNCED, disk=DiskState.DISKLESS)
PEER_DISKLESS = with_peer(SYNCED, disk=DiskState.DISKLESS, out_of_sync_bytes=4096)
TO_PRIMARY = with_peer(SYNCED, role=Role.PRIMARY)
SYNC_TARGET = with_peer(TO_PRIMARY, replication=ReplicationState.SYNC_TARGET)
BACK_ALONE = lost_peer(SYNCED, DiskState.CONSISTENT)


@pytest.mark.parametrize(
    ("course", "proven"),
    [
        ([SYNCED], True),
        ([SYNCED, LOST], True),
        ([SYNCED, LOST, BACK_ALONE], True),
        ([LOST], False),
        ([SYNCED, None, LOST], False),
        # The peer-disk hole: disk lost with the link up, primary goes on, disk attached again.
        ([SYNCED, DISKLESS, BACK_ALONE], False),
        ([SYNCED, DISKLESS, SYNCED, LOST], True),
        # The peer's disk fails while connected: every later write came here as well.
        ([SYNCED, PEER_DISKLESS], True),
        ([SYNCED, PEER_DISKLESS, LOST], True),
        ([SYNCED, LOST, PEER_DISKLESS], False),
        ([SYNCED, with_peer(SYNCED, out_of_sync_bytes=4096), LOST], False),
        ([SYNCED, with_peer(SYNCED, replication=ReplicationState.SYNC_TARGET), LOST], False),
        ([SYNCED, dataclasses.replace(LOST, disk=DiskState.OUTDATED), LOST], False),
        # A Primary that turns its peer away is connected and in sync by the peer's view alone.
        ([TO_PRIMARY, LOST], True),
        ([BACK_ALONE, TO_PRIMARY, LOST], False),
        ([None, BACK_ALONE, TO_PRIMARY, LOST], False),
        ([BACK_ALONE, dataclasses.replace(TO_PRIMARY, peer=None), TO_PRIMARY, LOST], False),
        ([BACK_ALONE, SYNC_TARGET, TO_PRIMARY, LOST], True),
        ([BACK_ALONE, SYNCED, TO_PRIMARY, LOST], True),
        ([SYNCED, LOST, TO_PRIMARY, LOST], True),
    ],
)
def test_courses(course: list[Replica | None], proven: bool) -> None:
    attachment, unsynced = NEVER_SEEN, False
    for replica in course:
        unsynced = stays_unsynced(unsynced, replica)
        attachment = follow(attachment, replica, unsynced=unsynced)
    assert attachment.in_sync_until_loss is proven
    assert bool(attachment.broken_by) is not proven


@pytest.mark.parametrize(
    ("replica", "broken_by"),
    [
        (None, "the resource was taken down"),
        (DISKLESS, "the local disk became Diskless"),
        (with_peer(SYNCED, out_of_sync_bytes=4096), "4096 bytes went out of sync"),
        (
            with_peer(SYNCED, disk=DiskState.INCONSISTENT),
            "the peer's disk became Inconsistent while connected",
        ),
        (
            with_peer(SYNCED, replication=ReplicationState.VERIFY_S),
            "replication left Established for VerifyS",
        ),
    ],
)
def test_what_ended_the_proof_is_named(replica: Replica | None, broken_by: str) -> None:
    assert follow(follow(NEVER_SEEN, SYNCED), replica).broken_by == broken_by


def test_what_was_not_watched_is_not_known() -> None:
    attachment = follow(lost_sight("events were lost"), LOST)
    assert not attachment.in_sync_until_loss
    assert attachment.broken_by == "events were lost"
    assert follow(attachment, SYNCED).in_sync_until_loss
