"""What the two hosts of a pair must have configured alike, and where they do not."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from storage_agent.model.configuration import COMPARE_PORT, AgentConfig
from storage_agent.model.finding import Finding, blocker
from storage_agent.model.wire import to_wire

ABSENT = "not configured"
NAMED = 5
# A longer value stands there by its beginning and a digest of the whole.
LONG = 60
_BEGINNING = 36

PAIR_FOLDER = "/etc/storage-agent/pair"

Differing = dict[str, tuple[str, str]]


class Silence(StrEnum):
    """Why the peer's agent has not said what it has configured. SECRET_UNUSABLE: this host's own.
    REFUSED: nobody listens there.  UNREACHABLE: no answer in time.  TURNED_AWAY: before a word,
    because of the address.  DISBELIEVED: no answer that proves the secret."""

    SECRET_UNUSABLE = "secret-unusable"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    TURNED_AWAY = "turned-away"
    DISBELIEVED = "disbelieved"


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """What this host and its peer have configured of a volume, as their agents compare it.

    has_secret: without one (`storage-agent pair-secret`) nothing is compared.  asked: address and
    port of the peer's agent.  silence: why that gave no answer, null where it did.  detail: the
    same in the system's words.  peer_version: of its agent.  differing: by key, as it is written
    in the file, this host's value and the peer's.  refusal: the first thing that a promotion on the
    peer would be refused for, as its agent says; empty where nothing is.
    """

    has_secret: bool
    asked: str = ""
    silence: Silence | None = None
    detail: str = ""
    peer_version: str = ""
    differing: dict[str, tuple[str, str]] = field(default_factory=dict)
    refusal: str = ""


def differences(one: AgentConfig, other: AgentConfig, volume: str) -> Differing:
    """By key, as it is written in the file, with both values. Of this volume and of the hosts: what
    another volume is configured with does not concern it."""
    return different(shared(one, volume), shared(other, volume))


def different(mine: Mapping[str, str], theirs: Mapping[str, str]) -> Differing:
    """Of what `shared` gives on two hosts."""
    keys = dict.fromkeys((*mine, *theirs))
    pairs = {key: (mine.get(key, ABSENT), theirs.get(key, ABSENT)) for key in keys}
    return {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}


def shared(config: AgentConfig, name: str) -> dict[str, str]:
    """Key and value of all that must agree. Not which host this is, nor the arrays' UUIDs, of which
    each host needs only its own.

    What a later version adds has a default, and is left out while it has that: hosts are upgraded
    one after the other, and the volume is to move between the two upgrades."""
    found = dict(_flat("hosts", to_wire(config.hosts)))
    if config.compare_port != COMPARE_PORT:
        found["compare_port"] = str(config.compare_port)
    volume = config.volumes.get(name)
    if volume is not None:
        found |= _flat(f"volumes.{name}", to_wire(volume))
    return {key: _brief(value) for key, value in found.items() if ".array.uuid" not in key}


def disagreement(volume: str, one: str, other: str, differing: Differing) -> Finding:
    """one, other: the hosts' names, in the order of the values."""
    named = [f"{key}: {one} {ours}, {other} {theirs}" for key, (ours, theirs) in differing.items()]
    more = f"; and {len(named) - NAMED} more" if len(named) > NAMED else ""
    return blocker(
        "CONFIG_DISAGREES",
        f"{one} and {other} have {volume} configured differently: {next(iter(differing))}",
        measured="; ".join(named[:NAMED]) + more,
        limit="the same on both hosts before one lets go",
        remedy="make them the same in agent.toml on both hosts, then there: storage-agent "
        "config check, and: systemctl reload storage-agentd",
    )


def secret_path(volume: str) -> str:
    """Of the secret that both hosts have for it."""
    return f"{PAIR_FOLDER}/{volume}.secret"


def copy_secret(volume: str, peer: str) -> str:
    """The command that brings it to the other host."""
    path = secret_path(volume)
    return f"scp -p {path} {peer}:{path}"


def _flat(key: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _flat(f"{key}.{name}", item)
    elif value is not None:
        yield key, json.dumps(value, ensure_ascii=False)


def _brief(value: str) -> str:
    if len(value) <= LONG:
        return value
    # Not for everybody who looks.
    import hashlib

    digest = hashlib.sha256(value.encode()).hexdigest()[:12]
    return f"{value[:_BEGINNING]}... (sha256 {digest})"
