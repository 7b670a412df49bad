"""A fuzzer of the frame decoder and the dispatcher: hostile frames, seeded, through a real server.

`scripts/fuzz --inputs N --seed S` prints what came of them. Each frame must get exactly one answer,
known by its code; no traceback, no process started, no operation that its role does not allow, and
no more memory than RSS_LIMIT_BYTES. A frame that reaches a line of the agent's code which none had
reached before is kept, and mutated further (fuzz_frames.py).

The same seed begins with the same frames. What is kept depends on what the server's threads do, so
a run does not repeat byte by byte: frames that come to harm are printed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

import storage_agent
from storage_agent.model.key import KeyRole
from storage_agent.service.api.access import Peer
from storage_agent.service.api.audit import Audit
from storage_agent.service.api.methods import Dispatcher
from storage_agent.service.api.server import Server
from tests.gateway.fuzz_frames import Frames
from tests.gateway.fuzz_watch import Children, Lines
from tests.unit.service.parts import FakeEngine, ThreadClock, make_agent

BATCH = 200
GATEWAY_UID = 990
KEYS = {"observe": KeyRole.OBSERVE, "operate": KeyRole.OPERATE, "grant": KeyRole.GRANT}
RSS_LIMIT_BYTES = 64 << 20
HARMFUL_SHOWN = 10


@dataclass(slots=True)
class Result:
    """kept: size of the corpus.  reached, entered: lines; the second, of all functions that were
    entered.  harmful: role and frame."""

    inputs: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    begun: Counter[str] = field(default_factory=Counter)
    kept: int = 0
    reached: int = 0
    entered: int = 0
    tracebacks: int = 0
    children: int = 0
    unanswered: int = 0
    harmful: list[tuple[str, bytes]] = field(default_factory=list)
    seconds: float = 0.0
    peak_rss_bytes: int = 0

    def harm(self) -> int:
        return self.tracebacks + self.children + self.unanswered + self.codes["INTERNAL"]

    def is_good(self) -> bool:
        return not self.harm() and self.peak_rss_bytes <= RSS_LIMIT_BYTES


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
            # As fast as it goes.
            rates={},
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


class Run:
    """One frame after the other, through sessions of every role in turn."""

    def __init__(self, target: Target, frames: Frames, lines: Lines, children: Children) -> None:
        self.result = Result()
        self._target = target
        self._frames = frames
        self._lines = lines
        self._children = children

    def go(self, inputs: int) -> None:
        roles, frames = list(KEYS), iter(self._frames)
        caller = Caller(self._target, roles[0])
        for number in range(inputs):
            if number % BATCH == 0:
                caller.close()
                caller = Caller(self._target, roles[number // BATCH % len(roles)])
                self._forget()
            if not self._try(caller, next(frames)):
                caller.close()
                caller = Caller(self._target, caller.role)
        caller.close()
        self._forget()
        self._count()

    def _try(self, caller: Caller, frame: bytes) -> bool:
        """False where the session is over."""
        reached, harm = self._lines.reached(), self.result.harm()
        caller.send(frame)
        self.result.inputs += 1
        goes_on = self._answered(caller)
        if self._lines.reached() > reached:
            self._frames.keep(frame)
        self._count()
        if self.result.harm() > harm and len(self.result.harmful) < HARMFUL_SHOWN:
            self.result.harmful.append((caller.role, frame))
        return goes_on

    def _answered(self, caller: Caller) -> bool:
        while (answer := caller.receive()) is not None:
            if "id" in answer:
                code = answer["error"]["data"]["code"] if "error" in answer else "ok"
                self.result.codes[code] += 1
                return code != "too-large"
        self.result.unanswered += 1
        return False

    def _count(self) -> None:
        self.result.tracebacks = self._target.tracebacks
        self.result.children = self._children.count

    def _forget(self) -> None:
        """What was begun, by the session's origin and kind; memory is for the server's own."""
        engine = self._target.engine
        for request in engine.begun:
            kind = "plan" if request.operation_id == "plan" else request.kind
            self.result.begun[f"{request.origin} {kind}"] += 1
        engine.begun.clear()
        engine.ran.clear()
        engine.records.clear()


def fuzz(inputs: int, seed: int) -> Result:
    begun_s = time.monotonic()
    frames, children = Frames(seed), Children()
    lines = Lines(str(Path(storage_agent.__file__).parent))
    with tempfile.TemporaryDirectory() as folder:
        lines.start()
        target = Target(Path(folder))
        children.watch()
        run = Run(target, frames, lines, children)
        run.go(inputs)
        target.close()
        lines.stop()
    result = run.result
    result.kept = len(frames.kept)
    result.reached, result.entered = lines.reached(), lines.entered()
    result.seconds = time.monotonic() - begun_s
    result.peak_rss_bytes = _peak_rss_bytes()
    return result


def _peak_rss_bytes() -> int:
    # Not getrusage: its maximum goes back to before the exec.
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) << 10


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    logging.disable()
    result = fuzz(options.inputs, options.seed)
    speed = result.inputs / result.seconds
    print(f"seed {options.seed}: {result.inputs} inputs, {speed:.0f} a second")
    for code, count in result.codes.most_common():
        print(f"  {count:9}  {code}")
    for what, count in sorted(result.begun.items()):
        print(f"  {count:9}  reached the engine: {what}")
    print(
        f"corpus {result.kept} frames, lines reached {result.reached} of {result.entered} ", end=""
    )
    print("in the functions entered")
    print(f"tracebacks {result.tracebacks}, child processes {result.children}, ", end="")
    print(f"unanswered {result.unanswered}, ", end="")
    print(f"peak RSS {result.peak_rss_bytes / (1 << 20):.1f} MiB, at most "
          f"{RSS_LIMIT_BYTES >> 20}")  # fmt: skip
    for role, frame in result.harmful:
        print(f"came to harm, as {role}: {frame!r}")
    return 0 if result.is_good() else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
