"""The daemon's socket as the command sees it: JSON-RPC 2.0, one object a line.

Imports no more than json and socket: monitors call `storage-agent status --json` every few
seconds. What only an error needs is imported when it happens.
"""

from __future__ import annotations

import json
import socket
import time
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from storage_agent.model.errors import AgentError

SOCKET_PATH = "/run/storage-agent/agent.sock"
CONNECT_TIMEOUT_S = 5.0
BACKLOG_POLL_S = 0.05
READ_TIMEOUT_S = 15.0
"""Reads are answered from the daemon's current snapshot; a plan observes first."""

TICK_S = 0.2
FRAME_LIMIT_BYTES = 32 << 20


class Disconnected(ConnectionError):
    """The daemon closed the connection before it answered."""


class Silent(TimeoutError):
    """The daemon sent nothing for as long as the caller was ready to wait."""


class Stream(Protocol):
    """What is used of a connected socket."""

    def settimeout(self, value: float | None, /) -> None: ...

    def sendall(self, data: bytes, /) -> None: ...

    def recv(self, bufsize: int, /) -> bytes: ...

    def close(self) -> None: ...


def connect(path: str = SOCKET_PATH) -> Client:
    """Raises OSError; the caller knows what FileNotFoundError or EACCES mean to a person."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(CONNECT_TIMEOUT_S)
        _wait_to_connect(sock, path)
    except OSError:
        sock.close()
        raise
    return Client(sock)


def _wait_to_connect(sock: socket.socket, path: str) -> None:
    """Also while more wait to be taken than the listener's backlog holds, where connect(2) says
    EAGAIN at once."""
    until_s = time.monotonic() + CONNECT_TIMEOUT_S
    while True:
        try:
            return sock.connect(path)
        except BlockingIOError:
            if time.monotonic() >= until_s:
                raise TimeoutError("too many wait") from None
            time.sleep(BACKLOG_POLL_S)


class Client:
    """One connection. `call` is one request and its answer, notifications in between."""

    def __init__(self, sock: Stream) -> None:
        self._socket = sock
        self._buffer = b""
        self._last_id = 0

    def close(self) -> None:
        self._socket.close()

    def call(
        self,
        method: str,
        params: dict[str, Any],
        *,
        silence_s: float = READ_TIMEOUT_S,
        on_notification: Callable[[str, Any], None] | None = None,
        on_tick: Callable[[], None] | None = None,
    ) -> Any:
        """The `result` of one request.

        silence_s: how long nothing at all may come.  on_tick: called about five times a second
        while waiting.  Raises AgentError (the daemon's own refusal), Disconnected, Silent.
        """
        self._last_id += 1
        request = {"jsonrpc": "2.0", "id": self._last_id, "method": method, "params": params}
        try:
            self._socket.settimeout(CONNECT_TIMEOUT_S)
            self._socket.sendall(json.dumps(request).encode() + b"\n")
        except TimeoutError:
            raise Silent("the daemon does not take the request") from None
        except ConnectionError:
            # It may have said why (not permitted) before it closed: that is still to be read.
            pass
        while True:
            message = self.receive(silence_s=silence_s, on_tick=on_tick)
            if "method" in message:
                if on_notification is not None:
                    on_notification(message["method"], message.get("params"))
            elif message.get("error") is not None:
                raise _remote_error(message["error"])
            elif message.get("id") == self._last_id:
                return message.get("result")

    def receive(
        self, *, silence_s: float, on_tick: Callable[[], None] | None = None
    ) -> dict[str, Any]:
        """The next object that the daemon sends. Raises Disconnected, Silent."""
        until_s = time.monotonic() + silence_s
        while (end := self._buffer.find(b"\n")) < 0:
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                raise Silent(f"no answer within {silence_s:g} s")
            self._socket.settimeout(min(left_s, TICK_S) if on_tick else left_s)
            try:
                chunk = self._socket.recv(1 << 16)
            except TimeoutError:
                if on_tick:
                    on_tick()
                continue
            except ConnectionError as exc:
                raise Disconnected(str(exc)) from exc
            if not chunk or len(self._buffer) > FRAME_LIMIT_BYTES:
                raise Disconnected("the connection ended before the answer")
            self._buffer += chunk
        frame, self._buffer = self._buffer[:end], self._buffer[end + 1 :]
        try:
            message = json.loads(frame)
        except ValueError as exc:
            raise Disconnected("the daemon sent something that is not JSON") from exc
        if not isinstance(message, dict):
            raise Disconnected("the daemon sent something that is not an object")
        return message


def _remote_error(error: Any) -> AgentError:
    from storage_agent.model.answers import parse_error

    return parse_error(error)
