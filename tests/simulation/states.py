"""DRBD 8.4's states and what one implies for another (drbd_state.c). Pure."""

from __future__ import annotations

from storage_agent.model.replica import DiskState, ReplicationState, Role
from tests.simulation.handshake import RANK

STANDALONE, CONNECTING, REPORT = "StandAlone", "Connecting", "WFReportParams"
CONNECTED, SOURCE, TARGET = "Connected", "SyncSource", "SyncTarget"
WAIT_SOURCE, WAIT_TARGET = "WFBitMapS", "WFBitMapT"
WITH_PEER = frozenset({CONNECTED, SOURCE, TARGET, WAIT_SOURCE, WAIT_TARGET})
REPLICATION = {
    CONNECTED: ReplicationState.ESTABLISHED,
    SOURCE: ReplicationState.SYNC_SOURCE,
    TARGET: ReplicationState.SYNC_TARGET,
    WAIT_SOURCE: ReplicationState.WF_BITMAP_S,
    WAIT_TARGET: ReplicationState.WF_BITMAP_T,
}
UP_TO_DATE, CONSISTENT, OUTDATED = DiskState.UP_TO_DATE, DiskState.CONSISTENT, DiskState.OUTDATED
INCONSISTENT, DISKLESS, UNKNOWN = DiskState.INCONSISTENT, DiskState.DISKLESS, DiskState.DUNKNOWN
NEGOTIATING = DiskState.NEGOTIATING
GONE = (DISKLESS, DiskState.FAILED)
# What a connection of each kind allows: least and most of the own disk and of the peer's.
# drbd_state.c sanitize_state(), "Implications of the connection state on the disk states".
LIMITS = {
    WAIT_TARGET: (INCONSISTENT, OUTDATED, UP_TO_DATE, UP_TO_DATE),
    WAIT_SOURCE: (UP_TO_DATE, UP_TO_DATE, INCONSISTENT, CONSISTENT),
    TARGET: (INCONSISTENT, INCONSISTENT, UP_TO_DATE, UP_TO_DATE),
    SOURCE: (UP_TO_DATE, UP_TO_DATE, INCONSISTENT, INCONSISTENT),
}


class State:
    """union drbd_state, the part that matters here."""

    __slots__ = ("conn", "disk", "pdsk", "peer", "role", "susp")

    def __init__(self) -> None:
        self.role = Role.SECONDARY
        self.disk = DISKLESS
        self.conn = STANDALONE
        self.pdsk = UNKNOWN
        self.peer = Role.UNKNOWN
        self.susp = False

    def copy(self) -> State:
        new = State.__new__(State)
        new.role, new.disk, new.conn = self.role, self.disk, self.conn
        new.pdsk, new.peer, new.susp = self.pdsk, self.peer, self.susp
        return new

    def is_same(self, other: State) -> bool:
        """SS_NOTHING_TO_DO"""
        return all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    def with_peer(self) -> bool:
        return self.conn in WITH_PEER


def lost_contact(before: DiskState, after: DiskState) -> bool:
    """lost_contact_to_peer_data(), with the case that a frozen Primary meets a diskless peer."""
    if RANK[before] >= 4 and before not in (UNKNOWN, OUTDATED):
        return RANK[after] < 4 or after in (UNKNOWN, OUTDATED)
    return before is UNKNOWN and after in (DISKLESS, DiskState.FAILED, OUTDATED)


def between(disk: DiskState, low: DiskState, high: DiskState) -> DiskState:
    if RANK[disk] < RANK[low]:
        return low
    return high if RANK[disk] > RANK[high] else disk


# design.md section 5.2, in the words of the commands.
FORBIDDEN_WORDS = (
    "--force",
    "--discard-my-data",
    "resume-io",
    "create-md",
    "invalidate",
    "new-current-uuid",
    "umount -l",
    "umount -f",
    "--run",
    "--zero-superblock",
    "fsck",
)
