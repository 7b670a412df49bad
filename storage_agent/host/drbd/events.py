"""`drbdsetup events2`: the one machine-readable form that the drivers 8.4 and 9 share.

Source: drbd-utils user/v84/drbdsetup.c print_notifications(), user/v9/drbdsetup_events2.c.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from storage_agent.host.drbd.objects import RESOURCE, ObjectKey, Objects, build_replica
from storage_agent.model.errors import ParseError
from storage_agent.model.replica import Replica

TOOL = "drbdsetup events2"
# `-T` puts one before every line.
_TIMESTAMP = re.compile(r"\d{4}-\d{2}-\d{2}T\S+ ")
OBJECT_KINDS = frozenset({"resource", "device", "connection", "peer-device"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One line. `exists -` (end of the snapshot) has kind `-`; `- skipped 3` (lost events) has
    verb `-` and kind `skipped`; both have no fields."""

    verb: str
    kind: str
    fields: dict[str, str]
    line: str

    def key(self, name: str) -> str:
        """One of the words that say which object is meant. Raises ParseError."""
        if name not in self.fields:
            raise ParseError(TOOL, f"{name!r} is missing", self.line)
        return self.fields[name]


def parse_record(line: str) -> Record:
    """A word that is no `key:value` is left out. Raises ParseError for what is not `verb kind …`,
    and for a repeated key."""
    words = _TIMESTAMP.sub("", line, count=1).split()
    if len(words) < 2 or not line.isprintable():
        raise ParseError(TOOL, "not a record", line)
    verb, kind, *rest = words
    if "-" in (verb, kind):
        return Record(verb=verb, kind=kind, fields={}, line=line)
    fields: dict[str, str] = {}
    for word in rest:
        # Addresses (`local:ipv4:10.9.0.1:7789`) have more colons in the value.
        key, colon, value = word.partition(":")
        if key in fields:
            raise ParseError(TOOL, f"{key!r} twice", line)
        if colon:
            fields[key] = value
    return Record(verb=verb, kind=kind, fields=fields, line=line)


def parse_events2_now(
    text: str, resource: str, *, driver_version: str, peer: str = ""
) -> Replica | None:
    """The replica in the output of `events2 --now --statistics [RESOURCE]`, of either driver.
    peer: name of the other host.

    None: the resource is not configured in the kernel. Raises ParseError, also for output that
    is cut short: only `exists -` at the end proves that nothing is missing.
    """
    table: dict[str, Objects] = {}
    ended = False
    for line in text.splitlines():
        record = parse_record(line)
        if ended or record.verb != "exists":
            raise ParseError(TOOL, "unexpected in a snapshot", line)
        ended = record.kind == "-"
        if record.kind in OBJECT_KINDS:
            insert(table, record)
    if not ended:
        raise ParseError(TOOL, "the end of the snapshot is missing", text[-200:])
    if resource not in table:
        return None
    found = table[resource]
    return build_replica(resource, found, driver_version=driver_version, tool=TOOL, peer=peer)


def insert(table: dict[str, Objects], record: Record) -> None:
    """Takes in an object: `exists` in a snapshot, whose order is not relied on, `create` later.

    Raises ParseError for one that a snapshot has twice. `create` replaces: 8.4's one connection
    is in the snapshot when it is StandAlone, and created again by `connect`.
    """
    name, key = record.key("name"), _object_key(record)
    objects = table.setdefault(name, {})
    if key in objects and record.verb == "exists":
        raise ParseError(TOOL, f"the same {record.kind} twice", record.line)
    if key == RESOURCE and record.verb == "create":
        objects.clear()
    objects[key] = dict(record.fields)


def merge(table: dict[str, Objects], record: Record) -> None:
    """Takes in a `change`, which repeats only some of the words. Raises ParseError for an
    object that is not known."""
    known = table.get(record.key("name"), {}).get(_object_key(record))
    if known is None:
        raise ParseError(TOOL, f"a change of an unknown {record.kind}", record.line)
    known.update(record.fields)


def remove(table: dict[str, Objects], record: Record) -> None:
    """Takes in a `destroy`; for an object that is not there it changes nothing."""
    name, key = record.key("name"), _object_key(record)
    if key == RESOURCE:
        table.pop(name, None)
    elif name in table:
        table[name].pop(key, None)


def _object_key(record: Record) -> ObjectKey:
    node = record.key("peer-node-id") if record.kind in ("connection", "peer-device") else ""
    volume = record.key("volume") if record.kind in ("device", "peer-device") else ""
    return record.kind, node, volume
