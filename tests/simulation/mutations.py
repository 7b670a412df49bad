"""What seeded bugs put in the place of the real code."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

from storage_agent.coordinator.deciding import arbiter
from storage_agent.coordinator.deciding.arbiter import State, decide_incident
from storage_agent.engine.epoch import EpochStore
from storage_agent.engine.journal import Journal
from storage_agent.engine.run import Run
from storage_agent.model.clock import Deadline
from storage_agent.model.finding import Finding
from storage_agent.model.observed import Unobserved
from storage_agent.model.operation import Epoch, OperationRecord, OperationState
from storage_agent.model.plan import StepKind
from storage_agent.model.snapshot import Attachment
from storage_agent.model.wire import to_wire
from storage_agent.operations import planners, steps
from storage_agent.policy import epoch as epoch_policy
from storage_agent.policy import evidence, promotion, standalone
from storage_agent.policy.agreement import agreement_findings
from storage_agent.policy.currency import currency_findings
from tests.simulation import handler
from tests.simulation.hunting import Patch
from tests.simulation.transfer import Transfer


def not_missed(*given: Any) -> tuple[Finding, ...]:
    """Of currency_findings: a marker that is gone was never there."""
    found = currency_findings(*given)
    return tuple(finding for finding in found if finding.code != "MARKER_GONE")


def only_known(volume: Any, snapshot: Any, peer: str, *, lets_go: bool) -> tuple[Finding, ...]:
    """Of agreement_findings: what was not looked at is no reason."""
    found = agreement_findings(volume, snapshot, peer, lets_go=lets_go)
    return () if isinstance(snapshot.agreement, Unobserved) else found


def nothing(*_args: object, **_more: object) -> tuple[()]:
    return ()


def by_number_of_words(text: str, minor: int = 0) -> str:
    """As if the protocol's letter were always there."""
    words = next(line.split() for line in text.splitlines() if line.strip().startswith(f"{minor}:"))
    if words[2].startswith("ro:Secondary"):
        return handler.SECONDARY
    return handler.FROZEN if words[5:] and words[5].startswith("s") else handler.PRIMARY


def without(*codes: str) -> Callable[..., Any]:
    original = promotion._unconnected
    return lambda *a: [f for f in original(*a) if f.code not in codes]


def definition(kind: StepKind, **changes: Any) -> Patch:
    return (steps.DEFINITIONS, kind, dataclasses.replace(steps.DEFINITIONS[kind], **changes))


def commands(kind: StepKind, command: str) -> Patch:
    return definition(kind, commands=lambda volume, host: (f"{command} {volume.name}",))


def plan(name: str, change: Callable[[list[StepKind]], list[StepKind]]) -> Patch:
    original = getattr(planners, name)
    return (planners, name, lambda *a: change(original(*a)))


def drop(*kinds: StepKind) -> Callable[[list[StepKind]], list[StepKind]]:
    return lambda plan: [k for k in plan if k not in kinds]


def swap(first: StepKind, second: StepKind) -> Callable[[list[StepKind]], list[StepKind]]:
    other = {first: second, second: first}
    return lambda plan: [other.get(k, k) for k in plan]


def journal_without(*phases: str) -> Patch:
    original = Journal.write

    def write(self: Journal, operation_id: str, phase: str, **fields: object) -> None:
        if phase not in phases:
            original(self, operation_id, phase, **fields)

    return (Journal, "write", write)


def journal_without_findings() -> Patch:
    original = Journal.write

    def write(self: Journal, operation_id: str, phase: str, **fields: object) -> None:
        original(self, operation_id, phase, **{k: v for k, v in fields.items() if k != "findings"})

    return (Journal, "write", write)


def epoch_in_cache(self: EpochStore, volume: str, epoch: Epoch) -> None:
    """As a replace() without fsync: a power cut takes it back."""
    store: Any = self._store
    machine = store._machine
    before = machine.files.get("epoch-data")
    _WRITE_EPOCH(self, volume, epoch)
    if hasattr(store, "_daemon"):
        machine.unsynced["epoch-data"] = machine.files["epoch-data"]
        machine.files["epoch-data"] = before


_WRITE_EPOCH = EpochStore.write


def no_undo(self: Run, volume: Any, cause: Any) -> OperationRecord:
    self.look(volume)
    return self.ended(OperationState.ROLLED_BACK, cause.message)


def refused_undo() -> Patch:
    original = Run._undo

    def undo(self: Run, volume: Any, cause: Any) -> OperationRecord:
        record = original(self, volume, cause)
        return dataclasses.replace(record, state=OperationState.REFUSED)

    return (Run, "_undo", undo)


def goes_on(self: Run, volume: Any) -> OperationRecord:
    assert self.entry.plan is not None
    return self._walk(volume, self.entry.plan)


def believes(self: Run, step: Any, volume: Any, deadline: Deadline) -> None:
    request = dataclasses.replace(self.entry.request, epoch=self.entry.epoch)
    self.host.perform(step, volume, request, deadline, self.tell)
    self.look(volume)


def ever_in_sync(record: Attachment, replica: Any) -> Attachment:
    if record.in_sync_until_loss or (replica is not None and replica.in_sync()):
        return Attachment(in_sync_until_loss=True)
    return record


def only_lost(record: Attachment, replica: Any) -> Attachment:
    if replica is not None and replica.stands_alone():
        return dataclasses.replace(record, connected=False)
    return evidence.follow(record, replica)


def at_once(record: Attachment, replica: Any) -> Attachment:
    fresh = evidence.follow(record, replica)
    return evidence.settled(fresh) if evidence.settles(fresh) else fresh


def waived_for_worse(volume: Any, snapshot: Any, replica: Any, *more: Any) -> tuple[Any, ...]:
    if replica.peer is not None and replica.peer.disk in promotion._KNOWN_WORSE:
        return ()
    return tuple(_UNCONNECTED(volume, snapshot, replica, *more))


_UNCONNECTED = promotion._unconnected


def resume_without_epoch(self: Run, volume: Any) -> OperationRecord:
    """As it was before the simulation found it."""
    self.performed = [k for k in self.entry.intended if k not in self.entry.undone]
    self.look(volume)
    assert self.entry.plan is not None
    if self.host.boot_id() != self.entry.boot_id:
        return self._after_reboot(volume)
    return self._walk(volume, self.entry.plan)


def glued(self: Journal, operation_id: str, phase: str, **fields: object) -> None:
    line = json.dumps({"phase": phase, **{k: to_wire(v) for k, v in fields.items()}})
    self._store.append(f"operation-{operation_id}", line.encode() + b"\n")


def only_lower(request: Any, known: Epoch, taken: int | None = None) -> Any:
    same = dataclasses.replace(known, operation_id=request.operation_id)
    return epoch_policy.epoch_findings(request, same, taken)


def only_what_follows(
    self: EpochStore, request: Any, number: int, then: Callable[[], None] = lambda: None
) -> None:
    then()


def to_both(state: State, incident: arbiter.Incident) -> arbiter.Decision:
    return decide_incident(dataclasses.replace(state, sole=None), incident)


def sole_forgotten(state: State, *args: Any, **more: Any) -> arbiter.Decision:
    return arbiter.decide_promotion(dataclasses.replace(state, sole=None), *args, **more)


def seen_once(state: State, host: str, *_: Any, is_in_sync: bool, **__: Any) -> State:
    is_over = is_in_sync and state.sole == host
    return dataclasses.replace(state, sole=None) if is_over else state


def what_is_shown(before: Any, after: Any, snapshot: Any) -> Any:
    told = standalone._shows_it(snapshot)
    return tuple(f for f in (*after, *before) if not told or f.code != "PEER_NOT_TOLD")


_ON_SYNC = Transfer._on_sync


def loses_a_block(self: Transfer, node: Any, blocks: Any) -> None:
    _ON_SYNC(self, node, tuple((key, None) for key, _ in blocks))


def fulfilled(volume: Any, snapshot: Any) -> str:
    return ""
