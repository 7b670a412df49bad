"""Callers that are slow, too many, silent or not allowed."""

from __future__ import annotations

import contextlib
import errno
import socket
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from storage_agent.service.api import connection, server
from storage_agent.service.api.access import Peer, RightsLost, Role
from storage_agent.service.api.pace import Rate
from storage_agent.service.api.places import PLACES, is_full, who_makes_room
from tests.unit.service.bench import PING, Bench, Caller, code_of, greeted
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


@pytest.mark.parametrize(("uid", "role"), [(0, Role.LOCAL), (990, Role.NONE)])
def test_more_connections_than_the_limit_are_refused(bench: Bench, uid: int, role: Role) -> None:
    bench.peer = Peer(pid=1, uid=uid, gid=uid)
    most = PLACES[role]
    callers = [Caller(bench) for _ in range(most)]
    wait_until(lambda: len(bench.server._connections) == most)
    late = Caller(bench)
    answer = late.receive()
    assert code_of(answer) == "TOO_MANY_CONNECTIONS"
    assert answer["error"]["data"]["exit_status"] == 5
    assert late.is_closed()
    for each in callers[:2]:
        each.close()
    wait_until(lambda: len(bench.server._connections) == most - 2)
    again = Caller(bench)
    again.send(PING)
    assert again.receive()["id"] == 1
    for each in (*callers[2:], again, late):
        each.close()


def test_no_role_takes_anothers_places(bench: Bench) -> None:
    """Every gateway's place taken, of every role but one and of those without: the one still has
    all of its own, and so has root."""
    for kept in (Role.GRANT, Role.OPERATE, Role.OBSERVE):
        taken = [greeted(bench, role, f"k{number}")
                 for role in (Role.OBSERVE, Role.OPERATE, Role.GRANT) if role is not kept
                 for number in range(PLACES[role])]  # fmt: skip
        for caller in taken:
            assert caller.receive()["result"] == {}
        waiting = [Caller(bench) for _ in range(PLACES[Role.NONE] - PLACES[kept])]
        own = [greeted(bench, kept, "own") for _ in range(PLACES[kept])]
        for caller in own:
            assert caller.receive()["result"] == {}
        bench.peer = Peer(pid=1, uid=0, gid=0)
        root = Caller(bench)
        root.send(PING)
        assert root.receive()["result"] == {"pong": "local"}
        for each in (*taken, *waiting, *own, root):
            each.close()
        wait_until(lambda: not bench.server._connections)


def test_within_a_role_the_key_that_has_most_makes_room(bench: Bench) -> None:
    many = [greeted(bench, Role.OBSERVE, "greedy") for _ in range(PLACES[Role.OBSERVE])]
    for caller in many:
        assert caller.receive()["result"] == {}
    for number in range(3):
        other = greeted(bench, Role.OBSERVE, f"other-{number}")
        assert other.receive()["result"] == {}
        many.append(other)
    assert len(bench.server._connections) == PLACES[Role.OBSERVE]
    assert len(bench.server.of_key("greedy")) == PLACES[Role.OBSERVE] - 3
    late = greeted(bench, Role.OBSERVE, "greedy")
    assert code_of(late.receive()) == "TOO_MANY_CONNECTIONS"
    for each in (*many, late):
        each.close()


def test_the_newest_idle_session_is_the_one_that_ends() -> None:
    def one(key_id: str, opened_s: float, *, is_busy: bool = False) -> Any:
        return SimpleNamespace(role=Role.GRANT, key_id=key_id, is_busy=is_busy, opened_s=opened_s)

    idle, newer, busy = one("a", 1), one("a", 2), one("a", 3, is_busy=True)
    other = SimpleNamespace(role=Role.OBSERVE, key_id="b", is_busy=False, opened_s=9.0)
    assert who_makes_room(Role.GRANT, "b", [idle, newer, busy, other]) is newer
    assert who_makes_room(Role.GRANT, "b", [one("a", 1), one("b", 2)]) is None
    assert who_makes_room(Role.GRANT, "b", [busy, one("a", 1, is_busy=True)]) is busy
    assert not is_full(Role.GRANT, [idle] * (PLACES[Role.GRANT] - 1))


def test_a_request_after_the_rights_are_lost_ends_the_session(bench: Bench) -> None:
    caller, other = greeted(bench, Role.GRANT, "k"), greeted(bench, Role.GRANT, "other")
    for each in (caller, other):
        each.receive()
    caller.send(PING)
    assert caller.receive()["result"] == {"pong": "grant"}
    bench.lost["k"] = RightsLost("not authorized as grant")
    caller.send(PING + PING)
    assert code_of(caller.receive()) == "KEY_REVOKED"
    assert caller.is_closed()
    other.send(PING)
    assert other.receive()["result"] == {"pong": "grant"}
    for each in (caller, other):
        each.close()


def test_a_subscriber_that_has_lost_its_rights_is_ended(bench: Bench) -> None:
    caller = greeted(bench, Role.OBSERVE, "k")
    caller.send(b'{"jsonrpc":"2.0","id":1,"method":"subscribe"}\n')
    assert [caller.receive()["id"] for _ in range(2)] == [0, 1]
    bench.lost["k"] = RightsLost("not authorized as observe")
    bench.server.post(bench.server.end_lost_sessions)
    assert caller.is_closed()
    caller.close()


def test_who_asks_too_fast_waits_and_nobody_else_does(tmp_path: Path) -> None:
    made = Bench(tmp_path, {Role.OBSERVE: Rate(20, 5)})
    try:
        fast, calm, grant = (
            greeted(made, Role.OBSERVE, "fast"),
            greeted(made, Role.OBSERVE, "calm"),
            greeted(made, Role.GRANT, "fast"),
        )
        for each in (fast, calm, grant):
            each.receive()
        begun_s = time.monotonic()
        fast.send(PING * 15)
        for each in (calm, grant):
            each.send(PING)
            assert each.receive()["id"] == 1
        assert time.monotonic() - begun_s < 0.4
        for _ in range(15):
            assert fast.receive()["id"] == 1
        assert time.monotonic() - begun_s > 0.4
        for each in (fast, calm, grant):
            each.close()
    finally:
        made.close()


def test_what_one_has_sent_ahead_does_not_keep_another(tmp_path: Path) -> None:
    """One request of each in a turn, and a grant's first."""
    made = Bench(tmp_path, {})
    try:
        flood = [greeted(made, Role.OBSERVE, f"k{number}") for number in range(3)]
        grant = greeted(made, Role.GRANT, "grant")
        for each in (*flood, grant):
            each.receive()
        made.server.post(lambda: time.sleep(0.2))
        for each in flood:
            each.send(PING * 200)
        grant.send(b'{"jsonrpc":"2.0","id":1,"method":"slow"}\n')
        wait_until(lambda: bool(made.slow))
        # Where it came in: after one request of each at the most.
        assert made.seen.index("slow") <= 4 + 2 * len(flood)
        made.slow[0].answer({})
        assert grant.receive()["result"] == {}
        for each in (*flood, grant):
            each.close()
    finally:
        made.close()


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
    assert full.tries >= 2
    late.close()
