"""What each method takes. The classes are the contract: decoded by their type hints, closed to
unknown keys, and the source of any schema."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Annotated, Any

from storage_agent.model.bounds import (
    EpochAndCounter,
    EpochNumber,
    HostAndVolume,
    HostName,
    Name,
    VolumeName,
    Whole,
)
from storage_agent.model.key import KeyRole
from storage_agent.model.plan import OperationKind
from storage_agent.model.seal import SealFacts
from storage_agent.model.wire import BoundError, WireError, from_wire
from storage_agent.service.api.rpc import OUT_OF_BOUNDS, BadRequest

WAITING = frozenset({OperationKind.PROMOTE, OperationKind.ASSEMBLE})
WAIT_LIMIT_S = 600
HISTORY_LIMIT = 50
EVENTS_LIMIT = 1000
WaitSeconds = Annotated[int, Whole(0, WAIT_LIMIT_S)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Nothing:
    """No parameters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """The gateway's first request: the role and the name of the SSH key that it speaks for."""

    role: KeyRole
    key_id: Name


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyParameters:
    """Of `sessions.end`."""

    key_id: Name


class CreateRole(StrEnum):
    """first: makes the data.  join: takes it from the other host."""

    FIRST = "first"
    JOIN = "join"


class SplitBrainChoice(StrEnum):
    """keep: connects and waits for the other host to discard.  discard: gives this copy up."""

    KEEP = "keep"
    DISCARD = "discard"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanParameters:
    """Of `plan`. role: for create only.  choice: for split-brain only.  coordinator, wait_s: as
    in OperateParameters."""

    operation: OperationKind
    volume: VolumeName
    epoch: EpochNumber | None = None
    coordinator: Name | None = None
    expected_primary: HostName | None = None
    peer_is_off: HostName | None = None
    marker_at_least: EpochAndCounter | None = None
    marker_lost: HostAndVolume | None = None
    wait_s: WaitSeconds | None = None
    stop_serving: HostAndVolume | None = None
    role: CreateRole | None = None
    choice: SplitBrainChoice | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OperateParameters:
    """Of `promote`, `demote`, `leave`, `assemble`, `standalone` and `rejoin`. operation_id: chosen
    by the caller; the same one again joins the same operation. coordinator: with an epoch, and
    only then: the claim by which whoever has given it adopted the volume.  expected_primary: the
    host that the caller has seen as primary; refused where another one is seen to be.
    peer_is_off: the peer's name; a coordinator's word (role grant), or local root's.
    marker_at_least: epoch and counter of the newest currency marker that the caller knows.
    marker_lost: HOST/VOLUME whose copy is to be served whatever its marker says; local root only.
    stop_serving: HOST/VOLUME that nobody shall be served from any more; local root only.
    wait_s: for disks that are not attached yet (assemble), or for a connected peer to let go of
    the volume (promote).  confirm: the plan's digest; standalone where a coordinator
    arbitrates only."""

    volume: VolumeName
    operation_id: Name
    epoch: EpochNumber | None = None
    coordinator: Name | None = None
    expected_primary: HostName | None = None
    peer_is_off: HostName | None = None
    marker_at_least: EpochAndCounter | None = None
    marker_lost: HostAndVolume | None = None
    stop_serving: HostAndVolume | None = None
    wait_s: WaitSeconds | None = None
    confirm: Name | None = None


class IncidentVerdict(StrEnum):
    """The answers of model.incident that somebody can give."""

    CONTINUE = "continue"
    DENY = "deny"


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerParameters:
    """Of `incident.answer`. incident, boot_id: as `incident.list` shows them.  epoch: a new one,
    which the coordinator has recorded together with the verdict.  coordinator: the claim by which
    it has adopted the volume."""

    volume: VolumeName
    incident: Name
    boot_id: Name
    epoch: EpochNumber
    coordinator: Name
    verdict: IncidentVerdict


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantParameters:
    """Of `grant.promote`: that of the one `promote` which it allows."""

    volume: VolumeName
    epoch: EpochNumber
    coordinator: Name
    operation_id: Name


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmedParameters:
    """Of `abandon` (an unfinished `create`), `assemble-degraded` and `remake`. confirm: the plan's
    digest."""

    volume: VolumeName
    operation_id: Name
    confirm: Name


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochParameters:
    """Of `epoch.restore`."""

    volume: VolumeName
    number: EpochNumber


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimParameters:
    """Of `epoch.claim`. epoch: newer than any that this host has seen.  operation_id: of the
    claim; the same again is the same claim.  coordinator: the same, to adopt the volume: from then
    on this host listens to nobody else; or the claim by which it was adopted.  succeeds: adopts it
    from that coordinator only."""

    volume: VolumeName
    epoch: EpochNumber
    operation_id: Name
    coordinator: Name
    succeeds: Name | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeParameters:
    """Of `seal.show`."""

    volume: VolumeName


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofParameters:
    """name: of the file that a client has written in `.storage-agent/clients` of the export."""

    volume: VolumeName
    name: Name


@dataclass(frozen=True, slots=True, kw_only=True)
class SealParameters:
    """Of `seal.set`. epoch: the volume's newest.  coordinator: as in GrantParameters.  facts: as
    `seal.show` has given them, and as they must still be.  client: from where the export was
    proved."""

    volume: VolumeName
    epoch: EpochNumber
    coordinator: Name
    client: Name
    facts: SealFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateParameters:
    """confirm: the digest that `plan` gave for the same volume and role."""

    volume: VolumeName
    operation_id: Name
    role: CreateRole
    confirm: Name


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitBrainParameters:
    """confirm: the digest that `plan` gave for the same volume and choice."""

    volume: VolumeName
    operation_id: Name
    choice: SplitBrainChoice
    confirm: Name


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowParameters:
    """volume, epoch: of the operation, where the caller knows them: by them one that took an epoch
    long ago is told from one that never was."""

    operation_id: Name
    volume: VolumeName | None = None
    epoch: EpochNumber | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListParameters:
    """Newest first."""

    limit: Annotated[int, Whole(1, HISTORY_LIMIT)] = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class EventsParameters:
    """The newest, oldest of them first."""

    limit: Annotated[int, Whole(1, EVENTS_LIMIT)] = 100


def decode_parameters(kind: type, given: Mapping[str, Any]) -> Any:
    """Raises BadRequest that names the key."""
    known, required = _keys(kind)
    if unknown := sorted(given.keys() - known):
        remedy = f"known keys: {', '.join(known) or 'none'}"
        raise BadRequest("unknown-key", f"unknown key {unknown[0][:40]!a}", remedy=remedy)
    if missing := [name for name in required if name not in given]:
        raise BadRequest("missing-key", f"the key {missing[0]!a} is missing")
    try:
        return from_wire(kind, dict(given)) if known else kind()
    except BoundError as exc:
        raise BadRequest(OUT_OF_BOUNDS, str(exc)[:200]) from None
    except WireError as exc:
        raise BadRequest("bad-type", str(exc)[:199]) from None


@cache
def _keys(kind: type) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """All, and those without which it is no request."""
    fields = dataclasses.fields(kind)
    required = (field.name for field in fields if field.default is dataclasses.MISSING)
    return tuple(field.name for field in fields), tuple(required)


def coordinator_of(epoch: EpochNumber | None, coordinator: str | None) -> str:
    """What the engine takes: an epoch is somebody's. Raises BadRequest."""
    if (epoch is None) != (coordinator is None):
        raise BadRequest("missing-key", "the keys 'epoch' and 'coordinator' belong together")
    return coordinator or ""


def wait_options(kind: OperationKind, wait_s: int | None) -> dict[str, str]:
    """What the engine takes of a request's wait_s. Raises BadRequest."""
    if wait_s is None:
        return {}
    if kind not in WAITING:
        raise BadRequest("bad-type", "the key 'wait_s' is for promote and assemble")
    return {"wait_s": str(wait_s)}
