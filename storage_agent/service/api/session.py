"""What a method handler sees of its caller. The server implements it; tests fake it."""

from __future__ import annotations

from typing import Protocol

from storage_agent.model.errors import AgentError
from storage_agent.service.api.access import Role
from storage_agent.service.api.rpc import Request


class Session(Protocol):
    """One connection. origin: who it is, for the audit.  key_id: of the SSH key, behind the
    gateway."""

    role: Role
    origin: str
    key_id: str
    is_subscribed: bool

    def take_pipes(self) -> None:
        """Those of the gateway's own session. Raises BadRequest."""
        ...


class Call(Protocol):
    """One request. All methods may be called from any thread and never block; after the caller
    has gone they do nothing."""

    @property
    def session(self) -> Session: ...

    @property
    def request(self) -> Request: ...

    def answer(self, result: object) -> None: ...

    def fail(self, error: AgentError) -> None: ...

    def notify(self, method: str, parameters: object) -> None: ...

    def sessions_of(self, key_id: str) -> int:
        """How many sessions this key has open."""
        ...

    def end_sessions_of(self, key_id: str) -> None: ...

    def take_place(self, role: Role, key_id: str) -> None:
        """Of those that the role has; another key's session may end for it. On the loop, before
        the session has the role. Raises Busy."""
        ...

    def is_wanted(self) -> bool:
        """Somebody still waits for the answer."""
        ...
