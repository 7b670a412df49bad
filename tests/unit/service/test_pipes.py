"""The pipes of an SSH session, handed over by the gateway with its hello."""

from __future__ import annotations

import array
import contextlib
import fcntl
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from storage_agent.service.api.access import Peer
from tests.unit.service.bench import PING, Bench, Caller, code_of
from tests.unit.service.parts import wait_until

pytestmark = pytest.mark.sockets
HELLO = b'{"jsonrpc":"2.0","id":"hello","method":"hello"}\n'


def open_descriptors() -> set[int]:
    return {int(name) for name in os.listdir("/proc/self/fd")}


class Gateway:
    """As ssh/gateway.py: sends its two pipes along, keeps them, and waits."""

    def __init__(self, bench: Bench) -> None:
        self.stdin, self.to_daemon = os.pipe()
        self.from_daemon, self.stdout = os.pipe()
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(5)
        self.socket.connect(str(bench.path))
        self.received = b""
        self.told = b""

    def hello(self, *descriptors: int, content: bytes = HELLO) -> None:
        given = array.array("i", descriptors or (self.stdin, self.stdout))
        self.socket.sendmsg([content], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, given)])

    def welcome(self) -> Any:
        line, _, self.told = self.socket.recv(1 << 16).partition(b"\n")
        return json.loads(line)

    def line(self) -> Any:
        """The caller's next one."""
        while b"\n" not in self.received:
            chunk = os.read(self.from_daemon, 1 << 16)
            assert chunk, "the daemon has ended"
            self.received += chunk
        line, _, self.received = self.received.partition(b"\n")
        return json.loads(line)

    def exit_status(self) -> int:
        while chunk := self.socket.recv(16):
            self.told += chunk
        (status,) = self.told
        return status

    def end_caller(self) -> None:
        os.close(self.to_daemon)
        self.to_daemon = -1

    def close(self) -> None:
        self.socket.close()
        for descriptor in (self.stdin, self.to_daemon, self.from_daemon, self.stdout):
            with contextlib.suppress(OSError):
                os.close(descriptor)


@pytest.fixture
def gateway(bench: Bench) -> Iterator[Gateway]:
    bench.peer = Peer(pid=1, uid=990, gid=990)
    before = open_descriptors()
    made = Gateway(bench)
    yield made
    made.close()
    # Nothing of it is left in the daemon, however it ended.
    wait_until(lambda: open_descriptors() <= before)


def test_requests_come_and_answers_go_through_them(gateway: Gateway) -> None:
    gateway.hello()
    assert gateway.welcome()["id"] == "hello"
    for _ in range(3):
        os.write(gateway.to_daemon, PING)
        assert gateway.line()["result"] == {"pong": "observe"}
    gateway.end_caller()
    assert gateway.exit_status() == 0


def test_what_was_asked_before_the_hello_was_answered(gateway: Gateway) -> None:
    os.write(gateway.to_daemon, PING * 2)
    gateway.end_caller()
    gateway.hello()
    assert gateway.welcome()["id"] == "hello"
    assert [gateway.line()["id"] for _ in range(2)] == [1, 1]
    assert gateway.exit_status() == 0


def test_without_a_request_it_is_said(gateway: Gateway) -> None:
    gateway.hello()
    gateway.welcome()
    gateway.end_caller()
    assert code_of(gateway.line()) == "bad-request"
    assert gateway.exit_status() == 2


def test_the_gateways_end_is_the_sessions(bench: Bench, gateway: Gateway) -> None:
    gateway.hello()
    gateway.welcome()
    os.write(gateway.to_daemon, PING)
    gateway.line()
    gateway.socket.close()
    wait_until(lambda: not bench.server._connections)


def test_a_caller_that_reads_no_more_is_dropped(gateway: Gateway) -> None:
    gateway.hello()
    gateway.welcome()
    os.close(gateway.from_daemon)
    os.write(gateway.to_daemon, PING)
    assert gateway.exit_status() == 1


def test_the_daemon_waits_for_nobody(bench: Bench, gateway: Gateway) -> None:
    """Whoever gave the pipes can make his own description of them wait; not ours."""
    gateway.hello()
    gateway.welcome()
    for descriptor in (gateway.stdin, gateway.stdout):
        flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags & ~os.O_NONBLOCK)
    large = b'{"jsonrpc":"2.0","id":1,"method":"large"}\n'
    os.write(gateway.to_daemon, large * 3)
    wait_until(lambda: bench.seen.count("large") >= 1)
    bench.peer = Peer(pid=1, uid=0, gid=0)
    other = Caller(bench)
    other.send(PING)
    assert other.receive()["result"] == {"pong": "local"}
    other.close()


@pytest.mark.parametrize("what", ["file", "null", "socket", "one", "three"])
def test_nothing_but_two_pipes_is_taken(gateway: Gateway, tmp_path: Path, what: str) -> None:
    with contextlib.ExitStack() as opened:
        pair = [opened.enter_context(one) for one in socket.socketpair()]
        (tmp_path / "file").touch()
        file = opened.enter_context((tmp_path / "file").open("r+b"))
        null = opened.enter_context(Path("/dev/null").open("r+b"))
        given = {
            "file": (file.fileno(), gateway.stdout),
            "null": (gateway.stdin, null.fileno()),
            "socket": (pair[0].fileno(), pair[0].fileno()),
            "one": (gateway.stdin,),
            "three": (gateway.stdin, gateway.stdout, file.fileno()),
        }[what]
        gateway.hello(*given)
        answer = gateway.welcome()
        # More than two are cut off by the kernel.
        assert ("result" in answer) == (what == "three")
        if what != "three":
            assert code_of(answer) == "bad-request"


def test_what_comes_along_later_is_closed(gateway: Gateway) -> None:
    """Not kept for a hello that may never come."""
    for _ in range(20):
        gateway.hello(content=HELLO[:1] if _ == 0 else b" ")
    gateway.hello(content=HELLO[1:])
    assert gateway.welcome()["id"] == "hello"
    os.write(gateway.to_daemon, PING)
    assert gateway.line()["id"] == 1


def test_a_gateway_without_pipes_is_served_on_its_socket(gateway: Gateway) -> None:
    gateway.socket.sendall(HELLO)
    assert gateway.welcome()["id"] == "hello"
    gateway.socket.sendall(PING)
    assert gateway.welcome()["result"] == {"pong": "observe"}
