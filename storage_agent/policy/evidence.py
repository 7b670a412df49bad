"""Does a copy that lost its peer still hold every acknowledged write?

DRBD 8.4 cannot tell: a secondary whose disk failed and was attached again while its primary
went on comes back as Consistent, and a fence-peer handler that answers 4 makes it UpToDate,
with acknowledged writes gone (reproduced on the kernel: field notes, "the peer-disk hole").
So the agent watches the attachment itself: in sync, then nothing but the loss of the link.
"""

from __future__ import annotations

import dataclasses

from storage_agent.model.replica import (
    WITHOUT_DISK,
    ConnectionState,
    DiskState,
    Replica,
    ReplicationState,
    Role,
)
from storage_agent.model.snapshot import Attachment

NEVER_SEEN = Attachment(
    in_sync_until_loss=False, broken_by="both copies were not seen in sync since the agent started"
)

# What this side calls in sync the other one may not: the source of a resync that has missed its end
# goes on alone without being frozen (simulation, seed 250099), and a frozen Primary turns a peer
# away that is only Consistent and goes on under a new generation (drbd_receiver.c receive_state()).
# So does a Primary without its disk with an older copy, which being connected has made UpToDate.
# Each ends the connection at once, or by DRBD's own ping: ping-int 10 s, ping-timeout.
SETTLE_S = 30.0
_JUST_IN_SYNC = "both copies are in sync only just now, and the peer may not know it yet"
_JUST_WRITTEN = "the peer writes to this copy alone only just now, and may still turn it away"

# A copy that was UpToDate and loses its peer is shown as one of these.
_STILL_THIS_ATTACHMENT = frozenset({DiskState.UP_TO_DATE, DiskState.CONSISTENT})


def follow(attachment: Attachment, replica: Replica | None) -> Attachment:
    """The record after one more state, in the order in which the kernel showed them."""
    if replica is None:
        return _broken("the resource was taken down")
    if why := replica.why_undecidable():
        return _broken(why)
    if replica.in_sync() or _has_every_write(replica):
        if attachment.in_sync_until_loss:
            return settled(attachment)
        return _broken(_JUST_IN_SYNC if replica.in_sync() else _JUST_WRITTEN)
    if settles(attachment):
        return _broken("it was in sync too short a time: the peer may not have known it")
    if not attachment.in_sync_until_loss:
        return attachment
    if replica.disk not in _STILL_THIS_ATTACHMENT:
        return _broken(f"the local disk became {replica.disk}")
    if replica.peer is not None and replica.peer.connection is ConnectionState.CONNECTED:
        if attachment.connected and replica.peer.disk in WITHOUT_DISK:
            # With the connection unbroken every later write came to this copy as well.
            return attachment
        if replica.peer.out_of_sync_bytes:
            return _broken(f"{replica.peer.out_of_sync_bytes} bytes went out of sync")
        if replica.peer.disk is not DiskState.UP_TO_DATE:
            return _broken(f"the peer's disk became {replica.peer.disk} while connected")
        return _broken(f"replication left Established for {replica.peer.replication}")
    if replica.stands_alone():
        # Somebody has given the connection up here. The Primary may have agreed to it, and gone on
        # unfrozen, without this side having heard of that (simulation, seed 131032).
        return _broken("the connection was given up on this host, not only lost")
    return dataclasses.replace(attachment, connected=False)


def _has_every_write(replica: Replica) -> bool:
    """A Primary without its disk writes here alone, and stays connected only to the generation that
    it had last (drbd_receiver.c receive_uuids(): "Can only connect to data with current UUID"). So
    this copy is the good one, whatever was or was not watched before."""
    peer = replica.peer
    return (
        replica.disk is DiskState.UP_TO_DATE
        and peer is not None
        and peer.connection is ConnectionState.CONNECTED
        and peer.replication is ReplicationState.ESTABLISHED
        and peer.role is Role.PRIMARY
        and peer.disk in WITHOUT_DISK
    )


def settles(attachment: Attachment) -> bool:
    """Only this side's view says so far that this copy has every write."""
    return attachment.broken_by in (_JUST_IN_SYNC, _JUST_WRITTEN)


def settled(attachment: Attachment) -> Attachment:
    """It has been in sync, and the connection has not broken, for SETTLE_S."""
    return dataclasses.replace(attachment, in_sync_until_loss=True, connected=True, broken_by="")


def lost_sight(why: str) -> Attachment:
    """States may have been missed, so nothing is known until both copies are seen in sync again."""
    return _broken(why)


def _broken(why: str) -> Attachment:
    return Attachment(in_sync_until_loss=False, broken_by=why)
