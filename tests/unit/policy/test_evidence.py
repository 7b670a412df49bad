"""Which courses of states prove that a copy without its peer is current."""

from __future__ import annotations

import dataclasses

import pytest

from storage_agent.model.replica import (
    ConnectionState,
    DiskState,
    Replica,
    ReplicationState,
    Role,
)
from storage_agent.policy.evidence import NEVER_SEEN, follow, lost_sight, settled, settles
from tests.unit.replicas import (
    in_sync_replica,
    lost_peer,
    with_peer,
)

SYNCED = in_sync_replica()
LOST = lost_peer(SYNCED)
DISKLESS = dataclasses.replace(SYNCED, disk=DiskState.DISKLESS)
PEER_DISKLESS = with_peer(SYNCED, disk=DiskState.DISKLESS, out_of_sync_bytes=4096)
DETACHING = with_peer(SYNCED, disk=DiskState.DETACHING)
TO_PRIMARY = with_peer(SYNCED, role=Role.PRIMARY)
TO_DISKLESS_PRIMARY = with_peer(TO_PRIMARY, disk=DiskState.DISKLESS)
SYNC_TARGET = with_peer(TO_PRIMARY, replication=ReplicationState.SYNC_TARGET)
# So long that the connection cannot have been broken all the while.
TIME = "time passes"
STANDS_ALONE = with_peer(LOST, connection=ConnectionState.STANDALONE)
BACK_ALONE = lost_peer(SYNCED, DiskState.CONSISTENT)


@pytest.mark.parametrize(
    ("course", "proven"),
    [
        ([], False),
        # What one side sees is not known to the other until some time has passed.
        ([SYNCED], False),
        ([SYNCED, LOST, TIME], False),
        ([SYNCED, TIME], True),
        ([SYNCED, TO_PRIMARY, TIME, LOST], True),
        ([SYNCED, TIME, LOST], True),
        ([SYNCED, TIME, LOST, BACK_ALONE], True),
        ([LOST, TIME], False),
        ([SYNCED, TIME, None, LOST], False),
        # The peer-disk hole: disk lost with the link up, primary goes on, disk attached again.
        ([SYNCED, TIME, DISKLESS, BACK_ALONE, TIME], False),
        ([SYNCED, TIME, DISKLESS, SYNCED, LOST], False),
        ([SYNCED, TIME, DISKLESS, SYNCED, TIME, LOST], True),
        # The peer's disk fails while connected: every later write came here as well.
        ([SYNCED, TIME, PEER_DISKLESS], True),
        ([SYNCED, TIME, PEER_DISKLESS, LOST], True),
        ([SYNCED, TIME, LOST, PEER_DISKLESS], False),
        ([SYNCED, PEER_DISKLESS, TIME], False),
        # Nor does the word on the way to Diskless break it (DRBD 9).
        ([SYNCED, TIME, DETACHING, PEER_DISKLESS, LOST], True),
        # A Primary without its disk writes here alone, whatever was watched before …
        ([TO_DISKLESS_PRIMARY, TIME], True),
        ([TO_DISKLESS_PRIMARY, TIME, PEER_DISKLESS, LOST], True),
        ([LOST, TIME, TO_DISKLESS_PRIMARY, TIME, LOST], True),
        # … unless it turns this one away at once, as an older generation.
        ([TO_DISKLESS_PRIMARY], False),
        ([TO_DISKLESS_PRIMARY, LOST, TIME], False),
        ([LOST, TIME, TO_DISKLESS_PRIMARY, LOST, TIME], False),
        ([TO_DISKLESS_PRIMARY, DISKLESS], False),
        ([dataclasses.replace(TO_DISKLESS_PRIMARY, disk=DiskState.INCONSISTENT)], False),
        ([with_peer(TO_DISKLESS_PRIMARY, replication=ReplicationState.OFF)], False),
        ([with_peer(TO_DISKLESS_PRIMARY, connection=ConnectionState.CONNECTING)], False),
        ([SYNCED, TIME, with_peer(SYNCED, out_of_sync_bytes=4096), LOST], False),
        ([SYNCED, TIME, SYNC_TARGET, LOST], False),
        ([SYNC_TARGET, SYNCED, LOST], False),
        ([SYNC_TARGET, SYNCED, TIME, LOST], True),
        ([SYNCED, TIME, dataclasses.replace(LOST, disk=DiskState.OUTDATED), LOST], False),
        # A Primary that turns its peer away is connected and in sync by the peer's view alone.
        ([BACK_ALONE, TO_PRIMARY, LOST], False),
        # drbdadm disconnect here: the Primary may have let it go, and this side not heard so.
        ([SYNCED, TO_PRIMARY, TIME, STANDS_ALONE], False),
        ([SYNCED, TO_PRIMARY, TIME, LOST, STANDS_ALONE, LOST], False),
        # A hiccup of the link.
        ([SYNCED, TIME, LOST, TO_PRIMARY, LOST], True),
    ],
)
def test_courses(course: list[Replica | str | None], proven: bool) -> None:
    attachment = NEVER_SEEN
    for moment in course:
        if not isinstance(moment, str):
            attachment = follow(attachment, moment)
        elif settles(attachment):
            attachment = settled(attachment)
    assert attachment.in_sync_until_loss is proven
    assert bool(attachment.broken_by) is not proven


@pytest.mark.parametrize(
    ("replica", "broken_by"),
    [
        (STANDS_ALONE, "the connection was given up on this host, not only lost"),
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
    assert follow(settled(follow(NEVER_SEEN, SYNCED)), replica).broken_by == broken_by


def test_what_was_not_watched_is_not_known() -> None:
    attachment = follow(lost_sight("events were lost"), LOST)
    assert not attachment.in_sync_until_loss
    assert attachment.broken_by == "events were lost"
    assert settles(follow(attachment, SYNCED))
