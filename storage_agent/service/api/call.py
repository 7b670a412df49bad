"""One request on its way: what its handler answers, from whichever thread, reaches the caller over
the server's loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from storage_agent.model.errors import AgentError, NotPermitted
from storage_agent.service.api import rpc
from storage_agent.service.api.access import RightsLost, Role
from storage_agent.service.api.connection import Connection

OK = "ok"
"""The code of an answer that is no error."""


class Loop(Protocol):
    """What a call needs of its server."""

    def end(self, call: SocketCall, answer: Reply) -> None:
        """From any thread."""
        ...

    def post(self, action: Callable[[], None]) -> None: ...

    def notify(self, connection: Connection, line: bytes) -> None: ...

    def of_key(self, key_id: str) -> list[Connection]:
        """From any thread."""
        ...

    def drop(self, connection: Connection, why: str) -> None: ...

    def take_place(self, role: Role, key_id: str) -> None:
        """Raises Busy."""
        ...

    def has(self, connection: Connection) -> bool:
        """From any thread."""
        ...


@dataclass(frozen=True, slots=True)
class Reply:
    """closes: nothing more is taken from this caller."""

    line: bytes
    code: str
    closes: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketCall:
    """Implements Call: every answer goes over the loop, whichever thread gives it."""

    server: Loop
    session: Connection
    request: rpc.Request

    def answer(self, result: object) -> None:
        line = rpc.encode_answer(self.request.request_id, result)
        self.server.end(self, Reply(line, OK))

    def fail(self, error: AgentError) -> None:
        line = rpc.encode_error(self.request.request_id, error)
        # Who may not do what it asks for is not kept.
        is_unknown = isinstance(error, NotPermitted) and self.session.role is Role.NONE
        closes = is_unknown or isinstance(error, RightsLost)
        self.server.end(self, Reply(line, error.code, closes))

    def notify(self, method: str, parameters: object) -> None:
        line = rpc.encode_notification(method, parameters)
        self.server.post(lambda: self.server.notify(self.session, line))

    def sessions_of(self, key_id: str) -> int:
        return len(self.server.of_key(key_id))

    def end_sessions_of(self, key_id: str) -> None:
        for connection in self.server.of_key(key_id):
            self.server.post(partial(self.server.drop, connection, "its key was revoked"))

    def take_place(self, role: Role, key_id: str) -> None:
        self.server.take_place(role, key_id)

    def is_wanted(self) -> bool:
        return self.server.has(self.session)
