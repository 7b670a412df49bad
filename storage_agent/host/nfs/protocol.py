"""What goes over the supervisor's socket: one JSON line each way, one request a connection."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from storage_agent.host.nfs.adapter import RUN_FOLDER
from storage_agent.model.errors import (
    AgentError,
    Busy,
    CommandStuck,
    CommandTimeout,
    ConfigurationError,
    Missing,
    OperationFailed,
    OutcomeUnknown,
    UsageError,
)
from storage_agent.model.nfs import ServerState
from storage_agent.model.wire import WireError, from_wire, to_wire

LINE_LIMIT_BYTES = 1 << 20
# Of what a supervisor does: 2 protects the agent's folder on its volume, 3 contradicts no peer that
# may be right. It outlives an upgrade of the package; one in standby is started anew before use.
GENERATION = 3
# Kinds of error that keep their meaning for the caller; any other is an OperationFailed with the
# same code and text.
_RAISED: dict[str, type[AgentError]] = {
    kind.__name__: kind
    for kind in (
        Busy,
        CommandStuck,
        CommandTimeout,
        ConfigurationError,
        Missing,
        OutcomeUnknown,
        UsageError,
    )
}


class Verb(StrEnum):
    START = "start"
    LINK_UP = "link-up"
    LINK_DOWN = "link-down"
    STOP = "stop"
    PROVE = "prove"
    STATUS = "status"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """timeout_s: what the caller will wait; bounds the waits inside."""

    verb: Verb
    timeout_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """state: what the kernel shows after the verb.  processes: started for it.  detail: one line
    for people.  connections: of clients, as recorded for the next server.  generation: of the
    supervisor that answers; 1 where it does not say."""

    state: ServerState
    changed: bool = False
    duration_s: float = 0.0
    processes: int = 0
    detail: str = ""
    connections: tuple[str, ...] = ()
    generation: int = 1


def socket_path(volume: str, root: Path = Path("/")) -> Path:
    return root / RUN_FOLDER / f"{volume}.sock"


def encode_request(request: Request) -> bytes:
    return json.dumps(to_wire(request)).encode() + b"\n"


def decode_request(line: bytes) -> Request:
    """Raises WireError."""
    try:
        return from_wire(Request, json.loads(line))
    except ValueError as exc:
        raise WireError(f"not a request: {exc}") from exc


def encode_reply(answer: Reply | AgentError) -> bytes:
    if isinstance(answer, AgentError):
        fields = {"message": answer.message, "remedy": answer.remedy, "code": answer.code}
        return json.dumps({"error": {"kind": type(answer).__name__, **fields}}).encode() + b"\n"
    return json.dumps({"reply": to_wire(answer)}).encode() + b"\n"


def decode_reply(line: bytes, volume: str) -> Reply:
    """Raises the error that the supervisor met, or OutcomeUnknown for what is no answer."""
    try:
        content = json.loads(line)
        if "error" in content:
            raise _error(content["error"])
        return from_wire(Reply, content["reply"])
    except (WireError, ValueError, KeyError, TypeError) as exc:
        raise OutcomeUnknown(
            f"the supervisor of {volume}'s NFS server gave no proper answer ({exc})",
            remedy=f"systemctl status storage-agent-nfs@{volume}",
            code="NFS_SERVER_ANSWER",
        ) from exc


def _error(fields: dict[str, str]) -> AgentError:
    kind = _RAISED.get(fields["kind"], OperationFailed)
    return kind(fields["message"], remedy=fields["remedy"], code=fields["code"])
