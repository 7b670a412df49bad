"""What each operation consists of, in order."""

from __future__ import annotations

import dataclasses

from storage_agent.model.array import ArrayView
from storage_agent.model.configuration import VolumeConfig
from storage_agent.model.members import select
from storage_agent.model.operation import OperationRequest
from storage_agent.model.plan import OperationKind, Plan, Step, StepKind
from storage_agent.model.snapshot import VolumeSnapshot
from storage_agent.operations.steps import make_step
from storage_agent.policy.promotion import needs_grant, peer_is_primary


def make_plan(volume: VolumeConfig, snapshot: VolumeSnapshot, request: OperationRequest) -> Plan:
    """The plan from what was observed. Steps whose goal holds already are still in it: the
    engine sees that when it comes to them."""
    if request.kind in (OperationKind.ASSEMBLE, OperationKind.ASSEMBLE_DEGRADED):
        volume = _as_attached(volume, snapshot)
    kinds = {
        OperationKind.CREATE: _create,
        OperationKind.ABANDON: _abandon,
        OperationKind.ASSEMBLE: _assemble,
        OperationKind.ASSEMBLE_DEGRADED: _assemble_degraded,
        OperationKind.REMAKE: _remake,
        OperationKind.PROMOTE: _promote,
        OperationKind.DEMOTE: _demote,
        OperationKind.LEAVE: _leave,
        OperationKind.CLOSE_LINK: _close_link,
        OperationKind.OPEN_LINK: _open_link,
        OperationKind.STANDALONE: lambda *_: [StepKind.DISCONNECT],
        OperationKind.REJOIN: lambda *_: [StepKind.CONNECT],
        OperationKind.SPLIT_BRAIN: _split_brain,
    }[request.kind](volume, snapshot, request)
    return Plan(
        operation=request.kind,
        volume=volume.name,
        host=snapshot.host,
        steps=tuple(_step(kind, volume, snapshot.host, request) for kind in kinds),
        # What a person confirms is what is done, not how it was asked for.
        options={k: v for k, v in request.options.items() if k not in ("confirm", "wait_s")},
    )


def _step(kind: StepKind, volume: VolumeConfig, host: str, request: OperationRequest) -> Step:
    step = make_step(kind, volume, host)
    if kind is StepKind.WAIT_FOR_PEER:
        return dataclasses.replace(step, timeout_s=float(request.options["wait_s"]))
    return step


def _create(
    volume: VolumeConfig, snapshot: VolumeSnapshot, request: OperationRequest
) -> list[StepKind]:
    """first: this host's blank copy becomes the good one and gets the filesystem.
    join: this host receives it by DRBD's first sync."""
    first = request.options.get("role") == "first"
    # Made by an earlier create that was interrupted.
    is_there = _members(volume, snapshot) == frozenset(volume.array.disks[snapshot.host])
    kinds = [
        StepKind.WRITE_CONFIGURATION,
        StepKind.ASSEMBLE_ARRAY if is_there else StepKind.MAKE_ARRAY,
    ]
    if volume.replica:
        kinds += [StepKind.MAKE_METADATA, StepKind.REPLICA_UP]
        if first:
            kinds.append(StepKind.FIRST_PRIMARY)
    if first or not volume.replica:
        kinds.append(StepKind.MAKE_FILESYSTEM)
    if volume.replica and first:
        kinds.append(StepKind.SECONDARY)
    if volume.nfs:
        kinds.append(StepKind.PREPARE_SERVER)
    return kinds


def _abandon(
    volume: VolumeConfig, snapshot: VolumeSnapshot, request: OperationRequest
) -> list[StepKind]:
    """From the top down. What lies on the array is erased on the array; where it was never
    completed there is nothing on it."""
    kinds = [StepKind.REMOVE_SERVER] if volume.nfs else []
    if volume.replica:
        kinds += [StepKind.SECONDARY, StepKind.REPLICA_DOWN]
    members = _members(volume, snapshot)
    if members == frozenset(volume.array.disks[snapshot.host]):
        kinds += [StepKind.ASSEMBLE_ARRAY, StepKind.ERASE_CONTENT]
    if members:
        kinds += [StepKind.STOP_ARRAY, StepKind.ERASE_ARRAY]
    return [*kinds, StepKind.REMOVE_CONFIGURATION]


def _members(volume: VolumeConfig, snapshot: VolumeSnapshot) -> frozenset[str]:
    """Serials of the volume's disks that carry its array."""
    view, uuid = snapshot.array, volume.array.uuid.get(snapshot.host)
    if not isinstance(view, ArrayView):
        return frozenset()
    blocks = (block for block in view.attached if block.array_uuid == uuid)
    return frozenset(block.serial for block in blocks)


def _assemble(
    volume: VolumeConfig, snapshot: VolumeSnapshot, request: OperationRequest
) -> list[StepKind]:
    kinds = [StepKind.ASSEMBLE_ARRAY]
    if volume.replica:
        kinds += [StepKind.REPLICA_UP, StepKind.TAKE_OPTIONS]
    if volume.nfs:
        kinds.append(StepKind.PREPARE_SERVER)
    return kinds


def _assemble_degraded(
    volume: VolumeConfig, snapshot: VolumeSnapshot, request: OperationRequest
) -> list[StepKind]:
    """Where no member is absent any more there is nothing to be insisted on."""
    view = snapshot.array
    kinds = _assemble(volume, snapshot, request)
    if isinstance(view, ArrayView) and not select(volume.array, view, snapshot.host).is_whole():
        kinds[0] = StepKind.START_DEGRADED
    return kinds


def _as_attached(volume: VolumeConfig, snapshot: VolumeSnapshot) -> VolumeConfig:
    """With the members that are there in place of the configured ones."""
    view, host = snapshot.array, snapshot.host
    members = select(volume.array, view, host) if isinstance(view, ArrayView) else None
    if members is None or not members.chosen:
        return volume
    serials = tuple(block.serial for block in members.chosen)
    array = dataclasses.replace(volume.array, disks=volume.array.disks | {host: serials})
    return dataclasses.replace(volume, array=array)


def _remake(
    volume: VolumeConfig, snapshot: VolumeSnapshot, request: OperationRequest
) -> list[StepKind]:
    """Nothing is erased before the peer is seen to have it all."""
    kinds = [
        StepKind.SEE_GOOD_COPY,
        StepKind.GIVE_UP_COPY,
        StepKind.MAKE_METADATA,
        StepKind.REPLICA_UP,
    ]
    return [*kinds, StepKind.PREPARE_SERVER] if volume.nfs else kinds


def _promote(
    volume: VolumeConfig, snapshot: VolumeSnapshot, request: OperationRequest
) -> list[StepKind]:
    kinds = [StepKind.PREPARE_SERVER] if volume.nfs else []
    if volume.replica:
        if "wait_s" in request.options and peer_is_primary(snapshot):
            kinds.append(StepKind.WAIT_FOR_PEER)
        if needs_grant(volume, snapshot):
            kinds += [StepKind.GRANT_PROMOTION, StepKind.PRIMARY, StepKind.WITHDRAW_GRANT]
        else:
            kinds.append(StepKind.PRIMARY)
    kinds += [StepKind.READ_MARKER, StepKind.MOUNT, StepKind.WRITE_MARKER]
    if volume.nfs:
        kinds.append(StepKind.START_SERVER)
    if volume.services:
        kinds.append(StepKind.START_SERVICES)
    if volume.nfs:
        kinds += [StepKind.LINK_UP, StepKind.PROVE_EXPORT]
    return kinds


def _split_brain(
    volume: VolumeConfig, snapshot: VolumeSnapshot, request: OperationRequest
) -> list[StepKind]:
    """keep: waits for the other host to discard its copy.  discard: gives this host's up."""
    discards = request.options.get("choice") == "discard"
    return [StepKind.CONNECT_DISCARDING if discards else StepKind.CONNECT]


def _demote(
    volume: VolumeConfig, snapshot: VolumeSnapshot, request: OperationRequest
) -> list[StepKind]:
    kinds = [StepKind.LINK_DOWN] if volume.nfs else []
    if volume.services:
        kinds.append(StepKind.STOP_SERVICES)
    if volume.nfs:
        kinds.append(StepKind.STOP_SERVER)
    kinds.append(StepKind.UNMOUNT)
    if volume.replica:
        kinds.append(StepKind.SECONDARY)
    return kinds


def _leave(
    volume: VolumeConfig, snapshot: VolumeSnapshot, request: OperationRequest
) -> list[StepKind]:
    """The peer sees this copy go in order, so that it neither freezes nor waits for it."""
    return [StepKind.REPLICA_DOWN] if volume.replica else []


def _close_link(
    volume: VolumeConfig, snapshot: VolumeSnapshot, request: OperationRequest
) -> list[StepKind]:
    return [StepKind.LINK_DOWN]


def _open_link(
    volume: VolumeConfig, snapshot: VolumeSnapshot, request: OperationRequest
) -> list[StepKind]:
    return [StepKind.LINK_UP]
