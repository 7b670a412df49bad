"""What the kernel's DRBD objects say, gathered by resource, and the Replica they describe.

The text of `events2` and the JSON of `status` come down to the same four objects (resource,
device, connection, peer-device) with the same words; only the way there differs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

from storage_agent.host.drbd.version import is_version_9
from storage_agent.model.errors import ParseError
from storage_agent.model.replica import (
    ConnectionState,
    DiskState,
    PeerView,
    Replica,
    ReplicationState,
    Role,
)

Fields = Mapping[str, str]
AnyEnum = TypeVar("AnyEnum", bound=StrEnum)

KIB = 1024
WORD_LIMIT_CHARS = 40
_WORD = re.compile(r"[a-z][a-z-]{0,39}")
# More is no size in KiB that the wire could tell.
_NUMBER = re.compile(r"[0-9]{1,15}")
# Their Unknown is ours.
_WITHOUT_UNKNOWN = (ConnectionState, ReplicationState)
PEER_DEVICE_UNKNOWN = {"peer-disk": "DUnknown", "replication": "Off", "resync-suspended": "no"}


# (kind, peer-node-id, volume), empty where the kind has none. The connection's name is no part of
# it: 8.4 leaves it out while StandAlone.
ObjectKey = tuple[str, str, str]
Objects = dict[ObjectKey, dict[str, str]]
RESOURCE: ObjectKey = ("resource", "", "")


def of_kind(objects: Objects, kind: str) -> dict[ObjectKey, dict[str, str]]:
    return {key: fields for key, fields in objects.items() if key[0] == kind}


def build_replica(
    name: str, objects: Objects, *, driver_version: str, tool: str, peer: str = ""
) -> Replica | None:
    """None while the resource has no device: it is still being brought up or already gone, it
    holds no disk and `drbdadm up` completes it.

    peer: name of the other host, to be told from a third one. A word that DRBD did not know when
    this was written is unknown in its place (`Replica.unread`); so is one that is missing. Raises
    ParseError where it is not said which objects are meant.
    """
    read = _Reader(tool, name)
    if RESOURCE not in objects:
        raise read.wrong("the resource itself is missing", "")
    resource = objects[RESOURCE]
    devices = of_kind(objects, "device")
    if not devices:
        return None
    others = [f"volume {key[2]}" for key in sorted(devices) if key[2] != "0"]
    if ("device", "", "0") not in devices:
        raise read.wrong("there is no volume 0", " ".join(others))
    device = devices["device", "", "0"]
    role = read.enum(Role, resource, "role", Role.UNKNOWN)
    if role is Role.UNKNOWN and not read.unread:
        # DRBD's own word, which it has for a peer only.
        read.unread.append("role 'Unknown'")
    connections = of_kind(objects, "connection")
    ours, strangers = _ours(connections, peer)
    view = None if ours is None else _peer(read, objects, ours)
    if not connections and not is_version_9(driver_version):
        # 8.4 always has the one connection and shows it StandAlone in a snapshot, but its stream
        # says `destroy connection` on the way there.
        view = _standalone()
    return Replica(
        resource=name,
        minor=read.number(device, "minor"),
        driver_version=driver_version,
        role=role,
        disk=read.enum(DiskState, device, "disk", DiskState.DUNKNOWN),
        size_bytes=read.kib(device, "size") or None,
        suspended=_suspended(resource, device),
        peer=view,
        unread=tuple(read.unread),
        others=(*others, *(f"peer {stranger}" for stranger in strangers)),
    )


def _ours(
    connections: Mapping[ObjectKey, Fields], peer: str
) -> tuple[ObjectKey | None, tuple[str, ...]]:
    """Which connection is the pair's, and the names of the other ones. One alone is the pair's,
    whatever its name."""
    names = {key: fields.get("conn-name") or key[1] for key, fields in connections.items()}
    if len(names) == 1:
        return next(iter(names)), ()
    ours = [key for key, name in names.items() if name == peer]
    chosen = ours[0] if len(ours) == 1 else None
    return chosen, tuple(sorted(name for key, name in names.items() if key != chosen))


def _suspended(resource: Fields, device: Fields) -> tuple[str, ...]:
    """Why writes do not flow: whatever is not `no`. On 9 a lost quorum stops a secondary's
    promotion too, and `force-io-failures` ends writes with an error instead of freezing them."""
    words = _words(resource, "suspended")
    if device.get("quorum", "yes") != "yes" and "quorum" not in words:
        words = (*words, "quorum")
    if resource.get("force-io-failures", "no") != "no":
        words = (*words, "force-io-failures")
    return words


def _words(fields: Fields, key: str) -> tuple[str, ...]:
    """`no` is none, else words with commas between. One that is not known is passed on."""
    value = fields.get(key, "")
    if value == "no":
        return ()
    return tuple(word if _WORD.fullmatch(word) else "unknown" for word in value.split(","))


def _peer(read: _Reader, objects: Objects, key: ObjectKey) -> PeerView:
    connection = objects[key]
    # Created just after the connection, so a stream may be read between the two.
    peer_device = objects.get(("peer-device", key[1], "0"), PEER_DEVICE_UNKNOWN)
    unknown = ConnectionState.UNKNOWN
    return PeerView(
        connection=read.enum(ConnectionState, connection, "connection", unknown),
        role=read.enum(Role, connection, "role", Role.UNKNOWN, "peer role"),
        congested=connection.get("congested") == "yes",
        disk=read.enum(DiskState, peer_device, "peer-disk", DiskState.DUNKNOWN),
        replication=read.enum(
            ReplicationState, peer_device, "replication", ReplicationState.UNKNOWN
        ),
        out_of_sync_bytes=read.kib(peer_device, "out-of-sync"),
        resync_suspended=bool(_words(peer_device, "resync-suspended")),
    )


def _standalone() -> PeerView:
    return PeerView(
        connection=ConnectionState.STANDALONE,
        role=Role.UNKNOWN,
        disk=DiskState.DUNKNOWN,
        replication=ReplicationState.OFF,
        out_of_sync_bytes=None,
    )


@dataclass(slots=True)
class _Reader:
    """Reads one object's words; every complaint names the tool and the resource. unread: what was
    not known so far."""

    tool: str
    name: str
    unread: list[str] = field(default_factory=list)

    def wrong(self, problem: str, found: str) -> ParseError:
        return ParseError(self.tool, f"resource {self.name}: {problem}", found)

    def text(self, fields: Fields, key: str) -> str:
        if key not in fields:
            raise self.wrong(f"{key!r} is missing", " ".join(f"{k}:{v}" for k, v in fields.items()))
        return fields[key]

    def enum(
        self, kind: type[AnyEnum], fields: Fields, key: str, unknown: AnyEnum, label: str = ""
    ) -> AnyEnum:
        """label: the key's, where two objects have the same."""
        if key not in fields:
            self.unread.append(f"{label or key} missing")
            return unknown
        word = fields[key]
        is_known = word in set(kind) and (word != unknown or kind not in _WITHOUT_UNKNOWN)
        if not is_known:
            self.unread.append(f"{label or key} {word[:WORD_LIMIT_CHARS]!a}")
        return kind(word) if is_known else unknown

    def number(self, fields: Fields, key: str) -> int:
        value = self.text(fields, key)
        if not _NUMBER.fullmatch(value):
            raise self.wrong(f"{key} is not a number", value)
        return int(value)

    def kib(self, fields: Fields, key: str) -> int | None:
        """Bytes of a number that the tool prints in KiB. None: not said, or not in digits."""
        value = fields.get(key, "")
        return int(value) * KIB if _NUMBER.fullmatch(value) else None
