"""The server in this process, on a Unix socket in a temporary folder, and who calls it."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from storage_agent.model.errors import AgentError, Busy, NotPermitted, Refused
from storage_agent.service.api import server
from storage_agent.service.api.access import Peer, Role
from storage_agent.service.api.pace import RATES, Rate
from storage_agent.service.api.rpc import BadRequest
from storage_agent.service.api.session import Call
from tests.unit.service.parts import ThreadClock

PING = b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n'


class Bench:
    """A running server whose dispatch answers `ping`, keeps `slow` calls for the test, makes
    `subscribe` a subscription, takes a gateway's `hello` and refuses `refuse`."""

    def __init__(self, folder: Path, rates: Mapping[Role, Rate] = RATES) -> None:
        self.lost: dict[str, AgentError] = {}
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
            lost_rights=lambda session: self.lost.get(session.key_id),
            rates=rates,
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
            call.answer(["x" * 4000] * 50)
        elif method == "hello":
            self.greet(call)
        elif method == "subscribe":
            call.session.is_subscribed = True
            call.answer({})
        else:
            call.answer({"pong": str(call.session.role)})

    @staticmethod
    def greet(call: Call) -> None:
        try:
            call.session.take_pipes()
        except BadRequest as exc:
            call.fail(exc)
            return
        given = call.request.parameters
        role, key_id = Role(given.get("role", Role.OBSERVE)), str(given.get("key_id", ""))
        try:
            call.take_place(role, key_id)
        except Busy as exc:
            call.fail(exc)
            return
        call.session.role, call.session.key_id = role, key_id
        call.answer({})

    def close(self) -> None:
        self.server.stop()
        self.thread.join(5)
        self.listener.close()
        assert not self.thread.is_alive()


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


def greeted(bench: Bench, role: Role, key_id: str) -> Caller:
    """A gateway's session that has its role."""
    bench.peer = Peer(pid=2, uid=990, gid=990)
    caller = Caller(bench)
    hello = {"jsonrpc": "2.0", "id": 0, "method": "hello"}
    caller.send(json.dumps({**hello, "params": {"role": role, "key_id": key_id}}).encode() + b"\n")
    return caller


def code_of(answer: Any) -> str:
    return str(answer["error"]["data"]["code"])
