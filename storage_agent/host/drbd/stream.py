"""The `events2` stream, merged: what each resource looks like after everything read so far.

Pure: somebody else runs the process (`stream_argv`) and feeds what it prints. What the stream
cannot know is the out-of-sync count between two changes of state: observe for that.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from storage_agent.host.drbd.events import (
    OBJECT_KINDS,
    TOOL,
    Record,
    insert,
    merge,
    parse_record,
    remove,
)
from storage_agent.host.drbd.objects import Objects, build_replica
from storage_agent.model.errors import ParseError
from storage_agent.model.replica import Replica

LINE_LIMIT_BYTES = 64 << 10
# `path` (9 only) says which addresses are tried; the connection says what came of it.
IGNORED_KINDS = frozenset({"path"})
KNOWN_KINDS = OBJECT_KINDS | IGNORED_KINDS | {"helper"}


@dataclass(frozen=True, slots=True, kw_only=True)
class HelperCall:
    """The kernel called a handler (`fence-peer`, `before-resync-target` …), or it answered.

    exit_status: None for the call; negative where a signal ended the handler.
    """

    resource: str
    helper: str
    exit_status: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """What one `feed` brought.

    states: each state that a resource passed through, in order; None: no longer configured.
    Whoever judges a copy by its past must look at all of them: a disk may have failed and come
    back within one chunk.  resync: why the stream cannot be believed any more; end the process,
    `restart()`, start another. Empty while all is well.
    """

    states: tuple[tuple[str, Replica | None], ...]
    helpers: tuple[HelperCall, ...] = ()
    resync: str = ""

    def replicas(self) -> dict[str, Replica | None]:
        """The newest of each that changed."""
        return dict(self.states)


def stream_argv() -> tuple[str, ...]:
    """All resources; one process for the host. --statistics, because size and out-of-sync are
    statistics to DRBD."""
    return ("drbdsetup", "events2", "--statistics")


class EventStream:
    """Fed with chunks as they are read: whole lines, several, or parts of one.

    The kernel reports one change as several lines (connection, peer-device …) that arrive
    together; the state between two of them mixes old and new. It is never in sync when neither
    the state before nor the one after is, because `in_sync` needs all of them to agree.

    resources: those of interest; what other resources on the host do is not looked at.  peer: name
    of the other host.
    """

    def __init__(self, driver_version: str, resources: frozenset[str], peer: str = "") -> None:
        self.driver_version = driver_version
        self.resources = resources
        self.peer = peer
        # Kinds that this code does not know. Each forces one resync and is then let be, or a
        # newer driver would keep the stream restarting for ever.
        self.unknown_kinds: dict[str, int] = {}
        self.restart()

    def restart(self) -> None:
        """Forgets all: a new process begins with a new snapshot."""
        self._table: dict[str, Objects] = {}
        self._shown: dict[str, Replica | None] = {}
        self._rest = b""
        self._resync = ""
        self.complete = False

    def replicas(self) -> dict[str, Replica | None]:
        """As of the last update; empty before the snapshot is complete and after a resync."""
        return dict(self._shown)

    def feed(self, chunk: bytes | str) -> Update:
        """Takes in what was read. Never raises for what the stream says: what is not understood
        is a resync."""
        if self._resync:
            return Update(states=(), resync=self._resync)
        lines = (self._rest + (chunk.encode() if isinstance(chunk, str) else chunk)).split(b"\n")
        self._rest = lines.pop()
        states: list[tuple[str, Replica | None]] = []
        helpers: list[HelperCall] = []
        try:
            for line in lines:
                self._take(parse_record(line.decode("utf-8", "replace")), helpers)
                states += self._changes()
            if len(self._rest) > LINE_LIMIT_BYTES:
                raise ParseError(TOOL, "a line without end")
        except ParseError as exc:
            self.restart()
            self._resync = exc.message
            states = []
        return Update(states=tuple(states), helpers=tuple(helpers), resync=self._resync)

    def _take(self, record: Record, helpers: list[HelperCall]) -> None:
        if record.verb == "-":
            raise ParseError(TOOL, "events were lost", record.line)
        if record.kind == "-":
            self.complete = True
        elif record.kind not in KNOWN_KINDS:
            self._unknown_kind(record)
        elif record.kind in IGNORED_KINDS or record.key("name") not in self.resources:
            return
        elif record.kind == "helper":
            helpers.append(_helper_call(record))
        elif record.verb in ("exists", "create"):
            insert(self._table, record)
        elif record.verb == "change":
            merge(self._table, record)
        elif record.verb == "destroy":
            remove(self._table, record)
        else:
            raise ParseError(TOOL, "renamed, or something unknown", record.line)

    def _unknown_kind(self, record: Record) -> None:
        seen = self.unknown_kinds.get(record.kind, 0)
        self.unknown_kinds[record.kind] = seen + 1
        if self.complete and not seen:
            raise ParseError(TOOL, "an unknown kind of object", record.line)

    def _changes(self) -> list[tuple[str, Replica | None]]:
        """Of the resources that look otherwise than before; of all, when the snapshot ends."""
        if not self.complete:
            return []
        now = {name: self._build(name) for name in sorted(self.resources)}
        changes = [
            (name, replica)
            for name, replica in now.items()
            if name not in self._shown or self._shown[name] != replica
        ]
        self._shown = now
        return changes

    def _build(self, name: str) -> Replica | None:
        if name not in self._table:
            return None
        return build_replica(
            name,
            self._table[name],
            driver_version=self.driver_version,
            tool=TOOL,
            peer=self.peer,
        )


def _helper_call(record: Record) -> HelperCall:
    """`status` is the raw wait status: 1792 is 7 << 8. Raises ParseError."""
    status = record.fields.get("status")
    try:
        raw = None if status is None else int(status)
    except ValueError:
        raise ParseError(TOOL, "status is not a number", record.line) from None
    if raw is not None and raw >= 0:
        raw = os.waitstatus_to_exitcode(raw)
    return HelperCall(resource=record.key("name"), helper=record.key("helper"), exit_status=raw)
