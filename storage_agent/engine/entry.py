"""One operation as its journal tells it: records, one a line, each sealed to those before it."""

from __future__ import annotations

import json
import re
import zlib
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from storage_agent.model.finding import Finding
from storage_agent.model.operation import OperationRecord, OperationRequest, OperationState
from storage_agent.model.plan import Plan, StepKind
from storage_agent.model.wire import from_wire, to_wire

LINES_REMEMBERED = 1024
_KINDS: dict[str, Any] = {
    "request": OperationRequest,
    "plan": Plan,
    "findings": tuple[Finding, ...],
    "record": OperationRecord,
}
# Last in its line. Of the line without it, after the seal of the line before.
_SEAL = re.compile(rb', "seal": "([0-9a-f]{8})"\}\Z')


@dataclass(slots=True, kw_only=True)
class Entry:
    """One operation as its journal tells it.

    number: counts the operations of this host; 0: of an earlier version, which did not count.
    host: whose journal it is; empty likewise.
    findings: what was known against it when it was decided, none of it a blocker.
    intended: steps begun, in order.  done: those whose goal was seen.
    undoing: why the plan failed, while it is being taken back.
    undone: steps whose undo was seen to hold.  record: set once it has ended.
    """

    request: OperationRequest
    boot_id: str
    accepted_wall_s: float
    number: int = 0
    host: str = ""
    plan: Plan | None = None
    epoch: int | None = None
    findings: tuple[Finding, ...] = ()
    intended: list[StepKind] = field(default_factory=list)
    done: list[StepKind] = field(default_factory=list)
    undoing: str = ""
    undone: list[StepKind] = field(default_factory=list)
    record: OperationRecord | None = None


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


def body_of(phase: str, fields: dict[str, object]) -> bytes:
    """One record, not yet sealed."""
    return json.dumps({"phase": phase, **{k: to_wire(v) for k, v in fields.items()}}).encode()


def sealed_after(name: str, content: bytes, bodies: list[bytes]) -> bytes:
    """These records as lines that follow content, which ends with a whole line or is empty."""
    seal = _last_seal(name, content)
    lines = []
    for body in bodies:
        seal = _next_seal(body, seal)
        lines.append(body[:-1] + b', "seal": "' + seal + b'"}\n')
    return b"".join(lines)


def parse(name: str, content: bytes) -> Entry | None:
    """None where not even the first line is whole. A last line without its newline was torn by a
    power cut: what it announced did not begin. Raises ValueError, KeyError, TypeError."""
    entry: Entry | None = None
    seal = _first_seal(name)
    for line in content.split(b"\n")[:-1]:
        body, own = _split(line)
        if own is None and entry is not None and entry.number:
            raise ValueError("a line has no seal")
        if own is not None:
            seal = _next_seal(body, seal)
            if own != seal:
                raise ValueError("its lines do not follow each other: some are lost or changed")
        entry = _apply(entry, _record(body))
    if entry is not None and f"operation-{entry.request.operation_id}" != name:
        raise ValueError(f"it tells of operation {entry.request.operation_id!a}")
    return entry


def _first_seal(name: str) -> bytes:
    return b"%08x" % zlib.crc32(name.encode())


def _next_seal(body: bytes, before: bytes) -> bytes:
    return b"%08x" % zlib.crc32(before + body)


def _last_seal(name: str, content: bytes) -> bytes:
    if not content:
        return _first_seal(name)
    _, own = _split(content.rstrip(b"\n").rpartition(b"\n")[2])
    # After a line without one nothing follows: it is found when it is read.
    return own or b""


def _split(line: bytes) -> tuple[bytes, bytes | None]:
    found = _SEAL.search(line)
    return (line, None) if found is None else (line[: found.start()] + b"}", found[1])


@lru_cache(LINES_REMEMBERED)
def _record(body: bytes) -> dict[str, Any]:
    """Nobody changes it: the same lines are read with each question about the history."""
    record: dict[str, Any] = json.loads(body)
    for key in _KINDS.keys() & set(record or ()):
        record[key] = from_wire(_KINDS[key], record[key])
    return record


def _apply(entry: Entry | None, record: dict[str, Any]) -> Entry:
    phase = record["phase"]
    if phase == "accepted":
        if entry is not None:
            raise ValueError("it begins twice")
        return Entry(
            request=record["request"],
            boot_id=record["boot_id"],
            accepted_wall_s=record["wall_s"],
            number=record.get("number", 0),
            host=record.get("host", ""),
        )
    if entry is None:
        raise ValueError("it does not begin with 'accepted'")
    if entry.record is not None and phase != "ended":
        raise ValueError(f"it goes on after its end, with {phase!r}")
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
