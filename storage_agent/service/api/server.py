"""The daemon's main loop: one thread that serves all connections of the Unix socket.

It never blocks: what may take time runs elsewhere and posts its answer back. One request at a
time per connection; further ones wait in its buffer.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import threading
import weakref
from collections import deque
from collections.abc import Callable, Mapping

import structlog

from storage_agent.model.clock import Clock
from storage_agent.model.errors import AgentError, Busy
from storage_agent.service.api import rpc
from storage_agent.service.api.access import Peer, Role, rank, read_peer, role_at_connect
from storage_agent.service.api.call import Reply, SocketCall
from storage_agent.service.api.connection import Connection
from storage_agent.service.api.pace import RATES, Pace, Rate
from storage_agent.service.api.places import PLACES, is_full, who_makes_room
from storage_agent.service.api.session import Call, Session
from storage_agent.service.api.timer import Timer

# Taken in one turn of the loop.
ACCEPTED_AT_ONCE = 16
FAILURES_LIMIT = 20
# Out of descriptors or memory: accepting is put off, or the loop would spin.
ACCEPT_PAUSE_S = 0.5

# Who, what (None: a frame that is no request), and the code of the answer (OK or an error's).
Answered = Callable[[Session, rpc.Request | None, str], None]

log = structlog.get_logger()


class Server:
    """dispatch: gets each request as a Call, on the loop; must not block.  answered: is told of
    each answer, on the loop, for the audit.  lost_rights: why a session is to end, asked before
    each of its requests, on the loop.  rates: of each role's keys.

    Several threads may `post`; everything else happens on the thread that calls `run`.
    """

    def __init__(
        self,
        *,
        listener: socket.socket,
        dispatch: Callable[[Call], None],
        clock: Clock,
        gateway_uid: int | None = None,
        credentials: Callable[[socket.socket], Peer] = read_peer,
        answered: Answered = lambda *_: None,
        lost_rights: Callable[[Session], AgentError | None] = lambda _: None,
        rates: Mapping[Role, Rate] = RATES,
    ) -> None:
        self._answered = answered
        self._lost_rights = lost_rights
        self._pace = Pace(rates)
        self._listener = listener
        self._dispatch = dispatch
        self._clock = clock
        self._gateway_uid = gateway_uid
        self._credentials = credentials
        self._selector = selectors.DefaultSelector()
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        # Not in stop(): another thread may still write to it.
        weakref.finalize(self, os.close, self._wake_fd)
        self._posted: deque[Callable[[], None]] = deque()
        self._connections: set[Connection] = set()
        self._timers: list[Timer] = []
        self._is_stopping = False
        self._loop_thread = 0
        self._in_dispatch: SocketCall | None = None
        self._at_once: Reply | None = None
        self._accept_again_s = float("inf")
        # Have whole requests, and from when on their next one is taken.
        self._again: dict[Connection, float] = {}
        # No connection has a deadline before this.
        self._due_s = float("inf")
        listener.setblocking(False)
        self._selector.register(listener, selectors.EVENT_READ, self._accept)
        self._selector.register(self._wake_fd, selectors.EVENT_READ, self._wake)

    def post(self, action: Callable[[], None]) -> None:
        """Runs `action` on the loop soon. From any thread and from signal handlers."""
        self._posted.append(action)
        with contextlib.suppress(BlockingIOError):
            os.eventfd_write(self._wake_fd, 1)

    def every(self, period_s: float, action: Callable[[], None]) -> None:
        """Runs `action` on the loop again and again, first at once."""
        self._timers.append(Timer(period_s, action, self._clock.monotonic()))

    def stop(self) -> None:
        """Ends `run`. From any thread and from signal handlers."""
        self._is_stopping = True
        self.post(lambda: None)

    def run(self) -> None:
        """Serves until `stop`; then closes all connections."""
        self._loop_thread = threading.get_ident()
        try:
            failures = 0
            while not self._is_stopping:
                try:
                    self._turn()
                    failures = 0
                except Exception:
                    # One request must not end them all; what fails for ever must not spin.
                    failures += 1
                    if failures > FAILURES_LIMIT:
                        raise
                    log.exception("a turn of the loop failed, goes on")
        finally:
            for connection in tuple(self._connections):
                self.drop(connection, "")
            # Not the wake descriptor: other threads may still post, and its number is given anew.
            self._selector.close()

    def broadcast(self, method: str, parameters: object) -> None:
        """Sends a notification to every subscriber. On the loop only: others `post` it."""
        subscribers = [c for c in self._connections if c.is_subscribed]
        if subscribers:
            line = rpc.encode_notification(method, parameters)
            for connection in subscribers:
                self._send(connection, line)
                self._settle(connection)

    def _turn(self) -> None:
        for timer in self._timers:
            timer.run_if_due(self._clock.monotonic())
        if self._clock.monotonic() >= self._accept_again_s:
            self._accept_again_s = float("inf")
            self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        ready = self._selector.select(self._sleep_s())
        for key, _ in ready:
            if not isinstance(key.data, Connection):
                key.data()
        # One request of each, and who may do most comes first: the turn of a grant does not wait
        # for what others have sent ahead.
        for connection in sorted(self._due_again(), key=_order):
            self._settle(connection)
        of_connections = [event for event in ready if isinstance(event[0].data, Connection)]
        for key, mask in sorted(of_connections, key=lambda event: _order(event[0].data)):
            self._serve(key.data, key.fileobj, mask)
        self._run_posted()
        now_s = self._clock.monotonic()
        if now_s >= self._due_s:
            self._drop_overdue(now_s)

    def _due_again(self) -> list[Connection]:
        now_s = self._clock.monotonic()
        due = [connection for connection, at_s in self._again.items() if now_s >= at_s]
        for connection in due:
            del self._again[connection]
        return due

    def _drop_overdue(self, now_s: float) -> None:
        self._due_s = float("inf")
        for connection in tuple(self._connections):
            at_s, why = connection.deadline_s()
            if now_s >= at_s:
                self.drop(connection, why)
            else:
                self._due_s = min(self._due_s, at_s)

    def _sleep_s(self) -> float | None:
        if self._posted:
            # Left over from a turn that failed, after its wake-up was taken.
            return 0.0
        timers_s = (timer.due_s for timer in self._timers)
        at_s = min((self._accept_again_s, self._due_s, *timers_s, *self._again.values()))
        return None if at_s == float("inf") else max(0.0, at_s - self._clock.monotonic())

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._wake_fd)

    def _run_posted(self) -> None:
        # Only what is there now: an action that posts another must not keep the loop from turning.
        for _ in range(len(self._posted)):
            self._posted.popleft()()

    def _accept(self) -> None:
        for _ in range(ACCEPTED_AT_ONCE):
            try:
                sock, _ = self._listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as exc:
                log.warning("connection not accepted", error=str(exc))
                self._selector.unregister(self._listener)
                self._accept_again_s = self._clock.monotonic() + ACCEPT_PAUSE_S
                return
            self._take_in(sock)

    def _take_in(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        try:
            connection = self._admit(sock)
        except (AgentError, OSError) as exc:
            if isinstance(exc, AgentError):
                with contextlib.suppress(OSError):
                    sock.send(rpc.encode_error(None, exc))
            log.warning("connection refused", reason=str(exc))
            sock.close()
            return
        self._connections.add(connection)
        self._wait_for(connection)

    def _admit(self, sock: socket.socket) -> Connection:
        peer = self._credentials(sock)
        role = role_at_connect(peer, self._gateway_uid)
        if is_full(role, self._connections):
            raise _no_place(role)
        return Connection(sock, peer, role, self._clock.monotonic())

    def _serve(self, connection: Connection, stream: object, mask: int) -> None:
        if connection not in self._connections:
            return
        now_s = self._clock.monotonic()
        try:
            if not connection.carries(stream):
                raise ConnectionError("the gateway has ended")
            if mask & selectors.EVENT_WRITE:
                connection.write(now_s)
            if mask & selectors.EVENT_READ and connection.wants_read():
                connection.read(now_s)
        except OSError as exc:
            self.drop(connection, str(exc))
            return
        self._settle(connection)

    def _settle(self, connection: Connection) -> None:
        """Takes one frame that is there, then waits for what the connection wants next."""
        if connection in self._connections and connection.has_frame():
            now_s = self._clock.monotonic()
            at_s = self._pace.ask(connection.role, connection.key_id, now_s)
            if at_s <= now_s:
                self._take_next(connection)
            if connection in self._connections and connection.has_frame():
                self._again[connection] = at_s
        if connection not in self._connections:
            return
        if connection.is_finished() or (connection.is_ended and connection.is_subscribed):
            self.drop(connection, "")
            return
        self._wait_for(connection)

    def _take_next(self, connection: Connection) -> None:
        try:
            frame = connection.next_frame()
        except rpc.BadRequest as exc:
            # Where the next frame begins is not known any more.
            self._answered(connection, None, exc.code)
            self._send(connection, rpc.encode_error(None, exc))
            connection.closes_after_write = True
            return
        if frame is not None:
            self._take(connection, frame)

    def _wait_for(self, connection: Connection) -> None:
        self._due_s = min(self._due_s, connection.deadline_s()[0])
        wanted, registered = connection.wanted(), connection.registered
        if wanted == registered:
            return
        for stream in registered.keys() - wanted.keys():
            self._selector.unregister(stream)
        for stream, events in wanted.items():
            if stream not in registered:
                self._selector.register(stream, events, connection)
            elif events != registered[stream]:
                self._selector.modify(stream, events, connection)
        connection.registered = wanted

    def _take(self, connection: Connection, frame: bytes) -> None:
        try:
            request = rpc.decode_request(frame)
        except rpc.BadRequest as exc:
            self._answered(connection, None, exc.code)
            self._send(connection, rpc.encode_error(exc.request_id, exc))
            return
        connection.is_busy = True
        call = SocketCall(server=self, session=connection, request=request)
        self._in_dispatch, self._at_once = call, None
        try:
            if (lost := self._lost_rights(connection)) is not None:
                call.fail(lost)
            else:
                self._dispatch(call)
        except Exception:
            log.exception("a request broke off", method=request.method)
            call.fail(AgentError("the request broke off", code="INTERNAL"))
        self._in_dispatch = None
        if self._at_once is not None:
            self._conclude(call, self._at_once)

    def _send(self, connection: Connection, line: bytes) -> None:
        if connection in self._connections:
            try:
                connection.send(line, self._clock.monotonic())
            except (OSError, BufferError) as exc:
                self.drop(connection, str(exc))

    def end(self, call: SocketCall, answer: Reply) -> None:
        """From any thread. On the loop, while the call is being dispatched, without a detour."""
        if self._in_dispatch is call and threading.get_ident() == self._loop_thread:
            self._at_once = answer
        else:
            self.post(lambda: self._finish(call, answer))

    def _finish(self, call: SocketCall, answer: Reply) -> None:
        self._conclude(call, answer)
        if call.session in self._connections:
            self._settle(call.session)

    def _conclude(self, call: SocketCall, answer: Reply) -> None:
        self._send(call.session, answer.line)
        # After the answer to its hello, which the gateway itself reads.
        call.session.hand_over()
        call.session.is_busy = False
        call.session.closes_after_write |= answer.closes
        # Last: no caller waits for the journal, nor is left busy by it.
        self._answered(call.session, call.request, answer.code)

    def notify(self, connection: Connection, line: bytes) -> None:
        self._send(connection, line)
        if connection in self._connections:
            self._wait_for(connection)

    def end_lost_sessions(self) -> None:
        """On the loop: of those that may not ask again for long, as subscribers."""
        for connection in tuple(self._connections):
            if (lost := self._lost_rights(connection)) is not None:
                self.drop(connection, lost.message)

    def take_place(self, role: Role, key_id: str) -> None:
        """On the loop. Raises Busy."""
        if is_full(role, self._connections):
            one = who_makes_room(role, key_id, self._connections)
            if one is None:
                raise _no_place(role)
            self.drop(one, "its key has more sessions than another one")

    def has(self, connection: Connection) -> bool:
        return connection in self._connections

    def of_key(self, key_id: str) -> list[Connection]:
        # A copy: also called from other threads.
        return [c for c in tuple(self._connections) if c.key_id == key_id]

    def drop(self, connection: Connection, why: str) -> None:
        if connection not in self._connections:
            return
        if why:
            log.info("connection dropped", reason=why, origin=connection.origin)
        self._connections.discard(connection)
        self._again.pop(connection, None)
        for stream in connection.registered:
            self._selector.unregister(stream)
        connection.close()


def _order(connection: Connection) -> int:
    return -rank(connection.role)


def _no_place(role: Role) -> Busy:
    return Busy(
        f"{PLACES[role]} connections with the role {role} are open, no more are taken",
        remedy="try again in a moment",
        code="TOO_MANY_CONNECTIONS",
    )
