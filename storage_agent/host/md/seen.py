"""Which members each array was last seen to run with, kept across power cuts.

A mirror's half that had fallen out before the power cut says in its superblock that all was well;
only the half that went on knows better, and may be the one that is gone.
"""

from __future__ import annotations

import json
import threading
import time

from storage_agent.model.array import ArrayState, ArrayView, SeenMembers
from storage_agent.model.errors import OperationFailed
from storage_agent.model.ports import Store
from storage_agent.model.wire import WireError, from_wire, to_wire

_PREFIX = "members-"


class SeenRecords:
    """Files `members-VOLUME`. May be used by several threads. is_writer: false for looks without
    the daemon, which change nothing."""

    def __init__(self, store: Store, *, is_writer: bool) -> None:
        self._store = store
        self._is_writer = is_writer
        self._known: dict[str, SeenMembers | None] = {}
        self._lock = threading.Lock()

    def follow(self, volume: str, view: ArrayView) -> SeenMembers | None:
        """What is known after this look. Durable on return where it is new. A damaged file counts
        as none. Raises OperationFailed where it can neither be read nor removed."""
        with self._lock:
            if volume not in self._known:
                self._known[volume] = self._read(volume)
            known, now = self._known[volume], _members(view)
            if now is None or not self._is_writer or (known and _same(known, now)):
                return known
            self._known[volume] = self._write(volume, now)
            return self._known[volume]

    def _write(self, volume: str, now: SeenMembers) -> SeenMembers | None:
        """What cannot be kept is unknown: the note of before would be a lie after a power cut. A
        file can be removed where nothing can be written any more."""
        try:
            self._store.replace(_PREFIX + volume, json.dumps(to_wire(now)).encode())
            return now
        except OperationFailed:
            self._store.remove(_PREFIX + volume)
            return None

    def _read(self, volume: str) -> SeenMembers | None:
        content = self._store.read(_PREFIX + volume)
        try:
            return None if content is None else from_wire(SeenMembers, json.loads(content))
        except (WireError, ValueError):
            return None


def _members(view: ArrayView) -> SeenMembers | None:
    """None where that cannot be told: no array runs, or a member's serial is not known. An array
    that was never written to since it was started has made none of its members the newer one."""
    array = view.array
    unwritten = (ArrayState.READ_AUTO, ArrayState.READONLY)
    if array is None or not array.running() or array.state in unwritten:
        return None
    slotted = [m for m in array.members if m.has_place()]
    if not slotted or not all(member.serial for member in slotted):
        return None
    in_sync = tuple(m.serial for m in slotted if "in_sync" in m.state)
    rebuilding = tuple(m.serial for m in slotted if "in_sync" not in m.state)
    return SeenMembers(
        in_sync=tuple(sorted(in_sync)),
        rebuilding=tuple(sorted(rebuilding)),
        since_wall_s=time.time(),
    )


def _same(known: SeenMembers, now: SeenMembers) -> bool:
    return (known.in_sync, known.rebuilding) == (now.in_sync, now.rebuilding)
