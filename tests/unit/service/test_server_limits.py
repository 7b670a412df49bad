"""Callers that are slow, too many, silent or not allowed."""

from __future__ import annotations

import contextlib
import errno
import socket
import time
from typing import Any

import pytest

from storage_agent.service.api import connection, server
from storage_agent.service.api.access import Peer, Role
from tests.unit.service.bench import PING, Bench, Caller, code_of
from tests.unit.service.parts import wait_until

pytestmark = pytest.mark.sockets


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
    assert 0.1 < time.monotonic() - begun_s < connection.HELLO_DEADLINE_S
    assert bench.seen == []


def test_more_bytes_do_not_put_the_deadline_off(
    caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "FRAME_DEADLINE_S", 0.2)
    begun_s = time.monotonic()
    with contextlib.suppress(ConnectionError):
        while time.monotonic() - begun_s < 20:
            caller.send(b" ")
            time.sleep(0.02)
    assert time.monotonic() - begun_s < 10


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
