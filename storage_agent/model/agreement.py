"""What the two hosts of a pair must have configured alike, and where they do not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from storage_agent.model.configuration import AgentConfig
from storage_agent.model.wire import to_wire

ABSENT = "not configured"


def differences(one: AgentConfig, other: AgentConfig, volume: str) -> dict[str, tuple[str, str]]:
    """By key, as it is written in the file, with both values. Of this volume and of the hosts: what
    another volume is configured with does not concern it."""
    mine, theirs = _shared(one, volume), _shared(other, volume)
    keys = dict.fromkeys((*mine, *theirs))
    pairs = {key: (mine.get(key, ABSENT), theirs.get(key, ABSENT)) for key in keys}
    return {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}


def _shared(config: AgentConfig, name: str) -> dict[str, str]:
    """Not which host this is, nor the arrays' UUIDs, of which each host needs only its own."""
    found = dict(_flat("hosts", to_wire(config.hosts)))
    volume = config.volumes.get(name)
    if volume is not None:
        found |= _flat(f"volumes.{name}", to_wire(volume))
    return {key: value for key, value in found.items() if ".array.uuid" not in key}


def _flat(key: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _flat(f"{key}.{name}", item)
    elif value is not None:
        yield key, json.dumps(value, ensure_ascii=False)
