"""What an agent has answered, as typed values: what is not understood is that host's, and where it
is of one volume, that volume's alone.

An error that a host reports is its word, and told as such: whatever code it carries, it says that
this host refused, and never anything of this machine.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from storage_agent.model.answers import (
    PlanAnswer,
    StatusAnswer,
    parse_error,
    parse_plan,
    parse_record,
    parse_status,
)
from storage_agent.model.bounds import cut
from storage_agent.model.configuration import VolumeConfig
from storage_agent.model.errors import AgentError
from storage_agent.model.finding import Finding
from storage_agent.model.incident import IncidentAnswer
from storage_agent.model.observed import Unobserved
from storage_agent.model.operation import OperationRecord
from storage_agent.model.replica import Replica
from storage_agent.model.seal import Seal, SealFacts
from storage_agent.model.snapshot import VolumeSnapshot
from storage_agent.model.wire import WireError, from_wire

T = TypeVar("T")
MESSAGE_LIMIT_CHARS = 600
# Nonces and boot ids are UUIDs.
ID_LIMIT_CHARS = 64
_CODE = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
# What only this machine can say: of its record, its settings, and of reaching a host.
_OURS = ("STORE_", "RECORD_", "SETTINGS_", "HOST_", "INTERNAL", "INTERRUPTED", "PROTOCOL")


class NotUnderstood(AgentError):
    """The host has answered, and not with what was asked for."""

    default_code = "PROTOCOL"


def told_by(host: str, error: Any) -> AgentError:
    """A JSON-RPC error object as the typed error that it was at the agent, in the host's name."""
    told = parse_error(error)
    code, text = told.code, told.message
    if not _CODE.fullmatch(code):
        code = "PROTOCOL"
    elif code.startswith(_OURS) and code != "PROTOCOL":
        code, text = "HOST_CODE_FOREIGN", f"{code}: {text}"
    return type(told)(
        f"{host} says: {cut(text, MESSAGE_LIMIT_CHARS)}",
        remedy=cut(told.remedy, MESSAGE_LIMIT_CHARS),
        code=code,
        findings=told.findings,
    )


def status_of(host: str, result: Any) -> StatusAnswer:
    """Volumes of which something is not understood are in `unreadable`, and nowhere else. Raises
    NotUnderstood for what belongs to no volume."""
    unread: dict[str, AgentError] = {}
    answer = _understood(host, lambda: parse_status(_without_unread(host, result, unread)))
    if answer.host != host:
        raise _foreign(host, f"it is of {cut(answer.host, ID_LIMIT_CHARS)!a}")
    return replace(answer, unreadable=unread)


def _verdict(item: Any) -> None:
    if not isinstance(item, dict) or not isinstance(item.get("verdict"), str):
        raise WireError("a verdict is wanted")
    from_wire(_FINDINGS, item.get("findings"))


_FINDINGS: Any = tuple[Finding, ...]
_EPOCH: Any = int | None
_SEAL: Any = Seal | None
# What an answer of `status` has by volume.
_BY_VOLUME: dict[str, Callable[[Any], object]] = {
    "volumes": lambda item: from_wire(VolumeSnapshot, item),
    "readiness": _verdict,
    "epochs": lambda item: from_wire(_EPOCH, item),
    "coordinators": lambda item: from_wire(str, item),
    "seals": lambda item: from_wire(_SEAL, item),
}


def _without_unread(host: str, result: Any, unread: dict[str, AgentError]) -> Any:
    """The answer without the volumes that are not understood, which go to `unread`."""
    snapshot = result.get("snapshot") if isinstance(result, dict) else None
    if not isinstance(snapshot, dict) or not isinstance(result.get("operations"), list):
        return result
    places = {key: snapshot if key == "volumes" else result for key in _BY_VOLUME}
    tables: dict[str, dict[str, Any]] = {
        key: place[key] for key, place in places.items() if isinstance(place.get(key), dict)
    }
    for key, table in tables.items():
        for volume, item in table.items():
            _try(host, volume, _BY_VOLUME[key], item, unread)
    for record in result["operations"]:
        if (named := _volume_of(record)) is not None:
            _try(host, named, parse_record, record, unread)
    kept = {
        key: {volume: item for volume, item in table.items() if volume not in unread}
        for key, table in tables.items()
    }
    operations = [o for o in result["operations"] if _volume_of(o) not in unread]
    volumes = {"volumes": kept.pop("volumes")} if "volumes" in kept else {}
    return {**result, **kept, "operations": operations, "snapshot": {**snapshot, **volumes}}


def _volume_of(record: Any) -> str | None:
    request = record.get("request") if isinstance(record, dict) else None
    volume = request.get("volume") if isinstance(request, dict) else None
    return volume if isinstance(volume, str) else None


def _try(
    host: str,
    volume: str,
    read: Callable[[Any], object],
    item: Any,
    unread: dict[str, AgentError],
) -> None:
    try:
        read(item)
    except (WireError, AgentError) as exc:
        unread.setdefault(volume, _foreign(host, f"{cut(volume, ID_LIMIT_CHARS)}: {exc}"))


def plan_of(host: str, result: Any) -> PlanAnswer:
    return _understood(host, lambda: parse_plan(result))


def record_of(host: str, result: Any, operation_id: str) -> OperationRecord:
    """Of this operation, and of no other."""
    record = _understood(host, lambda: parse_record(result))
    if record.request.operation_id != operation_id:
        raise _foreign(host, "it is of another operation")
    return record


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedIncident:
    """What a host says of a frozen primary. epoch: None where it has no usable one."""

    incident: str
    boot_id: str
    epoch: int | None
    is_open: bool


def incidents_of(host: str, result: Any) -> dict[str, AskedIncident | AgentError]:
    """By volume: the first one of each, as an agent has one at most; what is not understood is an
    error of that volume. Raises NotUnderstood."""
    items = result.get("incidents") if isinstance(result, dict) else None
    if not isinstance(items, list):
        raise _foreign(host, "a list of incidents is wanted")
    found: dict[str, AskedIncident | AgentError] = {}
    for item in items:
        volume = item.get("volume") if isinstance(item, dict) else None
        if isinstance(volume, str) and volume not in found:
            found[volume] = _incident(host, item)
    return found


def _incident(host: str, item: dict[str, Any]) -> AskedIncident | AgentError:
    texts = [item.get(key) for key in ("incident", "boot_id", "answer")]
    if not all(isinstance(text, str) and 0 < len(text) <= ID_LIMIT_CHARS for text in texts):
        return _foreign(host, "an incident has no usable name, boot or answer")
    epoch = item.get("epoch")
    if epoch is not None and type(epoch) is not int:
        return _foreign(host, "an incident has an epoch that is no number")
    nonce, boot_id, answer = map(str, texts)
    return AskedIncident(
        incident=nonce, boot_id=boot_id, epoch=epoch, is_open=answer == IncidentAnswer.NONE
    )


def replica_of(host: str, result: Any) -> Replica | Unobserved | None:
    """As `epoch.claim` shows it."""
    kinds: Any = Replica | Unobserved | None
    found: Replica | Unobserved | None = _part(host, "its replica", kinds, result, "replica")
    return found


def facts_of(host: str, result: Any) -> SealFacts | None:
    kinds: Any = SealFacts | None
    found: SealFacts | None = _part(host, "what it would seal", kinds, result, "facts")
    return found


def config_of(host: str, result: Any, volume: str) -> VolumeConfig:
    """Of `config.show`."""
    return _part(host, f"its configuration of {volume}", VolumeConfig,
                 result, "config", "volumes", volume)  # fmt: skip


def arbitration_of(host: str, result: Any, volume: str) -> str:
    """As `config_of`, of an agent of any version."""
    what = f"its configuration of {volume}"
    return _part(host, what, str, result, "config", "volumes", volume, "arbitration")


def losses_of(host: str, result: Any, volume: str) -> list[float]:
    """When the connection was lost, by the host's own clock: newest last."""
    kinds: Any = tuple[Any, ...]
    events: tuple[Any, ...] = _part(host, "its events", kinds, result, "events")
    return [
        _part(host, "when something happened", float, event, "wall_s")
        for event in events
        if isinstance(event, dict)
        and event.get("volume") == volume
        and "replica connection Connected → " in str(event.get("text"))
    ]


def _part(host: str, what: str, kind: type[T], result: Any, *keys: str) -> T:
    try:
        for key in keys:
            result = result[key]
        return from_wire(kind, result)
    except (WireError, KeyError, TypeError) as exc:
        raise _foreign(host, f"it does not show {what}: {exc}") from exc


def _understood(host: str, read: Callable[[], T]) -> T:
    try:
        return read()
    except AgentError as exc:
        raise _foreign(host, exc.message.partition("not understood: ")[2] or exc.message) from exc


def _foreign(host: str, why: str) -> NotUnderstood:
    return NotUnderstood(
        f"the answer of {host} is not understood: {cut(why, MESSAGE_LIMIT_CHARS)}",
        remedy=f"do both speak the same version: on {host}: storage-agent --version; here: "
        "storage-coordinator --version",
    )
