"""The server in this process, on a Unix socket in a temporary folder.

These tests open sockets: they are about what goes over them.
"""

from __future__ import annotations

import json
import socket
import threading
import time

import pytest

from storage_agent.service.api.access import Peer
from tests.unit.service.bench import PING, Bench, Caller, code_of
from tests.unit.service.parts import wait_until

pytestmark = pytest.mark.sockets


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


def test_a_subscriber_that_does_not_read_is_dropped_at_the_limit(
    bench: Bench, caller: Caller
) -> None:
    caller.send(b'{"jsonrpc":"2.0","id":1,"method":"subscribe"}\n')
    assert caller.receive()["id"] == 1
    for _ in range(20):
        bench.server.post(lambda: bench.server.broadcast("changed", ["x" * 4000] * 25))
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


def test_the_real_credentials_are_the_kernels(bench: Bench) -> None:
    import os

    from storage_agent.service.api.access import read_peer

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


def test_stopping_closes_every_connection(bench: Bench, caller: Caller) -> None:
    caller.send(PING)
    caller.receive()
    bench.server.stop()
    assert caller.is_closed()
