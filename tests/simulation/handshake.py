"""Who has the newer data? drbd_receiver.c drbd_uuid_compare() and drbd_sync_handshake() of the
in-tree 8.4.11, rule numbers as there. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from storage_agent.model.replica import DiskState, Role
from tests.simulation.disk import Metadata

RANK = {
    DiskState.DISKLESS: 0,
    DiskState.ATTACHING: 1,
    DiskState.FAILED: 2,
    DiskState.NEGOTIATING: 3,
    DiskState.INCONSISTENT: 4,
    DiskState.OUTDATED: 5,
    DiskState.DUNKNOWN: 6,
    DiskState.CONSISTENT: 7,
    DiskState.UP_TO_DATE: 8,
}
SPLIT_BRAIN = "Split-Brain detected but unresolved, dropping connection!"
SPLIT = 100
UNRELATED = 1000


@dataclass(frozen=True, slots=True)
class Hello:
    """P_UUIDS and P_STATE: what one side tells of itself."""

    role: Role
    disk: DiskState
    negotiating: DiskState
    current: int
    bitmap: int
    history: tuple[int, ...]
    crashed_primary: bool
    reply: bool = False


def compare(own: Metadata, peer: Hello, *, crashed: bool, role: Role, first: bool) -> int:
    """Positive: I am the source; negative: the target; 2: the whole disk; 100: split brain."""
    if own.current == peer.current:
        return _same_generation(own, peer, crashed=crashed, role=role, first=first)
    if own.current == peer.bitmap:  # rule 50
        return -1
    if own.current in peer.history:  # rule 60 (51 undoes a lost P_SYNC_UUID, not needed here)
        return -2
    if own.bitmap == peer.current:  # rule 70
        return 1
    if peer.current in own.history:  # rule 80
        return 2
    if own.bitmap and own.bitmap == peer.bitmap:  # rule 90
        return SPLIT
    mine, other = {*own.history, own.bitmap} - {0}, {*peer.history, peer.bitmap} - {0}
    return SPLIT if mine & other else UNRELATED  # rule 100


def _same_generation(own: Metadata, peer: Hello, *, crashed: bool, role: Role, first: bool) -> int:
    if own.bitmap and not peer.bitmap:  # rules 34, 36: was source, missed the end of the resync
        return 1
    if peer.bitmap and not own.bitmap:  # rules 35, 37
        return -1
    if not crashed and not peer.crashed_primary:  # rule 40: only a hiccup of the link
        return 0
    if Role.PRIMARY in (role, peer.role):  # rule 41
        if role is peer.role:
            return SPLIT
        return 1 if role is Role.PRIMARY else -1
    if crashed and peer.crashed_primary:
        return -1 if first else 1
    return 1 if crashed else -1


def decide(
    own: Metadata, peer: Hello, *, disk: DiskState, own_disk: DiskState, **facts: bool | Role
) -> int | str:
    """drbd_sync_handshake(). disk: mine, or the one that I would have (Negotiating).  own_disk:
    the one in my state.  Text: why to connect no further, StandAlone.  0: nothing to sync."""
    verdict = compare(own, peer, **facts)  # type: ignore[arg-type]
    theirs = peer.negotiating if peer.disk is DiskState.NEGOTIATING else peer.disk
    if verdict == UNRELATED:
        return "Unrelated data, aborting!"
    mine_bad, theirs_bad = disk is DiskState.INCONSISTENT, theirs is DiskState.INCONSISTENT
    if mine_bad != theirs_bad:
        far = 2 if abs(verdict) in (2, SPLIT) else 1
        verdict = -far if mine_bad else far
    if verdict == SPLIT:
        return SPLIT_BRAIN  # after-sb-*pri disconnect
    if verdict > 0 and RANK[disk] <= RANK[DiskState.INCONSISTENT]:
        return "I shall become SyncSource, but I am inconsistent!"
    is_serving = facts["role"] is Role.PRIMARY and RANK[own_disk] >= RANK[DiskState.CONSISTENT]
    if verdict < 0 and is_serving:
        return "I shall become SyncTarget, but I am primary!"  # rr-conflict disconnect
    return verdict
