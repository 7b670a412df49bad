"""An unfinished `create`: may it go on, and may exactly what it made be taken back? Pure.

Whatever is found that `create` did not write, or that somebody uses, is not touched: unknown means
no.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from storage_agent.model.array import ArrayView, Disk
from storage_agent.model.configuration import AgentConfig, VolumeConfig
from storage_agent.model.creation import JUST_CREATED, Creation, FileState, MadeView
from storage_agent.model.finding import Finding
from storage_agent.model.observed import Unobserved
from storage_agent.model.replica import (
    ConnectionState,
    DiskState,
    GenerationIdentifiers,
    Replica,
)
from storage_agent.model.snapshot import VolumeSnapshot
from storage_agent.policy.common import LOOKED_AT, blocker


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """An unfinished creation, and what there is of it. role: asked for now."""

    creation: Creation
    made: MadeView
    snapshot: VolumeSnapshot
    role: str

    def members(self) -> frozenset[str]:
        """Serials of the disks that carry its array."""
        view = self.snapshot.array
        if not isinstance(view, ArrayView):
            return frozenset()
        blocks = (b for b in view.attached if b.array_uuid == self.creation.array_uuid)
        return frozenset(block.serial for block in blocks)

    def has(self, disk: Disk) -> bool:
        """Nothing but its own array has this disk."""
        view = self.snapshot.array
        array = view.array if isinstance(view, ArrayView) else None
        own = {array.name} if array and array.uuid == self.creation.array_uuid else set()
        is_free = not disk.mounted_at and not disk.partitions and own.issuperset(disk.holders)
        return disk.serial in self.members() and is_free


def unfinished_findings(volume: VolumeConfig, creation: Creation) -> tuple[Finding, ...]:
    """For every other operation: a volume that is half made must not come to hold data."""
    return (
        blocker(
            "CREATION_UNFINISHED",
            f"create {volume.name} --{creation.role} has begun on this host and was not brought "
            "to its end",
            measured=f"operation {creation.operation_id}",
            limit="a volume that is made",
            remedy=_go_on(volume, creation),
        ),
    )


def going_on_findings(
    config: AgentConfig, volume: VolumeConfig, begun: Begun
) -> tuple[Finding, ...]:
    """What keeps `create` from going on; `--abandon` may still be possible."""
    return (
        *_unlike(config, volume, begun),
        *_partial(volume, begun),
        *_overtaken(volume, begun),
    )


def abandon_findings(
    volume: VolumeConfig, snapshot: VolumeSnapshot, begun: Begun | None
) -> tuple[Finding, ...]:
    """volume: as it was when `create` began. Use and service are asked in liveguard.py."""
    if begun is None:
        return (
            blocker(
                "NOTHING_TO_ABANDON",
                f"no create of {volume.name} is unfinished on {snapshot.host}",
                measured="none has begun, or it came to its end",
                limit="an unfinished create; a volume that is made is never taken back",
                remedy=f"see what it is: storage-agent status {volume.name}",
            ),
        )
    return (
        *_files(volume, begun),
        *_content(volume, begun),
        *_members(volume, begun),
        *_peer(volume, begun),
    )


def _unlike(config: AgentConfig, volume: VolumeConfig, begun: Begun) -> Iterator[Finding]:
    creation = begun.creation
    now = {
        "role": begun.role,
        "array": volume.array.uuid.get(config.host, ""),
        "filesystem": volume.filesystem.uuid or "",
        "disks": ", ".join(volume.array.disks.get(config.host, ())),
    }
    then = {
        "role": creation.role,
        "array": creation.array_uuid,
        "filesystem": creation.filesystem_uuid,
        "disks": ", ".join(creation.serials),
    }
    for what, value in then.items():
        if now[what] != value:
            yield blocker(
                "CREATION_CHANGED",
                f"create {volume.name} --{creation.role} is unfinished here, and was begun with "
                f"another {what}",
                measured=f"{what} now: {now[what] or 'none'}",
                limit=f"{what} then: {value or 'none'}",
                remedy=_go_on(volume, creation),
            )


def _partial(volume: VolumeConfig, begun: Begun) -> Iterator[Finding]:
    """mdadm was ended while it wrote the superblocks: it would not write over them again."""
    view, members = begun.snapshot.array, begun.members()
    if isinstance(view, Unobserved):
        yield _unseen("the array", view)
        return
    runs = view is not None and view.array is not None and view.array.running()
    if members and not runs and members != frozenset(begun.creation.serials):
        yield blocker(
            "CREATION_PARTIAL",
            f"create {volume.name} was ended while it made the array",
            measured=f"the new array is on {len(members)} of {len(begun.creation.serials)} disks",
            limit="on all of them, or on none",
            remedy=f"storage-agent create {volume.name} --abandon, then create it again",
        )


def _overtaken(volume: VolumeConfig, begun: Begun) -> Iterator[Finding]:
    """Only a copy that never met another one may be declared the good one, again."""
    replica, generation = begun.snapshot.replica, begun.made.generation
    if begun.role != "first" or replica is None:
        return
    if isinstance(replica, Unobserved):
        yield _unseen("the replica", replica)
        return
    if isinstance(generation, Unobserved):
        yield _unseen("DRBD's generation", generation)
        return
    is_connected = replica.peer and replica.peer.connection is ConnectionState.CONNECTED
    if generation is None or is_connected or is_untouched(generation):
        return
    yield blocker(
        "CREATION_OVERTAKEN",
        f"the unfinished copy of {volume.name} has met another one since, which may hold more",
        measured=f"generation {generation.current}, since {generation.bitmap}",
        limit="connected to the other copy, or never yet",
        remedy="let them connect, on both hosts: storage-agent status; or give this one up: "
        f"storage-agent create {volume.name} --abandon",
    )


def is_untouched(generation: GenerationIdentifiers) -> bool:
    """Just made, or declared the good one once and not synced to anybody since: the end of a resync
    moves the bitmap's generation into the history.

    Being declared begins two generations where DRBD's worker is faster than the command
    (drbd_state.c after_state_ch(), drbd_nl.c drbd_set_role(); seen in the lab)."""
    current, bitmap = int(generation.current, 16) & ~1, int(generation.bitmap, 16) & ~1
    history = [int(older, 16) for older in generation.history]
    return JUST_CREATED in (current, bitmap) or (bool(history and bitmap) and not any(history))


def _files(volume: VolumeConfig, begun: Begun) -> Iterator[Finding]:
    files = begun.made.files
    if isinstance(files, Unobserved):
        yield _unseen("what files create wrote", files)
        return
    for path, state in files.items():
        if state is FileState.CHANGED:
            yield blocker(
                "CREATION_CHANGED",
                f"/{path} is not as create {volume.name} wrote it",
                measured="another content",
                limit="what was written, or no such file",
                remedy=f"look at it, and move it away: less /{path}; then: storage-agent create "
                f"{volume.name} --abandon",
            )


def _content(volume: VolumeConfig, begun: Begun) -> Iterator[Finding]:
    found = begun.made.signatures
    if isinstance(found, Unobserved):
        yield _unseen("what lies on the array", found)
        return
    ours = (volume.filesystem.type, volume.filesystem.uuid)
    for kind, uuid in found or ():
        if kind != "drbd" and (kind, uuid) != ours:
            yield blocker(
                "CREATION_CHANGED",
                f"{volume.array_device()} carries something that create did not write",
                measured=f"{kind} {uuid or 'without a UUID'}",
                limit=f"nothing, DRBD's metadata, or {ours[0]} {ours[1]}",
                remedy=f"see what it is: wipefs --no-act {volume.array_device()}",
            )


def _members(volume: VolumeConfig, begun: Begun) -> Iterator[Finding]:
    view, creation = begun.snapshot.array, begun.creation
    if isinstance(view, Unobserved):
        yield _unseen("the array", view)
        return
    if view is None:
        return
    if view.array is not None and view.array.uuid not in ("", creation.array_uuid):
        yield blocker(
            "CREATION_CHANGED",
            f"another array has the disks of {volume.name}",
            measured=f"{view.array.name}: array {view.array.uuid}",
            limit=f"array {creation.array_uuid}",
            remedy="see whose it is: cat /proc/mdstat",
        )
    if view.missing:
        yield blocker(
            "MEMBER_MISSING",
            f"disk {view.missing[0]} of {volume.name} is not attached",
            measured=f"no disk with the serial {view.missing[0]}",
            limit="every disk that create may have written to",
            remedy=f"attach it, then: storage-agent create {volume.name} --abandon",
        )


def _peer(volume: VolumeConfig, begun: Begun) -> Iterator[Finding]:
    replica = begun.snapshot.replica
    peer = replica.peer if isinstance(replica, Replica) else None
    is_connected = peer is not None and peer.connection is ConnectionState.CONNECTED
    has_all = is_connected and peer is not None and peer.disk is DiskState.UP_TO_DATE
    is_good = isinstance(replica, Replica) and replica.disk is DiskState.UP_TO_DATE
    if is_connected and is_good and not has_all:
        yield blocker(
            "CREATION_TAKEN_UP",
            f"the other host takes its copy of {volume.name} from this one",
            measured=f"connected, peer disk: {peer.disk if peer else ''}",
            limit="no copy that depends on this one",
            remedy=f"go on with it: {_again(volume, begun.creation)}; or first on the other "
            f"host: storage-agent create {volume.name} --abandon",
        )
    elif begun.made.is_pristine not in (True, None) and not has_all:
        yield blocker(
            "CREATION_HOLDS_DATA",
            f"the unfinished copy of {volume.name} may hold data",
            measured="its filesystem has been used, or that cannot be seen",
            limit="a filesystem that was never used, or a connected peer that has it all",
            remedy=f"go on with it: {_again(volume, begun.creation)}",
        )


def _again(volume: VolumeConfig, creation: Creation) -> str:
    if creation.role == "first":
        return f"storage-agent create {volume.name} --first"
    return f"storage-agent create {volume.name} --join"


def _go_on(volume: VolumeConfig, creation: Creation) -> str:
    return (
        f"go on with it: {_again(volume, creation)}; or take back what it made: "
        f"storage-agent create {volume.name} --abandon"
    )


def _unseen(what: str, view: Unobserved) -> Finding:
    return blocker(
        "UNOBSERVED",
        f"{what} could not be looked at",
        measured=view.reason,
        limit=LOOKED_AT,
        remedy="see what keeps the agent from looking: storage-agent doctor",
    )
