"""A fuzzer of the frame decoder and the dispatcher: hostile frames, seeded, through a real server.

`scripts/fuzz --inputs N --seed S` prints what came of them. Each frame must get exactly one answer,
known by its code; no traceback, no child process, no operation that its role does not allow.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import logging
import random
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import structlog

from storage_agent.model.key import KeyRole
from storage_agent.service.access import Peer
from storage_agent.service.audit import Audit
from storage_agent.service.methods import METHODS, Dispatcher
from storage_agent.service.rpc import FRAME_LIMIT_BYTES
from storage_agent.service.server import Server
from tests.unit.service.parts import FakeEngine, ThreadClock, make_agent

BATCH = 200
GATEWAY_UID = 990
KEYS = {"observe": KeyRole.OBSERVE, "operate": KeyRole.OPERATE, "grant": KeyRole.GRANT}

WORDS = [
    "data", "home", "", "-f", "--force", "all", "r0/0", "$(id)", "`id`", "a;b", "../../etc",
    "data\n", "\x00", "\x1b[31m", "\u202e", "\ud800", "é", "дata", "1", "a" * 31, "a" * 32,
    "a" * 5000, "observe", "operate", "grant", "local", "none", "promote", "first", "beta", "op-1",
]  # fmt: skip
NUMBERS = [
    "0", "1", "-1", "5", "6", "7", "-0", "1.0", "1e3", "1e999", "NaN", "Infinity", "-Infinity",
    "9223372036854775807", "9223372036854775808", "9" * 40, "9" * 4400, "true", "false", "null",
    "0x10", "01", "+1", "1_000", "١",
]  # fmt: skip
KEYS_TRIED = [
    "jsonrpc", "id", "method", "params", "volume", "operation_id", "epoch", "coordinator",
    "expected_primary", "succeeds",
    "peer_is_off", "marker_at_least", "wait_s", "role", "key_id", "limit", "number", "confirm",
    "operation", "force", "device", "__class__", "",
]  # fmt: skip
GOOD = {
    "volume": '"data"', "operation_id": '"op-1"', "epoch": "6", "coordinator": '"claim-1"',
    "succeeds": "null", "expected_primary": '"beta"',
    "peer_is_off": "null", "marker_at_least": "[7,2]", "wait_s": "5", "role": '"first"',
    "key_id": '"observe"', "limit": "5", "number": "7", "confirm": '"0123"',
    "operation": '"demote"', "stop_serving": "null", "choice": '"discard"',
    "incident": '"0a1b"', "boot_id": '"boot-1"', "verdict": '"deny"', "client": '"desk"',
    "facts": '{"configuration":"c1","filesystem_uuid":"f1","array_uuid":"a1","members":["s1"],'
             '"array_bytes":1,"replica_bytes":1}',
}  # fmt: skip
BYTES = [
    b"\x00", b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\xff\xfe", b"\r", b"\t",
    b"{", b"}", b"[", b"]", b'"', b"\\", b",", b":", b"\\u0000", b"\\ud800", b"//", b"/*", b"'",
]  # fmt: skip


class Frames:
    """Hostile frames without end. The same seed gives the same ones."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._kinds: list[tuple[Callable[[], bytes], int]] = [
            (self._near, 25),
            (self._request, 20),
            (self._mutated, 35),
            (self._nested, 5),
            (self._noise, 5),
            (self._long, 1),
            (self._value_frame, 9),
        ]

    def __iter__(self) -> Iterator[bytes]:
        makers = [maker for maker, weight in self._kinds for _ in range(weight)]
        while True:
            frame = self._random.choice(makers)()
            yield frame.replace(b"\n", b" ")

    def _near(self) -> bytes:
        """What a method takes, but for a key or two."""
        method = self._random.choice(list(METHODS.values()))
        pairs = [
            (one.name, self._value() if self._random.random() < 0.1 else GOOD[one.name])
            for one in dataclasses.fields(method.parameters)
            if self._random.random() < 0.9
        ]
        if {"epoch", "coordinator"} & {key for key, _ in pairs} and self._random.random() < 0.9:
            # One without the other gets no further.
            pairs += [(key, GOOD[key]) for key in ("epoch", "coordinator")]
        if "operation_id" in dict(pairs):
            pairs.append(("operation_id", f'"op-{self._random.randrange(1000)}"'))
        parameters = self._object(list(dict(pairs).items())).decode("utf-8", "surrogatepass")
        parts = {"jsonrpc": '"2.0"', "id": "1", "method": json.dumps(method.name)}
        return self._object([*parts.items(), ("params", parameters)])

    def _request(self) -> bytes:
        parts = {
            "jsonrpc": '"2.0"' if self._random.random() < 0.95 else self._value(),
            "id": self._random.choice(("1", '"x"', self._value())),
            "method": json.dumps(self._random.choice((*METHODS, "reboot", "", "__init__"))),
            "params": self._parameters(),
        }
        if self._random.random() < 0.1:
            parts.pop(self._random.choice(list(parts)))
        return self._object(list(parts.items()))

    def _parameters(self) -> str:
        chosen = self._random.choices(KEYS_TRIED[4:], k=self._random.randint(0, 5))
        if self._random.random() < 0.6:
            chosen[:0] = ["volume", "operation_id"]
        pairs = [(key, self._value()) for key in chosen]
        return self._object(pairs).decode("utf-8", "surrogatepass")

    def _object(self, pairs: list[tuple[str, str]]) -> bytes:
        inner = ",".join(f"{json.dumps(key)}:{value}" for key, value in pairs)
        return ("{" + inner + "}").encode("utf-8", "surrogatepass")

    def _value(self, depth: int = 0) -> str:
        chance = self._random.random()
        if chance < 0.45 or depth > 3:
            word = self._random.choice(WORDS)
            return json.dumps(word, ensure_ascii=self._random.random() < 0.7)
        if chance < 0.85:
            return self._random.choice(NUMBERS)
        if chance < 0.93:
            inner = ",".join(self._value(depth + 1) for _ in range(self._random.randint(0, 3)))
            return f"[{inner}]"
        return f'{{"{self._random.choice(KEYS_TRIED)}":{self._value(depth + 1)}}}'

    def _mutated(self) -> bytes:
        """A good frame with some bytes changed, doubled, cut or put elsewhere."""
        frame = bytearray(self._request())
        for _ in range(self._random.randint(1, 4)):
            at = self._random.randrange(len(frame) + 1)
            to = min(len(frame), at + self._random.randint(0, 8))
            piece = bytes(frame[at:to])
            frame[at:to] = self._random.choice(
                (b"", piece * 2, self._random.choice(BYTES), piece[::-1], piece[:1])
            )
        return bytes(frame)

    def _nested(self) -> bytes:
        depth = self._random.choice((15, 16, 17, 100, 990, 1000, 20_000))
        opened = self._random.choice((b"[", b'{"a":', b'{"params":[', b'"[', b'["\\'))
        whole = opened * depth
        return whole[: FRAME_LIMIT_BYTES - 100] + (b"]" * depth)[:100]

    def _noise(self) -> bytes:
        return self._random.randbytes(self._random.choice((0, 1, 2, 16, 300)))

    def _long(self) -> bytes:
        size = FRAME_LIMIT_BYTES + self._random.choice((-2, -1, 0, 1, 2, 5000))
        return self._random.choice((b"x", b"[", b" ", b'"')) * size

    def _value_frame(self) -> bytes:
        return self._value().encode("utf-8", "surrogatepass")


@dataclass(slots=True)
class Result:
    inputs: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    tracebacks: int = 0
    children: int = 0
    unanswered: int = 0
    seconds: float = 0.0
    peak_rss_bytes: int = 0
    begun: Counter[str] = field(default_factory=Counter)


class Target:
    """A server in this process, with an agent whose engine only counts."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "agent.sock")
        self.engine = FakeEngine()
        self.engine.steps = 0
        self.tracebacks = 0
        structlog.configure(processors=[self._count, self._drop])
        threading.excepthook = self._died
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(self.path)
        listener.listen(8)
        clock = ThreadClock()
        agent = make_agent(engine=self.engine, keys=KEYS)
        self._server = Server(
            listener=listener,
            dispatch=Dispatcher(agent),
            clock=clock,
            gateway_uid=GATEWAY_UID,
            credentials=lambda _: Peer(pid=1, uid=GATEWAY_UID, gid=GATEWAY_UID),
            answered=Audit(clock),
        )
        self._listener = listener
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()

    def _count(self, _logger: object, method: str, event: Any) -> Any:
        self.tracebacks += method in ("exception", "critical") or "exc_info" in event
        return event

    def _drop(self, _logger: object, _method: str, _event: Any) -> Any:
        raise structlog.DropEvent

    def _died(self, _args: object) -> None:
        self.tracebacks += 1

    def close(self) -> None:
        self._server.stop()
        self._thread.join(10)
        self._listener.close()
        structlog.reset_defaults()
        threading.excepthook = threading.__excepthook__


class Caller:
    """A session of one role; a new one where the server has ended it."""

    def __init__(self, target: Target, role: str) -> None:
        self.role = role
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(30)
        self._socket.connect(target.path)
        self._reader = self._socket.makefile("rb")
        hello = {"jsonrpc": "2.0", "id": 0, "method": "hello"}
        self.send(json.dumps({**hello, "params": {"role": role, "key_id": role}}).encode())
        assert b'"result"' in self._reader.readline()

    def send(self, frame: bytes) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._socket.sendall(frame + b"\n")

    def receive(self) -> Any:
        """None at the end of the session."""
        with contextlib.suppress(ConnectionResetError):
            line = self._reader.readline()
            return json.loads(line) if line else None
        return None

    def close(self) -> None:
        self._reader.close()
        self._socket.close()


def fuzz(inputs: int, seed: int) -> Result:
    """One frame after the other, through sessions of every role in turn."""
    result, frames = Result(), iter(Frames(seed))
    begun_s = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        target = Target(Path(folder))
        roles = list(KEYS)
        caller = Caller(target, roles[0])
        for number in range(inputs):
            if number % BATCH == 0:
                caller.close()
                caller = Caller(target, roles[number // BATCH % len(roles)])
                _forget(target, result)
            caller.send(next(frames))
            result.inputs += 1
            if not _answered(caller, result):
                caller.close()
                caller = Caller(target, caller.role)
        caller.close()
        _forget(target, result)
        result.tracebacks = target.tracebacks
        result.children = len(psutil.Process().children(recursive=True))
        target.close()
    result.seconds = time.monotonic() - begun_s
    result.peak_rss_bytes = _peak_rss_bytes()
    return result


def _peak_rss_bytes() -> int:
    # Not getrusage: its maximum goes back to before the exec.
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) << 10


def _answered(caller: Caller, result: Result) -> bool:
    """Counts the answer. False where the session is over."""
    while (answer := caller.receive()) is not None:
        if "id" in answer:
            code = answer["error"]["data"]["code"] if "error" in answer else "ok"
            result.codes[code] += 1
            return code != "too-large"
    result.unanswered += 1
    return False


def _forget(target: Target, result: Result) -> None:
    """What was begun, by the session's origin and kind; memory is for the server's own."""
    for request in target.engine.begun:
        kind = "plan" if request.operation_id == "plan" else request.kind
        result.begun[f"{request.origin} {kind}"] += 1
    target.engine.begun.clear()
    target.engine.records.clear()


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    logging.disable()
    result = fuzz(options.inputs, options.seed)
    speed = result.inputs / result.seconds
    print(f"seed {options.seed}: {result.inputs} inputs, {speed:.0f} a second")
    for code, count in result.codes.most_common():
        print(f"  {count:9}  {code}")
    for what, count in sorted(result.begun.items()):
        print(f"  {count:9}  reached the engine: {what}")
    print(f"tracebacks {result.tracebacks}, child processes {result.children}, ", end="")
    print(f"unanswered {result.unanswered}, peak RSS {result.peak_rss_bytes / (1 << 20):.1f} MiB")
    bad = result.tracebacks or result.children or result.unanswered or result.codes["INTERNAL"]
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
