"""What the kernel's DRBD objects say, gathered by resource, and the Replica they describe.

The text of `events2` and the JSON of `status` come down to the same four objects (resource,
device, connection, peer-device) with the same words; only the way there differs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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
# drbd-utils user/v9/drbdsetup.c and user/v84/drbdsetup.c, `susp_str`.
SUSPENDED_WORDS = frozenset({"user", "no-data", "fencing", "quorum"})
RESYNC_WORDS = frozenset({"user", "peer", "dependency"})
PEER_DEVICE_UNKNOWN = {"peer-disk": "DUnknown", "replication": "Off", "resync-suspended": "no"}


# (kind, peer-node-id, volume), empty where the kind has none. The connection's name is no part of
# it: 8.4 leaves it out while StandAlone.
ObjectKey = tuple[str, str, str]
Objects = dict[ObjectKey, dict[str, str]]
RESOURCE: ObjectKey = ("resource", "", "")


def of_kind(objects: Objects, kind: str) -> dict[ObjectKey, dict[str, str]]:
    return {key: fields for key, fields in objects.items() if key[0] == kind}


def build_replica(name: str, objects: Objects, *, driver_version: str, tool: str) -> Replica | None:
    """None while the resource has no device: it is still being brought up or already gone, it
    holds no disk and `drbdadm up` completes it.

    Raises ParseError for what the model cannot say (a second volume, a second peer) and for a
    word that DRBD did not know when this was written.
    """
    read = _Reader(tool, name)
    if RESOURCE not in objects:
        raise read.wrong("the resource itself is missing", "")
    resource = objects[RESOURCE]
    devices = of_kind(objects, "device")
    if not devices:
        return None
    if set(devices) != {("device", "", "0")}:
        raise read.wrong("volumes other than 0", " ".join(sorted(key[2] for key in devices)))
    device = devices["device", "", "0"]
    role = read.enum(Role, resource, "role")
    if role is Role.UNKNOWN:
        raise read.wrong("own role unknown", role)
    return Replica(
        resource=name,
        minor=read.number(device, "minor"),
        driver_version=driver_version,
        role=role,
        disk=read.enum(DiskState, device, "disk"),
        size_bytes=read.kib(device, "size") or None,
        suspended=_suspended(read, resource, device),
        peer=_peer(read, objects, driver_version),
    )


def _suspended(read: _Reader, resource: Fields, device: Fields) -> tuple[str, ...]:
    """Why writes do not flow. On 9 a lost quorum stops a secondary's promotion too, and
    `force-io-failures` ends writes with an error instead of freezing them."""
    words = read.words(resource, "suspended", SUSPENDED_WORDS)
    if device.get("quorum") == "no" and "quorum" not in words:
        words = (*words, "quorum")
    if resource.get("force-io-failures") == "yes":
        words = (*words, "force-io-failures")
    return words


def _peer(read: _Reader, objects: Objects, driver_version: str) -> PeerView | None:
    connections = of_kind(objects, "connection")
    if not connections:
        # 8.4 always has the one connection and shows it StandAlone in a snapshot, but its
        # stream says `destroy connection` on the way there.
        return None if is_version_9(driver_version) else _standalone()
    if len(connections) > 1:
        raise read.wrong("more than one peer", " ".join(sorted(key[1] for key in connections)))
    (((_, node, _), connection),) = connections.items()
    # Created just after the connection, so a stream may be read between the two.
    peer_device = objects.get(("peer-device", node, "0"), PEER_DEVICE_UNKNOWN)
    has_bitmap = "out-of-sync" in peer_device
    return PeerView(
        connection=read.enum(ConnectionState, connection, "connection"),
        role=read.enum(Role, connection, "role"),
        congested=connection.get("congested") == "yes",
        disk=read.enum(DiskState, peer_device, "peer-disk"),
        replication=read.enum(ReplicationState, peer_device, "replication"),
        out_of_sync_bytes=read.kib(peer_device, "out-of-sync") if has_bitmap else None,
        resync_suspended=bool(read.words(peer_device, "resync-suspended", RESYNC_WORDS)),
    )


def _standalone() -> PeerView:
    return PeerView(
        connection=ConnectionState.STANDALONE,
        role=Role.UNKNOWN,
        disk=DiskState.DUNKNOWN,
        replication=ReplicationState.OFF,
        out_of_sync_bytes=None,
    )


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads one object's words; every complaint names the tool and the resource."""

    tool: str
    name: str

    def wrong(self, problem: str, found: str) -> ParseError:
        return ParseError(self.tool, f"resource {self.name}: {problem}", found)

    def text(self, fields: Fields, key: str) -> str:
        if key not in fields:
            raise self.wrong(f"{key!r} is missing", " ".join(f"{k}:{v}" for k, v in fields.items()))
        return fields[key]

    def enum(self, kind: type[AnyEnum], fields: Fields, key: str) -> AnyEnum:
        value = self.text(fields, key)
        try:
            return kind(value)
        except ValueError:
            raise self.wrong(f"unknown {key}", value) from None

    def number(self, fields: Fields, key: str) -> int:
        value = self.text(fields, key)
        if not (value.isascii() and value.isdigit()):
            raise self.wrong(f"{key} is not a number", value)
        return int(value)

    def kib(self, fields: Fields, key: str) -> int:
        """Bytes of a number that the tool prints in KiB."""
        return self.number(fields, key) * KIB

    def words(self, fields: Fields, key: str, known: frozenset[str]) -> tuple[str, ...]:
        """`no` is none, else words with commas between."""
        value = self.text(fields, key)
        if value == "no":
            return ()
        words = tuple(value.split(","))
        if not known.issuperset(words):
            raise self.wrong(f"unknown {key}", value)
        return words
