"""One promote, demote, assemble or create: what was asked, and how far it has come."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from storage_agent.model.bounds import (
    EpochAndCounter,
    EpochNumber,
    HostAndVolume,
    HostName,
    Name,
    Options,
    Origin,
    VolumeName,
)
from storage_agent.model.finding import Finding
from storage_agent.model.plan import OperationKind, StepKind


class OperationState(StrEnum):
    """REFUSED: nothing was changed. ROLLED_BACK: everything done was undone again.
    FAILED: neither the goal nor the start was reached; `message` names where it stands."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    REFUSED = "refused"
    ROLLED_BACK = "rolled-back"
    FAILED = "failed"


class StepOutcome(StrEnum):
    RUNNING = "running"
    DONE = "done"
    ALREADY = "already"
    FAILED = "failed"
    UNDOING = "undoing"
    UNDONE = "undone"
    UNDO_FAILED = "undo-failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """operation_id: the operation that created it; empty for the first.  coordinator: the claim by
    which the only coordinator that is listened to has adopted the volume; empty for none."""

    number: int
    operation_id: str
    coordinator: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Marker:
    """The currency marker on a volume's filesystem: what whoever served it wrote last.

    (epoch, counter) only ever grows, so a copy whose marker is older than one that was seen
    before has lost writes, whatever its disk state says (LINBIT/drbd#145).
    """

    epoch: int
    counter: int
    operation_id: str
    host: str
    boot_id: str
    wall_s: float

    def age(self) -> tuple[int, int]:
        """Greater is newer."""
        return (self.epoch, self.counter)


SHUTDOWN_ORIGIN = "shutdown"
"""Of what the unit that stops first at a shutdown asks for: it speaks for the host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationRequest:
    """operation_id: chosen by the caller; the same id again gives the same answer.

    epoch: the ownership generation this operation creates; None: the next one (local admin).
    coordinator: who has given that epoch; see Epoch.
    expected_primary: host that the caller believes to be primary (compare-and-set).
    peer_is_off: name of the peer, by which a person or a fence agent declares it powered off.
    marker_at_least: (epoch, counter) of the newest currency marker that the caller knows of.
    marker_lost: HOST/VOLUME, by which a person says that the copy there is to be served, whatever
        its currency marker says.
    stop_serving: HOST/VOLUME, by which a person says that nobody shall be served after this.
    origin: who asked, for the audit; SHUTDOWN_ORIGIN: the host is going down in any case.
    options: see Plan.
    """

    kind: OperationKind
    volume: VolumeName
    operation_id: Name
    epoch: EpochNumber | None = None
    coordinator: Name = ""
    expected_primary: HostName | None = None
    peer_is_off: HostName | None = None
    marker_at_least: EpochAndCounter | None = None
    marker_lost: HostAndVolume | None = None
    stop_serving: HostAndVolume | None = None
    origin: Origin = ""
    options: Options = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord:
    kind: StepKind
    title: str
    outcome: StepOutcome
    duration_s: float | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationRecord:
    """What a caller sees of an operation at any moment, also long after it ended."""

    request: OperationRequest
    state: OperationState
    changed: bool
    epoch: int | None
    message: str
    remedy: str = ""
    findings: tuple[Finding, ...] = ()
    steps: tuple[StepRecord, ...] = ()
    started_wall_s: float = 0.0
    duration_s: float | None = None
