"""JSON-RPC 2.0, one object a line, over any channel of bytes: many requests at a time, each with
its answer, and notifications in between.

An agent is believed no more than it has to be: all that it sends is bounded (`decoding.py`), in
size and in number, and what is no answer ends the connection.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from storage_agent.coordinator.reaching.answers import told_by
from storage_agent.coordinator.reaching.decoding import decode
from storage_agent.model.bounds import cut
from storage_agent.model.errors import AgentError, Missing, OutcomeUnknown

LINE_LIMIT_BYTES = 1 << 20
# Of notifications that nobody has asked for one by one: so much at once, and so much each second.
NEWS_BURST_BYTES = 16 << 20
NEWS_BYTES_PER_S = 1 << 20
REQUEST_LIMIT_BYTES = 64 << 10
WAITING_LIMIT = 256

OnNotification = Callable[[str, Any], None]


class Unreachable(Missing):
    """There is no connection, nothing was asked."""

    default_code = "HOST_UNREACHABLE"


class Disconnected(OutcomeUnknown):
    """The connection ended before the answer: what was asked may or may not have happened."""

    default_code = "HOST_DISCONNECTED"


class Babbling(Disconnected):
    """The connection was ended because of what the host has sent: it would send the same again."""

    default_code = "HOST_BABBLES"


class Silent(OutcomeUnknown):
    """No answer by the deadline."""

    default_code = "HOST_SILENT"


class Channel(Protocol):
    """A connected, bounded-in-time stream of bytes (an SSH channel; a pipe in tests)."""

    def send(self, line: bytes) -> None:
        """Raises OSError, also where the other side takes nothing for too long."""
        ...

    def receive(self) -> bytes:
        """Blocks; empty at the end. Raises OSError."""
        ...

    def close(self) -> None:
        """Ends a `receive` that blocks in another thread."""
        ...

    def beside(self) -> Channel:
        """Another session of the same host, which ends with this one at the latest. Raises
        AgentError."""
        ...


class _RefusedError(Exception):
    """The other end takes no session, and has said why."""


class _Waiting:
    """One request on its way."""

    def __init__(self, on_notification: OnNotification | None) -> None:
        self.ended = threading.Event()
        self.answer: dict[str, Any] | None = None
        self.on_notification = on_notification


class Connection:
    """Safe to use from several threads; one thread of its own reads.

    name: of the host, for texts.  on_notification: called on the reading thread and must not
    block.  on_end: once, with why, when nothing more will come.
    """

    def __init__(
        self,
        name: str,
        channel: Channel,
        *,
        on_notification: OnNotification = lambda _method, _params: None,
        on_end: Callable[[str], None] = lambda _why: None,
    ) -> None:
        self._name = name
        self._channel = channel
        self._on_notification = on_notification
        self._on_end = on_end
        self._lock = threading.Lock()
        self._send_lock = threading.Lock()
        self._waiting: dict[int, _Waiting] = {}
        self._last_id = 0
        self._ended_by = ""
        self._is_babbling = False
        self._news_bytes = 0.0
        self._news_at_s = time.monotonic()
        threading.Thread(target=self._read, name=f"read {name}", daemon=True).start()

    def call(
        self,
        method: str,
        params: dict[str, Any],
        *,
        timeout_s: float,
        on_notification: OnNotification | None = None,
    ) -> Any:
        """The result of one request. on_notification: also gets what comes meanwhile.

        Raises the agent's own AgentError, Disconnected, Silent.
        """
        waiting = _Waiting(on_notification)
        number = self._register(waiting)
        try:
            self._send(number, method, params)
            if not waiting.ended.wait(timeout_s):
                raise Silent(
                    f"{self._name} did not answer {method} within {timeout_s:g} s",
                    remedy=f"on {self._name}: systemctl status storage-agentd",
                )
        finally:
            with self._lock:
                self._waiting.pop(number, None)
        if waiting.answer is None:
            raise self._disconnected()
        if waiting.answer.get("error") is not None:
            raise told_by(self._name, waiting.answer["error"])
        return waiting.answer.get("result")

    def call_beside(
        self,
        method: str,
        params: dict[str, Any],
        *,
        timeout_s: float,
        on_notification: OnNotification | None = None,
    ) -> Any:
        """As `call`, in a session of its own: an agent takes the next request of a session only
        when it has answered the one before."""
        beside = Connection(self._name, self._channel.beside())
        try:
            return beside.call(method, params, timeout_s=timeout_s, on_notification=on_notification)
        finally:
            beside.close()

    def is_open(self) -> bool:
        return not self._ended_by

    def close(self) -> None:
        self._end("closed here")

    def _register(self, waiting: _Waiting) -> int:
        with self._lock:
            if self._ended_by:
                raise self._disconnected()
            if len(self._waiting) >= WAITING_LIMIT:
                raise AgentError(f"{WAITING_LIMIT} requests to {self._name} wait already")
            self._last_id += 1
            self._waiting[self._last_id] = waiting
            return self._last_id

    def _send(self, number: int, method: str, params: dict[str, Any]) -> None:
        document = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        line = json.dumps(document, separators=(",", ":"), allow_nan=False).encode("ascii") + b"\n"
        if len(line) > REQUEST_LIMIT_BYTES:
            raise AgentError(f"the request {method} has {len(line)} bytes")
        try:
            with self._send_lock:
                self._channel.send(line)
        except OSError as exc:
            # Half a line may be out: nothing more can follow it.
            self._end(str(exc) or type(exc).__name__)
            raise self._disconnected() from exc

    def _disconnected(self) -> Disconnected:
        kind = Babbling if self._is_babbling else Disconnected
        return kind(
            f"the connection to {self._name} ended: {self._ended_by}",
            remedy=f"storage-coordinator status; ssh to {self._name} and look",
        )

    # --- the reading thread ---------------------------------------------------------------------

    def _read(self) -> None:
        buffer = bytearray()
        try:
            while chunk := self._channel.receive():
                buffer += chunk
                while (end := buffer.find(b"\n")) >= 0:
                    line = bytes(buffer[:end])
                    del buffer[: end + 1]
                    self._take(line)
                if len(buffer) > LINE_LIMIT_BYTES:
                    raise ValueError(f"a line longer than {LINE_LIMIT_BYTES} bytes")
            self._end("the host closed it")
        except (ValueError, RecursionError) as exc:
            self._is_babbling = True
            self._end(f"the host sent what is no answer: {cut(str(exc), 200)}")
        except _RefusedError as exc:
            self._end(str(exc))
        except OSError as exc:
            self._end(cut(str(exc), 200) or type(exc).__name__)
        except Exception as exc:
            self._end(cut(f"internal error: {type(exc).__name__}: {exc}", 200))

    def _take(self, line: bytes) -> None:
        """Raises ValueError, RecursionError, _RefusedError."""
        message = decode(line)
        if isinstance(method := message.get("method"), str):
            self._count(len(line))
            self._notify(method, message.get("params"))
            return
        number = message.get("id")
        if number is None and message.get("error") is not None:
            # Before any request: the gateway says why.
            raise _RefusedError(told_by(self._name, message["error"]).message)
        with self._lock:
            waiting = self._waiting.get(number) if type(number) is int else None
        # What nobody waits for any more came after its deadline.
        if waiting is not None:
            waiting.answer = message
            waiting.ended.set()

    def _count(self, size_bytes: int) -> None:
        """Raises ValueError where there is too much of it: reading it costs the other hosts."""
        now_s = time.monotonic()
        passed_s, self._news_at_s = now_s - self._news_at_s, now_s
        self._news_bytes = max(0.0, self._news_bytes - passed_s * NEWS_BYTES_PER_S) + size_bytes
        if self._news_bytes > NEWS_BURST_BYTES:
            raise ValueError("it does not stop telling news")

    def _notify(self, method: str, params: Any) -> None:
        with self._lock:
            listeners = [w.on_notification for w in self._waiting.values() if w.on_notification]
        for listener in (*listeners, self._on_notification):
            listener(method, params)

    def _end(self, why: str) -> None:
        with self._lock:
            if self._ended_by:
                return
            self._ended_by = why
            waiting = list(self._waiting.values())
        self._channel.close()
        for one in waiting:
            one.ended.set()
        self._on_end(why)


def unreachable(name: str, why: str) -> Unreachable:
    """The error for a host to which there is no connection."""
    return Unreachable(
        f"{name} cannot be reached: {cut(why, 200)}", remedy=f"storage-coordinator ping {name}"
    )
