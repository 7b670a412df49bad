"""Does a copy that lost its peer still hold every acknowledged write?

DRBD 8.4 cannot tell: a secondary whose disk failed and was attached again while its primary
went on comes back as Consistent, and a fence-peer handler that answers 4 makes it UpToDate,
with acknowledged writes gone (reproduced on the kernel: field notes, "the peer-disk hole").
So the agent watches the attachment itself: in sync, then nothing but the loss of the link.
"""

from __future__ import annotations

import dataclasses

from storage_agent.model.replica import (
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

# A copy that was UpToDate and loses its peer is shown as one of these.
_LOST = frozenset({DiskState.DISKLESS, DiskState.FAILED})
_STILL_THIS_ATTACHMENT = frozenset({DiskState.UP_TO_DATE, DiskState.CONSISTENT})


def follow(
    attachment: Attachment, replica: Replica | None, *, unsynced: bool = False
) -> Attachment:
    """The record after one more state, in the order in which the kernel showed them. unsynced: as
    `stays_unsynced` says of this state."""
    if replica is None:
        return _broken("the resource was taken down")
    if replica.in_sync():
        peer = replica.peer
        to_primary = peer is not None and peer.role is Role.PRIMARY
        if unsynced and to_primary and not attachment.in_sync_until_loss:
            return _broken(
                "it was not in sync, and was connected to a Primary without a resync: the Primary "
                "may have turned away"
            )
        return Attachment(in_sync_until_loss=True, connected=True)
    if not attachment.in_sync_until_loss:
        return attachment
    if replica.disk not in _STILL_THIS_ATTACHMENT:
        return _broken(f"the local disk became {replica.disk}")
    if replica.peer is not None and replica.peer.connection is ConnectionState.CONNECTED:
        if attachment.connected and replica.peer.disk in _LOST:
            # With the connection unbroken every later write came to this copy as well.
            return attachment
        if replica.peer.out_of_sync_bytes:
            return _broken(f"{replica.peer.out_of_sync_bytes} bytes went out of sync")
        if replica.peer.disk is not DiskState.UP_TO_DATE:
            return _broken(f"the peer's disk became {replica.peer.disk} while connected")
        return _broken(f"replication left Established for {replica.peer.replication}")
    return dataclasses.replace(attachment, connected=False)


def stays_unsynced(before: bool, replica: Replica | None) -> bool:
    """Whether no resync was seen since the copy was last seen without its peer.

    A frozen Primary aborts the connection to a peer that is only Consistent, and goes on alone
    under a new generation (drbd_receiver.c receive_state(): "can not thaw IO with an only
    Consistent peer"). By its own view that peer was connected and in sync for a moment.
    """
    if replica is None or replica.peer is None:
        return True
    if replica.peer.replication is ReplicationState.OFF:
        return True
    return before and replica.peer.replication is ReplicationState.ESTABLISHED


def lost_sight(why: str) -> Attachment:
    """States may have been missed, so nothing is known until both copies are seen in sync again."""
    return _broken(why)


def _broken(why: str) -> Attachment:
    return Attachment(in_sync_until_loss=False, broken_by=why)
