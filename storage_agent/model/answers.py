"""The daemon's answers as typed values. Extra keys at the top of an answer are ignored, so that a
newer daemon can say more; what lies inside is decoded strictly."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeVar

from storage_agent.model import errors
from storage_agent.model.configuration import AgentConfig
from storage_agent.model.errors import AgentError
from storage_agent.model.finding import Finding
from storage_agent.model.operation import OperationRecord
from storage_agent.model.plan import Plan
from storage_agent.model.seal import Seal
from storage_agent.model.snapshot import HostSnapshot
from storage_agent.model.wire import WireError, from_wire

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What policy/readiness.py says of one volume. word: serving, ready, degraded or blocked."""

    word: str
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """An error as part of a healthy answer."""

    code: str
    message: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusAnswer:
    """agent_version: of the daemon; empty where the command looked by itself.  problems: of the
    agent itself.  epochs: by volume; None where the host has none it can read.
    coordinators, seals, rates: as in service.answers.Status.  config_digest: the same on both hosts
    of a healthy pair.  age_s: of the snapshot.  unreadable: volumes of which something is not
    understood; they are nowhere else then."""

    host: str
    agent_version: str
    snapshot: HostSnapshot
    readiness: dict[str, Verdict]
    operations: tuple[OperationRecord, ...]
    problems: tuple[Problem, ...] = ()
    epochs: dict[str, int | None] = field(default_factory=dict)
    coordinators: dict[str, str] = field(default_factory=dict)
    seals: dict[str, Seal | None] = field(default_factory=dict)
    config_digest: str = ""
    age_s: float = 0.0
    rates: dict[str, dict[str, float]] = field(default_factory=dict)
    unreadable: dict[str, AgentError] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanAnswer:
    plan: Plan
    digest: str
    findings: tuple[Finding, ...]


def parse_status(result: Any) -> StatusAnswer:
    """Raises AgentError (PROTOCOL) if the daemon speaks another version."""
    fields = _object(result)
    try:
        return StatusAnswer(
            host=str(fields["host"]),
            agent_version=str(fields.get("agent_version", "")),
            snapshot=from_wire(HostSnapshot, fields["snapshot"]),
            readiness={
                name: Verdict(word=str(item["verdict"]), findings=_findings(item["findings"]))
                for name, item in _object(fields["readiness"]).items()
            },
            operations=from_wire(tuple[OperationRecord, ...], fields["operations"]),
            problems=from_wire(tuple[Problem, ...], fields.get("problems", ())),
            epochs=from_wire(dict[str, int | None], fields.get("epochs", {})),
            coordinators=from_wire(dict[str, str], fields.get("coordinators", {})),
            seals=from_wire(dict[str, Seal | None], fields.get("seals", {})),
            config_digest=str(fields.get("config_digest", "")),
            age_s=from_wire(float, fields.get("age_s", 0.0)),
            rates=from_wire(dict[str, dict[str, float]], fields.get("rates", {})),
        )
    except (WireError, KeyError, TypeError) as exc:
        raise _foreign(exc) from exc


def parse_plan(result: Any) -> PlanAnswer:
    """Raises AgentError (PROTOCOL)."""
    fields = _object(result)
    try:
        return PlanAnswer(
            plan=from_wire(Plan, fields["plan"]),
            digest=str(fields["digest"]),
            findings=_findings(fields["findings"]),
        )
    except (WireError, KeyError, TypeError) as exc:
        raise _foreign(exc) from exc


def parse_config(result: Any) -> AgentConfig:
    """Of `config.show`. Raises AgentError (PROTOCOL)."""
    fields = _object(result)
    try:
        return from_wire(AgentConfig, fields["config"])
    except (WireError, KeyError, TypeError) as exc:
        raise _foreign(exc) from exc


def parse_record(result: Any) -> OperationRecord:
    """Raises AgentError (PROTOCOL)."""
    try:
        return from_wire(OperationRecord, result)
    except WireError as exc:
        raise _foreign(exc) from exc


def items_of(result: Any, *keys: str) -> list[dict[str, Any]]:
    """A list answer, bare or under one of `keys`. Raises AgentError (PROTOCOL)."""
    if isinstance(result, dict):
        result = next((result[key] for key in keys if key in result), None)
    if not isinstance(result, list) or not all(isinstance(item, dict) for item in result):
        raise _foreign("a list of objects is wanted")
    return result


def _findings(items: Any) -> tuple[Finding, ...]:
    return tuple(from_wire(Finding, item) for item in items)


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _foreign("an object is wanted")
    return value


def _foreign(why: object) -> AgentError:
    return AgentError(
        f"the daemon's answer is not understood: {why}",
        remedy="daemon and command are of different versions: "
        "systemctl restart storage-agentd.service",
        code="PROTOCOL",
    )


def parse_error(error: Any) -> AgentError:
    """A JSON-RPC error object as the typed error that it was in the daemon."""
    fields: dict[str, Any] = error if isinstance(error, dict) else {}
    given = fields.get("data")
    data: dict[str, Any] = given if isinstance(given, dict) else {}
    kinds: dict[int, type[AgentError]] = {
        kind.exit_status: kind
        for kind in (
            errors.OperationFailed,
            errors.UsageError,
            errors.Refused,
            errors.NotPermitted,
            errors.Busy,
            errors.OutcomeUnknown,
            errors.Missing,
            errors.ConfigurationError,
        )
    }
    try:
        findings = tuple(from_wire(Finding, item) for item in data.get("findings") or ())
    except WireError:
        findings = ()
    # No status of its own: a fault of the protocol, which means two versions that do not match.
    versions = "compare storage-agent --version with the daemon's: storage-agent status"
    status = data.get("exit_status")
    return kinds.get(status if type(status) is int else 1, errors.OperationFailed)(
        str(fields.get("message") or "the daemon reports an error without a text"),
        remedy=str(data.get("remedy") or ("" if "code" in data else versions)),
        code=str(data["code"]) if data.get("code") else "PROTOCOL",
        findings=findings,
    )
