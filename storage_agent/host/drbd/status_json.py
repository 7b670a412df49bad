"""`drbdsetup status --json` of the driver 9; the tool refuses `--json` on 8.4.

Source: drbd-utils user/v9/drbdsetup.c resource_status_json() and below.
"""

from __future__ import annotations

import json
import re
from typing import Any

from storage_agent.host.drbd.objects import (
    RESOURCE,
    ObjectKey,
    Objects,
    build_replica,
)
from storage_agent.model.errors import ParseError
from storage_agent.model.replica import Replica

TOOL = "drbdsetup status --json"
# C prints rates and times as `nan` or `inf` at the very start of a resync; JSON knows neither.
_NOT_JSON = re.compile(r":\s*-?(?:nan|inf)\b", re.IGNORECASE)


def parse_status_json(
    text: str, resource: str, *, driver_version: str, peer: str = ""
) -> Replica | None:
    """None: the resource is not configured in the kernel. peer: name of the other host. Raises
    ParseError."""
    try:
        resources = json.loads(_NOT_JSON.sub(": null", text), object_pairs_hook=_no_repeated_key)
        found = [item for item in resources if item["name"] == resource]
        if len(found) > 1:
            raise ParseError(TOOL, "a resource twice", resource)
        objects = _objects(found[0]) if found else None
    except (ValueError, TypeError, KeyError, AttributeError) as exc:
        raise ParseError(TOOL, f"not in the form that drbd-utils 9 prints ({exc!r})") from exc
    if objects is None:
        return None
    return build_replica(resource, objects, driver_version=driver_version, tool=TOOL, peer=peer)


def _no_repeated_key(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ParseError(TOOL, "a key twice", " ".join(key for key, _ in pairs))
    return values


def _objects(resource: dict[str, Any]) -> Objects:
    """The same objects, in the words that events2 uses; what is missing here is missing there."""
    words = _texts(resource, {"role": "role"})
    words["suspended"] = _suspended(resource)
    words["force-io-failures"] = _yes_no(resource.get("force-io-failures", False))
    objects: Objects = {RESOURCE: words}
    for device in resource["devices"]:
        words = _texts(device, {"minor": "minor", "disk": "disk-state", "size": "size"})
        words["quorum"] = _yes_no(device.get("quorum", True))
        _put(objects, ("device", "", str(device["volume"])), words)
    for connection in resource["connections"]:
        node = str(connection["peer-node-id"])
        keys = {"connection": "connection-state", "role": "peer-role", "conn-name": "name"}
        words = _texts(connection, keys)
        words["congested"] = _yes_no(connection.get("congested", False))
        _put(objects, ("connection", node, ""), words)
        for peer_device in connection["peer_devices"]:
            key = ("peer-device", node, str(peer_device["volume"]))
            _put(objects, key, _texts(peer_device, _PEER_DEVICE))
    return objects


_PEER_DEVICE = {
    "replication": "replication-state",
    "peer-disk": "peer-disk-state",
    "resync-suspended": "resync-suspended",
    "out-of-sync": "out-of-sync",
}


def _texts(found: dict[str, Any], keys: dict[str, str]) -> dict[str, str]:
    return {word: str(found[key]) for word, key in keys.items() if key in found}


def _put(objects: Objects, key: ObjectKey, words: dict[str, str]) -> None:
    if key in objects:
        raise ParseError(TOOL, f"the same {key[0]} twice", " ".join(key))
    objects[key] = words


def _suspended(resource: dict[str, Any]) -> str:
    """events2's word for the booleans `suspended-REASON`. `suspended` alone, with no reason, and
    what is neither true nor false, is some reason that is not known here."""
    begin = "suspended-"
    reasons = (key for key in sorted(resource) if key.startswith(begin))
    words = [key.removeprefix(begin) for key in reasons if resource[key] not in (False, None)]
    if not words and resource.get("suspended", "missing") is not False:
        return "unknown"
    return ",".join(words) or "no"


def _yes_no(value: object) -> str:
    known = {True: "yes", False: "no", None: "no"}
    return known.get(value, "unknown") if isinstance(value, bool | None) else "unknown"
