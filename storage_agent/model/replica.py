"""A DRBD resource as one host sees it; one model for the drivers 8.4 and 9.

States carry DRBD's own spelling, in the words of drbdsetup 9 (8.4's `WFConnection` is
`Connecting`, its connected `Connected` is `Connected` + `Established`).
Source: drbd-headers drbd_strings.c; drbd-utils user/v84/drbdsetup.c.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    PRIMARY = "Primary"
    SECONDARY = "Secondary"
    UNKNOWN = "Unknown"


class DiskState(StrEnum):
    DISKLESS = "Diskless"
    ATTACHING = "Attaching"
    DETACHING = "Detaching"
    FAILED = "Failed"
    NEGOTIATING = "Negotiating"
    INCONSISTENT = "Inconsistent"
    OUTDATED = "Outdated"
    DUNKNOWN = "DUnknown"
    CONSISTENT = "Consistent"
    UP_TO_DATE = "UpToDate"


# On its way out, and gone: DRBD 9 shows a disk that is detached as Detaching first, one that fails
# as Failed (field notes, DRBD 9.2.16).
WITHOUT_DISK = frozenset({DiskState.DISKLESS, DiskState.FAILED, DiskState.DETACHING})


class ConnectionState(StrEnum):
    STANDALONE = "StandAlone"
    DISCONNECTING = "Disconnecting"
    UNCONNECTED = "Unconnected"
    TIMEOUT = "Timeout"
    BROKEN_PIPE = "BrokenPipe"
    NETWORK_FAILURE = "NetworkFailure"
    PROTOCOL_ERROR = "ProtocolError"
    TEAR_DOWN = "TearDown"
    CONNECTING = "Connecting"
    CONNECTED = "Connected"
    # A word that is not known here; DRBD has none of its own for that.
    UNKNOWN = "Unknown"


class ReplicationState(StrEnum):
    OFF = "Off"
    ESTABLISHED = "Established"
    STARTING_SYNC_S = "StartingSyncS"
    STARTING_SYNC_T = "StartingSyncT"
    WF_BITMAP_S = "WFBitMapS"
    WF_BITMAP_T = "WFBitMapT"
    WF_SYNC_UUID = "WFSyncUUID"
    SYNC_SOURCE = "SyncSource"
    SYNC_TARGET = "SyncTarget"
    VERIFY_S = "VerifyS"
    VERIFY_T = "VerifyT"
    PAUSED_SYNC_S = "PausedSyncS"
    PAUSED_SYNC_T = "PausedSyncT"
    AHEAD = "Ahead"
    BEHIND = "Behind"
    # As with the connection.
    UNKNOWN = "Unknown"


# The handshake has decided, or a person said, that this side's copy is the older one.
_TARGET_STATES = frozenset(
    {
        ReplicationState.STARTING_SYNC_T,
        ReplicationState.WF_BITMAP_T,
        ReplicationState.WF_SYNC_UUID,
        ReplicationState.SYNC_TARGET,
        ReplicationState.PAUSED_SYNC_T,
        ReplicationState.BEHIND,
    }
)


# Before a handshake has succeeded, and where that is not known.
_NOT_AGREED = frozenset({ReplicationState.OFF, ReplicationState.UNKNOWN})


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationIdentifiers:
    """DRBD's data generation of one copy, hexadecimal, without the lowest (role) bit's meaning.

    `current` with its lowest bit cleared is the same on two copies exactly when they hold the
    same generation of the data.
    """

    current: str
    bitmap: str
    history: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerView:
    """What this host's DRBD says of the connection and of the other copy."""

    connection: ConnectionState
    role: Role
    disk: DiskState
    replication: ReplicationState
    out_of_sync_bytes: int | None
    resync_suspended: bool = False
    congested: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """A configured DRBD resource (volume 0). Not configured in the kernel is None, not this.

    suspended: why writes are frozen (`user`, `no-data`, `fencing`, `quorum`); empty: they flow.
    size_bytes: of the DRBD device; None while it is not known (diskless, not yet connected).
    peer: None where the kernel has no connection object (drbdadm disconnect on 9, never yet up).
    split_brain: the last handshake found that both copies were changed apart from each other, and
    none has succeeded since; DRBD stands alone until a person has chosen.
    unread: what DRBD says of the fields above in words that are not known here (`connection
    'Dreaming'`), each of which is Unknown in its place.  others: what of the resource is no part of
    a pair with one volume (`peer gamma`, `volume 1`). Nothing is decided on either.
    """

    resource: str
    minor: int
    driver_version: str
    role: Role
    disk: DiskState
    size_bytes: int | None
    suspended: tuple[str, ...] = ()
    peer: PeerView | None = None
    generation: GenerationIdentifiers | None = None
    split_brain: bool = False
    unread: tuple[str, ...] = ()
    others: tuple[str, ...] = ()

    def why_undecidable(self) -> str:
        """Empty where all of it is known."""
        odd = [f"DRBD says what is not known here: {', '.join(self.unread)}"] if self.unread else []
        more = [f"more than two hosts and one volume: {', '.join(self.others)}"]
        return "; ".join(odd + (more if self.others else []))

    def has_agreed(self) -> bool:
        """The two copies' handshake has succeeded."""
        return self.peer is not None and self.peer.replication not in _NOT_AGREED

    def stands_alone(self) -> bool:
        """DRBD neither has nor looks for its peer, until it is told to."""
        return self.peer is None or self.peer.connection is ConnectionState.STANDALONE

    def in_sync(self) -> bool:
        """Both copies UpToDate, connected, established, and nothing out of sync.

        Percentages are never used: `percent-in-sync` is rounded to 100.00 with bits still out
        of sync (drbd-utils user/v9/drbdsetup.c).
        """
        return (
            self.disk is DiskState.UP_TO_DATE
            and self.peer is not None
            and self.peer.connection is ConnectionState.CONNECTED
            and self.peer.disk is DiskState.UP_TO_DATE
            and self.peer.replication is ReplicationState.ESTABLISHED
            and self.peer.out_of_sync_bytes == 0
        )

    def peer_has_all(self) -> bool:
        """The peer's copy holds every acknowledged write, also where this host's own does not:
        in sync; or the peer is the source of a resync to here; or this is a Primary without its
        disk, which writes to the peer's alone and connects to no other generation than the one
        that it has shown (drbd_receiver.c receive_uuids(), ed_uuid).
        """
        peer = self.peer
        if peer is None or peer.connection is not ConnectionState.CONNECTED:
            return False
        if peer.disk is not DiskState.UP_TO_DATE or peer.replication in _NOT_AGREED:
            return False
        if peer.replication in _TARGET_STATES:
            return True
        is_lost_here = self.role is Role.PRIMARY and self.disk in WITHOUT_DISK
        return is_lost_here or self.in_sync()
