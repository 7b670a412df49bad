"""The server in this process, on a Unix socket in a temporary folder.

These tests open sockets: they are about what goes over them.
"""

from __future__ import annotations

import contextlib
import errno
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from storage_agent.model.errors import NotPermitted, Refused
from storage_agent.service import connection, server
from storage_agent.service.access import Peer, Role
from storage_agent.service.session import Call
from tests.unit.service.parts import ThreadClock, wait_until

pytestmark = pytest.mark.sockets

PING = b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n'


class Bench:
    """A running server whose dispatch answers `ping`, keeps `slow` calls for the test, makes
    `subscribe` a subscription and refuses `refuse`."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "agent.sock"
        self.peer = Peer(pid=1, uid=0, gid=0)
        self.slow: list[Call] = []
        self.seen: list[str] = []
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(self.path))
        listener.listen(64)
        self.server = server.Server(
            listener=listener,
            dispatch=self.dispatch,
            clock=ThreadClock(),
            gateway_uid=990,
            credentials=lambda _: self.peer,
        )
        self.listener = listener
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()

    def dispatch(self, call: Call) -> None:
        method = call.request.method
        self.seen.append(method)
        if method == "slow":
            self.slow.append(call)
        elif method == "refuse":
            call.fail(Refused("no"))
        elif method == "forbidden":
            call.fail(NotPermitted("no"))
        elif method == "raise":
            raise ZeroDivisionError
        elif method == "large":
            call.answer("x" * 200_000)
        elif method == "subscribe":
            call.session.is_subscribed = True
            call.answer({})
        else:
            call.answer({"pong": str(call.session.role)})

    def close(self) -> None:
        self.server.stop()
        self.thread.join(5)
        self.listener.close()
        assert not self.thread.is_alive()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    try:
        yield made
    finally:
        made.close()


class Caller:
    def __init__(self, bench: Bench) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(5)
        self.socket.connect(str(bench.path))
        self.reader = self.socket.makefile("rb")

    def send(self, frame: bytes) -> None:
        self.socket.sendall(frame)

    def receive(self) -> Any:
        line = self.reader.readline()
        return json.loads(line) if line else None

    def is_closed(self) -> bool:
        """By the server. Waits for it."""
        with contextlib.suppress(ConnectionResetError):
            return self.reader.readline() == b""
        return True

    def close(self) -> None:
        self.reader.close()
        self.socket.close()


@pytest.fixture
def caller(bench: Bench) -> Iterator[Caller]:
    made = Caller(bench)
    yield made
    made.close()


def code_of(answer: Any) -> str:
    return str(answer["error"]["data"]["code"])


def test_a_request_gets_its_answer(caller: Caller) -> None:
    caller.send(PING)
    assert caller.receive() == {"jsonrpc": "2.0", "id": 1, "result": {"pong": "local"}}


def test_a_request_may_come_byte_by_byte(caller: Caller) -> None:
    for at in range(len(PING)):
        caller.send(PING[at : at + 1])
    assert caller.receive()["result"] == {"pong": "local"}


def test_requests_may_come_together_and_are_answered_in_order(caller: Caller) -> None:
    frames = [json.dumps({"jsonrpc": "2.0", "id": n, "method": "ping"}) for n in range(50)]
    caller.send("\n".join(frames).encode() + b"\n")
    assert [caller.receive()["id"] for _ in frames] == list(range(50))


def test_a_bad_frame_is_refused_and_the_next_one_served(caller: Caller) -> None:
    caller.send(b"not json\n" + PING)
    first = caller.receive()
    assert (first["id"], code_of(first)) == (None, "bad-json")
    assert caller.receive()["id"] == 1


def test_an_error_is_answered_under_its_id(caller: Caller) -> None:
    caller.send(b'{"jsonrpc":"2.0","id":"x","method":"refuse"}\n')
    answer = caller.receive()
    assert answer["id"] == "x"
    assert answer["error"]["data"]["exit_status"] == 3


def test_a_frame_without_end_is_cut_off(caller: Caller) -> None:
    with contextlib.suppress(ConnectionError):
        for _ in range(40):
            caller.send(b"x" * 8192)
    assert code_of(caller.receive()) == "too-large"
    assert caller.is_closed()


def test_half_a_frame_is_given_up(
    bench: Bench, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "FRAME_DEADLINE_S", 0.15)
    caller.send(PING[:-5])
    begun_s = time.monotonic()
    assert caller.is_closed()
    assert 0.1 < time.monotonic() - begun_s < 2
    assert bench.seen == []


def test_more_bytes_do_not_put_the_deadline_off(
    caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "FRAME_DEADLINE_S", 0.2)
    begun_s = time.monotonic()
    with contextlib.suppress(ConnectionError):
        while time.monotonic() - begun_s < 3:
            caller.send(b" ")
            time.sleep(0.02)
    assert time.monotonic() - begun_s < 2


def test_a_connection_between_requests_is_not_given_up(
    caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "FRAME_DEADLINE_S", 0.05)
    caller.send(PING)
    assert caller.receive()["id"] == 1
    time.sleep(0.2)
    caller.send(PING)
    assert caller.receive()["id"] == 1


def test_an_idle_connection_is_given_up_in_the_end(
    caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "IDLE_DEADLINE_S", 0.1)
    caller.send(PING)
    assert caller.receive()["id"] == 1
    assert caller.is_closed()


def test_whoever_does_not_read_is_dropped(
    bench: Bench, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "WRITE_DEADLINE_S", 0.2)
    large = b'{"jsonrpc":"2.0","id":1,"method":"large"}\n'
    caller.send(large * 20)
    wait_until(lambda: not bench.server._connections)
    # Backpressure: only what fitted the socket and the pause was worked on.
    assert len(bench.seen) < 6
    other = Caller(bench)
    other.send(PING)
    assert other.receive()["id"] == 1
    other.close()


def test_a_subscriber_that_does_not_read_is_dropped_at_the_limit(
    bench: Bench, caller: Caller
) -> None:
    caller.send(b'{"jsonrpc":"2.0","id":1,"method":"subscribe"}\n')
    assert caller.receive()["id"] == 1
    for _ in range(20):
        bench.server.post(lambda: bench.server.broadcast("changed", "x" * 100_000))
    wait_until(lambda: not bench.server._connections)


def test_a_subscriber_gets_what_is_broadcast_and_others_do_not(
    bench: Bench, caller: Caller
) -> None:
    other = Caller(bench)
    caller.send(b'{"jsonrpc":"2.0","id":1,"method":"subscribe"}\n')
    assert caller.receive()["id"] == 1
    bench.server.post(lambda: bench.server.broadcast("changed", {"volume": "data"}))
    assert caller.receive() == {
        "jsonrpc": "2.0",
        "method": "changed",
        "params": {"volume": "data"},
    }
    other.send(PING)
    assert other.receive()["id"] == 1
    other.close()


def test_a_subscriber_that_hangs_up_is_forgotten(bench: Bench, caller: Caller) -> None:
    caller.send(b'{"jsonrpc":"2.0","id":1,"method":"subscribe"}\n')
    caller.receive()
    caller.close()
    wait_until(lambda: not bench.server._connections)


def test_a_slow_request_holds_up_nobody_else(bench: Bench, caller: Caller) -> None:
    caller.send(b'{"jsonrpc":"2.0","id":1,"method":"slow"}\n')
    wait_until(lambda: bench.slow)
    other = Caller(bench)
    other.send(PING)
    assert other.receive()["id"] == 1
    other.close()
    bench.slow[0].notify("operation.progress", {"step": 1})
    bench.slow[0].answer("done")
    assert caller.receive()["params"] == {"step": 1}
    assert caller.receive()["result"] == "done"


def test_one_request_a_connection_is_worked_on_at_a_time(bench: Bench, caller: Caller) -> None:
    slow = b'{"jsonrpc":"2.0","id":1,"method":"slow"}\n'
    caller.send(slow + PING)
    wait_until(lambda: bench.slow)
    time.sleep(0.05)
    assert bench.seen == ["slow"]
    bench.slow[0].answer(None)
    caller.receive()
    assert caller.receive()["result"] == {"pong": "local"}


def test_a_caller_that_vanishes_in_the_middle_harms_nothing(bench: Bench, caller: Caller) -> None:
    caller.send(b'{"jsonrpc":"2.0","id":1,"method":"slow"}\n')
    wait_until(lambda: bench.slow)
    caller.close()
    for _ in range(3):
        bench.slow[0].notify("operation.progress", {})
    bench.slow[0].answer("done")
    wait_until(lambda: not bench.server._connections)
    bench.slow[0].answer("again")
    other = Caller(bench)
    other.send(PING)
    assert other.receive()["id"] == 1
    other.close()


def test_whoever_closes_only_its_own_side_gets_the_answer(bench: Bench, caller: Caller) -> None:
    caller.send(b'{"jsonrpc":"2.0","id":1,"method":"slow"}\n' + PING[:-1])
    caller.socket.shutdown(socket.SHUT_WR)
    wait_until(lambda: bench.slow)
    bench.slow[0].answer("late")
    assert caller.receive()["result"] == "late"
    assert caller.receive()["result"] == {"pong": "local"}
    assert caller.is_closed()


def test_a_request_cut_at_any_byte_executes_nothing(bench: Bench) -> None:
    for at in range(0, len(PING) - 2, 3):
        cut = Caller(bench)
        cut.send(PING[:at])
        cut.close()
    wait_until(lambda: not bench.server._connections)
    assert bench.seen == []


def test_more_connections_than_the_limit_are_refused(bench: Bench) -> None:
    callers = [Caller(bench) for _ in range(server.CONNECTION_LIMIT)]
    wait_until(lambda: len(bench.server._connections) == server.CONNECTION_LIMIT)
    late = Caller(bench)
    answer = late.receive()
    assert code_of(answer) == "TOO_MANY_CONNECTIONS"
    assert answer["error"]["data"]["exit_status"] == 5
    assert late.is_closed()
    for each in callers[:2]:
        each.close()
    wait_until(lambda: len(bench.server._connections) == server.CONNECTION_LIMIT - 2)
    again = Caller(bench)
    again.send(PING)
    assert again.receive()["id"] == 1
    for each in (*callers[2:], again, late):
        each.close()


def test_the_gateway_cannot_take_roots_connections(bench: Bench) -> None:
    bench.peer = Peer(pid=2, uid=990, gid=990)
    callers = [Caller(bench) for _ in range(server.GATEWAY_LIMIT + 1)]
    assert code_of(callers[-1].receive()) == "TOO_MANY_CONNECTIONS"
    bench.peer = Peer(pid=1, uid=0, gid=0)
    root = Caller(bench)
    root.send(PING)
    assert root.receive()["result"] == {"pong": "local"}
    for each in (*callers, root):
        each.close()


def test_other_users_are_refused(bench: Bench) -> None:
    bench.peer = Peer(pid=2, uid=1000, gid=990)
    other = Caller(bench)
    answer = other.receive()
    assert (code_of(answer), answer["error"]["data"]["exit_status"]) == ("NOT_PERMITTED", 4)
    assert other.is_closed()
    other.close()


def test_the_gateway_has_no_role_and_is_cut_off_when_it_oversteps(bench: Bench) -> None:
    bench.peer = Peer(pid=2, uid=990, gid=990)
    gateway = Caller(bench)
    gateway.send(PING)
    assert gateway.receive()["result"] == {"pong": str(Role.NONE)}
    gateway.send(b'{"jsonrpc":"2.0","id":1,"method":"forbidden"}\n')
    assert code_of(gateway.receive()) == "NOT_PERMITTED"
    assert gateway.is_closed()
    gateway.close()


def test_the_real_credentials_are_the_kernels(bench: Bench) -> None:
    import os

    from storage_agent.service.access import read_peer

    one, other = socket.socketpair()
    assert read_peer(one) == Peer(pid=os.getpid(), uid=os.geteuid(), gid=os.getegid())
    one.close()
    other.close()


def test_timers_run_on_the_loop(bench: Bench) -> None:
    times: list[float] = []
    bench.server.post(lambda: bench.server.every(0.02, lambda: times.append(time.monotonic())))
    wait_until(lambda: len(times) >= 3)


def test_a_dispatch_that_raises_does_not_end_the_server(bench: Bench, caller: Caller) -> None:
    caller.send(b'{"jsonrpc":"2.0","id":1,"method":"raise"}\n' + PING)
    assert code_of(caller.receive()) == "INTERNAL"
    assert caller.receive()["id"] == 1


def test_an_action_that_raises_holds_up_no_other_one(bench: Bench) -> None:
    done = threading.Event()

    def fail() -> None:
        bench.server.post(done.set)
        raise ZeroDivisionError

    bench.server.post(fail)
    assert done.wait(2)


class FullListener:
    """Accepts nothing, once: the process has no descriptors left."""

    def __init__(self, listener: socket.socket) -> None:
        self.listener = listener
        self.tries = 0

    def fileno(self) -> int:
        return self.listener.fileno()

    def accept(self) -> Any:
        self.tries += 1
        if self.tries == 1:
            raise OSError(errno.EMFILE, "Too many open files")
        return self.listener.accept()


def test_without_descriptors_accepting_is_put_off(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "ACCEPT_PAUSE_S", 0.05)
    full = FullListener(bench.listener)
    bench.server._listener = full  # type: ignore[assignment]
    late = Caller(bench)
    late.send(PING)
    assert late.receive()["id"] == 1
    assert full.tries == 2
    late.close()


def test_stopping_closes_every_connection(bench: Bench, caller: Caller) -> None:
    caller.send(PING)
    caller.receive()
    bench.server.stop()
    assert caller.is_closed()
