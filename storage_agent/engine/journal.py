"""What was intended, one file an operation, each record fsynced before the act it announces.

The kernel is the truth; the journal only says what this agent meant to do, so that after a
crash it knows which of the things it now sees are its own.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from storage_agent.model.errors import OperationFailed
from storage_agent.model.finding import Finding
from storage_agent.model.operation import OperationRecord, OperationRequest, OperationState
from storage_agent.model.plan import Plan, StepKind
from storage_agent.model.ports import Store
from storage_agent.model.wire import from_wire, to_wire

KEPT_OPERATIONS = 200
# Which of them are the oldest takes reading them all: not after each operation.
PRUNED_AT_ONCE = 50
LINES_REMEMBERED = 1024
_KINDS: dict[str, Any] = {
    "request": OperationRequest,
    "plan": Plan,
    "findings": tuple[Finding, ...],
    "record": OperationRecord,
}


@dataclass(slots=True, kw_only=True)
class Entry:
    """One operation as its journal tells it.

    findings: what was known against it when it was decided, none of it a blocker.
    intended: steps begun, in order.  done: those whose goal was seen.
    undoing: why the plan failed, while it is being taken back.
    undone: steps whose undo was seen to hold.  record: set once it has ended.
    """

    request: OperationRequest
    boot_id: str
    accepted_wall_s: float
    plan: Plan | None = None
    epoch: int | None = None
    findings: tuple[Finding, ...] = ()
    intended: list[StepKind] = field(default_factory=list)
    done: list[StepKind] = field(default_factory=list)
    undoing: str = ""
    undone: list[StepKind] = field(default_factory=list)
    record: OperationRecord | None = None


class Journal:
    """Append-only files `operation-ID` in the store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._noted: dict[str, bytes] = {}

    def write(self, operation_id: str, phase: str, **fields: object) -> None:
        """Durable on return, with what was noted. Raises OperationFailed where the state folder
        cannot be written."""
        line = self._noted.get(operation_id, b"") + _line(phase, fields)
        content = self._store.read(_name(operation_id)) or b""
        if content and not content.endswith(b"\n"):
            # A power cut tore the last record; what it announced did not begin.
            self._store.replace(_name(operation_id), content[: content.rfind(b"\n") + 1] + line)
        else:
            self._store.append(_name(operation_id), line)
        self._noted.pop(operation_id, None)

    def note(self, operation_id: str, phase: str, **fields: object) -> None:
        """Durable with the next record. For what was seen: after a crash it is seen again."""
        noted = self._noted.get(operation_id, b"")
        self._noted[operation_id] = noted + _line(phase, fields)

    def read(self, operation_id: str) -> Entry | None:
        """None where no such operation was ever accepted. Raises OperationFailed when damaged."""
        content = self._store.read(_name(operation_id))
        return None if content is None else _parse(_name(operation_id), content)

    def entries(self) -> tuple[Entry, ...]:
        """All readable operations, oldest first. A damaged file is left out here and named when
        it is asked for: it must not keep the agent from starting."""
        found = []
        for name in self._store.names("operation-"):
            content = self._store.read(name)
            try:
                entry = _parse(name, content or b"")
            except OperationFailed:
                continue
            if entry is not None:
                found.append(entry)
        return tuple(sorted(found, key=lambda entry: entry.accepted_wall_s))

    def prune(self) -> None:
        """Forgets the oldest ended operations beyond KEPT_OPERATIONS, PRUNED_AT_ONCE or more."""
        if len(self._store.names("operation-")) < KEPT_OPERATIONS + PRUNED_AT_ONCE:
            return
        ended = [entry for entry in self.entries() if entry.record is not None]
        for entry in ended[: max(0, len(ended) - KEPT_OPERATIONS)]:
            self._store.remove(_name(entry.request.operation_id))


def unfinished(journal: Journal) -> tuple[OperationRecord, ...]:
    """What was accepted and did not end, oldest first."""
    return tuple(resumed(entry) for entry in journal.entries() if entry.record is None)


def resumed(entry: Entry) -> OperationRecord:
    """What is told of an operation whose end is not known yet."""
    return OperationRecord(
        request=entry.request,
        state=OperationState.RUNNING,
        changed=bool(entry.intended),
        epoch=entry.epoch,
        message="interrupted, will be resumed",
        started_wall_s=entry.accepted_wall_s,
    )


def _line(phase: str, fields: dict[str, object]) -> bytes:
    record = json.dumps({"phase": phase, **{k: to_wire(v) for k, v in fields.items()}})
    return record.encode() + b"\n"


def _name(operation_id: str) -> str:
    return f"operation-{operation_id}"


def _parse(name: str, content: bytes) -> Entry | None:
    """A last line without its newline was torn by a power cut: what it announced did not begin."""
    lines = content.split(b"\n")[:-1]
    entry: Entry | None = None
    for line in lines:
        try:
            entry = _apply(entry, _record(line))
        except (ValueError, KeyError, TypeError) as exc:
            raise OperationFailed(
                f"the journal {name} is damaged: {exc}",
                remedy="look at the volume: storage-agent status; then move the file away",
                code="JOURNAL_DAMAGED",
            ) from exc
    return entry


@lru_cache(LINES_REMEMBERED)
def _record(line: bytes) -> dict[str, Any]:
    """Nobody changes it: the same lines are read with each question about the history."""
    record: dict[str, Any] = json.loads(line)
    for key in _KINDS.keys() & set(record or ()):
        record[key] = from_wire(_KINDS[key], record[key])
    return record


def _apply(entry: Entry | None, record: dict[str, Any]) -> Entry:
    phase = record["phase"]
    if phase == "accepted":
        return Entry(
            request=record["request"],
            boot_id=record["boot_id"],
            accepted_wall_s=record["wall_s"],
        )
    if entry is None:
        raise ValueError("it does not begin with 'accepted'")
    entry.findings = record.get("findings", entry.findings)
    if phase == "planned":
        entry.plan = record["plan"]
        entry.epoch = record["epoch"]
    elif phase == "epoch":
        entry.epoch = record["epoch"]
    elif phase == "intent":
        entry.intended.append(StepKind(record["step"]))
    elif phase == "undoing":
        entry.undoing = record["reason"]
    elif phase == "undone":
        entry.undone.append(StepKind(record["step"]))
    elif phase == "ended":
        entry.record = record["record"]
    elif phase == "done":
        entry.done.append(StepKind(record["step"]))
    elif phase != "undo-intent":
        raise ValueError(f"unknown phase {phase!r}")
    return entry
