"""`drbdsetup status --json` of the driver 9; the tool refuses `--json` on 8.4.

Source: drbd-utils user/v9/drbdsetup.c resource_status_json() and below.
"""

from __future__ import annotations

import json
import re
from typing import Any

from storage_agent.host.drbd.objects import (
    RESOURCE,
    SUSPENDED_WORDS,
    ObjectKey,
    Objects,
    build_replica,
)
from storage_agent.model.errors import ParseError
from storage_agent.model.replica import Replica

TOOL = "drbdsetup status --json"
# C prints rates and times as `nan` or `inf` at the very start of a resync; JSON knows neither.
_NOT_JSON = re.compile(r":\s*-?(?:nan|inf)\b", re.IGNORECASE)


def parse_status_json(text: str, resource: str, *, driver_version: str) -> Replica | None:
    """None: the resource is not configured in the kernel. Raises ParseError."""
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
    return build_replica(resource, objects, driver_version=driver_version, tool=TOOL)


def _no_repeated_key(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ParseError(TOOL, "a key twice", " ".join(key for key, _ in pairs))
    return values


def _objects(resource: dict[str, Any]) -> Objects:
    """The same objects, in the words that events2 uses."""
    objects: Objects = {
        RESOURCE: {
            "role": resource["role"],
            "suspended": _suspended(resource),
            "force-io-failures": _yes_no(resource.get("force-io-failures", False)),
        }
    }
    for device in resource["devices"]:
        words = {"minor": str(device["minor"]), "disk": device["disk-state"]}
        words["quorum"] = _yes_no(device.get("quorum", True))
        words["size"] = str(device.get("size", 0))
        _put(objects, ("device", "", str(device["volume"])), words)
    for connection in resource["connections"]:
        node = str(connection["peer-node-id"])
        words = {"connection": connection["connection-state"], "role": connection["peer-role"]}
        words["congested"] = _yes_no(connection.get("congested", False))
        _put(objects, ("connection", node, ""), words)
        for peer_device in connection["peer_devices"]:
            key = ("peer-device", node, str(peer_device["volume"]))
            _put(objects, key, _peer_device(peer_device))
    return objects


def _peer_device(peer_device: dict[str, Any]) -> dict[str, str]:
    words = {
        "replication": peer_device["replication-state"],
        "peer-disk": peer_device["peer-disk-state"],
        "resync-suspended": peer_device["resync-suspended"],
    }
    if "out-of-sync" in peer_device:
        words["out-of-sync"] = str(peer_device["out-of-sync"])
    return words


def _put(objects: Objects, key: ObjectKey, words: dict[str, str]) -> None:
    if key in objects:
        raise ParseError(TOOL, f"the same {key[0]} twice", " ".join(key))
    objects[key] = words


def _suspended(resource: dict[str, Any]) -> str:
    """events2's word for the four booleans. `suspended` alone, with no reason that is known
    here, is passed on and refused as an unknown word."""
    words = [
        word for word in sorted(SUSPENDED_WORDS) if _boolean(resource.get(f"suspended-{word}"))
    ]
    if not words and _boolean(resource["suspended"]):
        return "yes"
    return ",".join(words) or "no"


def _yes_no(value: object) -> str:
    return "yes" if _boolean(value) else "no"


def _boolean(value: object) -> bool:
    if value is None or isinstance(value, bool):
        return bool(value)
    raise ParseError(TOOL, "neither true nor false", repr(value))
