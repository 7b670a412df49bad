"""A pair whose first host is hostile or broken, beside one that is well: what it sends is changed
on its way to the coordinator, by one kind of badness after the other."""

from __future__ import annotations

import dataclasses
import json
import queue
from collections.abc import Callable
from pathlib import Path
from typing import Any

from storage_agent.coordinator.coordinator import Coordinator
from storage_agent.coordinator.hooks import Hooks
from storage_agent.coordinator.reaching.fleet import Fleet
from storage_agent.coordinator.reaching.rpc import Channel
from storage_agent.coordinator.record.store import Store
from storage_agent.coordinator.settings import Deadlines, HostSettings, VolumeSettings
from storage_agent.coordinator_cli.wiring import run_command
from tests.unit.coordinator.pair import VOLUME, Pair, make_settings, new_id
from tests.unit.service.parts import ThreadClock

# Nothing of it may reach a terminal or a log as it is.
RAW = "\x1b]0;owned\x07\x1b[2J\r\n\u202e\u009b31m"
BAD = VolumeSettings(
    key="branch/data", name="data", hosts=("gamma", "delta"), automatic=False, cooldown_s=3600
)
_NAMES = ((b"gamma", b"alpha"), (b"delta", b"beta"))
# What a host sends instead of one line: any number of lines.
Lie = Callable[[dict[str, Any]], list[bytes]]


def _line(message: object) -> bytes:
    return json.dumps(message).encode() + b"\n"


def _changed(change: Callable[[dict[str, Any]], None]) -> Lie:
    """change: of the result, where it is one of `status`."""

    def lie(message: dict[str, Any]) -> list[bytes]:
        if "snapshot" in (message.get("result") or {}):
            change(message["result"])
        return [_line(message)]

    return lie


def _put(value: Any, *path: str) -> Lie:
    def change(result: dict[str, Any]) -> None:
        place = result
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value

    return _changed(change)


def _text(old: str, new: bytes) -> Lie:
    return lambda message: [_line(message).replace(old.encode(), new)]


def _answer(line: bytes) -> Lie:
    return lambda message: [line.replace(b"@", str(message["id"]).encode())]


def _everywhere(message: dict[str, Any]) -> list[bytes]:
    """In each text of the whole answer."""

    def spoilt(value: Any, key: str) -> Any:
        if isinstance(value, str):
            return value if key in _KEPT else f"{value}{RAW}"
        if isinstance(value, list):
            return [spoilt(item, key) for item in value]
        if isinstance(value, dict):
            return {name: spoilt(item, name) for name, item in value.items()}
        return value

    return [_line({**message, "result": spoilt(message.get("result"), "")})]


_KEPT = frozenset({"host", "volume", "verdict", "severity", "role", "disk", "connection", "answer"})
_SNAPSHOT = ("snapshot", "volumes", "data")
_FINDING = {
    "code": "X_Y", "severity": "warning", "summary": RAW, "measured": RAW, "limit": RAW,
    "remedy": RAW,
}  # fmt: skip
_ERROR = {
    "code": -32006, "message": f"the record is gone{RAW}",
    "data": {"code": "STORE_FAILED", "exit_status": 6, "remedy": RAW, "findings": [_FINDING]},
}  # fmt: skip
LIES: dict[str, Lie] = {
    "not a number": _put(float("nan"), "age_s"),
    "infinite": _text('"age_s": ', b'"age_s": 1e999, "age": '),
    "an epoch of 2^70": _put(1 << 70, "epochs", "data"),
    "an epoch below zero": _put(-1, "epochs", "data"),
    "an epoch that is a text": _put("7", "epochs", "data"),
    "an epoch that is a list": _put([7], "epochs", "data"),
    "a coordinator that is a number": _put(7, "coordinators", "data"),
    "2^70 bytes": _put(1 << 70, *_SNAPSHOT, "replica", "peer", "out_of_sync_bytes"),
    "a number of 5000 digits": _text('"age_s": ', b'"age_s": ' + b"9" * 5000 + b', "age": '),
    "the year 10^290": _put(1e297, "snapshot", "taken_wall_s"),
    "no snapshot": _put(None, "snapshot"),
    "volumes as a list": _put([], "snapshot", "volumes"),
    "verdicts as a text": _put("fine", "readiness"),
    "operations as an object": _put({}, "operations"),
    "an operation that is a number": _put([5], "operations"),
    "an unknown role": _put(f"Boss{RAW}", *_SNAPSHOT, "replica", "role"),
    "a verdict that is a list": _put([1], "readiness", "data"),
    "5000 findings": _put(
        {"verdict": "ready", "findings": [_FINDING] * 5000}, "readiness", "data"
    ),
    "a text of 256 KiB": _put(
        {"verdict": "ready", "findings": [{**_FINDING, "summary": RAW * 20000}]},
        "readiness", "data",
    ),
    "signs that steer a terminal, in each text": _everywhere,
    "100,000 levels": _answer(b'{"id": @, "result": ' + b"[" * 100_000 + b"]" * 100_000 + b"}\n"),
    "100 levels": _answer(b'{"id": @, "result": ' + b"[" * 100 + b"]" * 100 + b"}\n"),
    "a key twice": _answer(b'{"id": @, "result": {"host": "alpha", "host": "alpha"}}\n'),
    "no JSON": _answer(b"SSH-2.0-what \xff\xfe\x1b[2J\n"),
    "a list": _answer(b"[@]\n"),
    "nothing": _answer(b'{"id": @, "result": null}\n'),
    "a number": _answer(b'{"id": @, "result": 5}\n'),
    "another id": _answer(b'{"id": 99@, "result": {"host": "alpha"}}\n'),
    "an error of ours": lambda message: [_line({"id": message["id"], "error": _ERROR})],
    "an error without form": lambda message: [_line({"id": message["id"], "error": [RAW]})],
    "the session refused": lambda _message: [_line({"id": None, "error": {"message": RAW}})],
    "a longer line than any": _answer(b'{"id": @, "result": "' + b"x" * (1 << 21) + b'"}\n'),
    "news without an end": lambda message: [
        *([b'{"method": "changed", "params": "' + b"x" * 60_000 + b'"}\n'] * 400), _line(message),
    ],
    "an answer in drips": lambda message: [bytes((byte,)) for byte in _line(message)[:300]],
    "silence": lambda _message: [],
    "the end": lambda _message: [b""],
}  # fmt: skip


class Liar:
    """Implements rpc.Channel. alpha and beta are called gamma and delta here; `lie` is for what
    gamma answers, but for its name."""

    def __init__(self, inner: Channel, lie: Lie | None) -> None:
        self._inner = inner
        self._lie = lie
        self._asked: dict[int, str] = {}
        self._lines: queue.Queue[bytes] = queue.Queue()

    def send(self, line: bytes) -> None:
        for ours, theirs in _NAMES:
            line = line.replace(ours, theirs)
        request = json.loads(line)
        self._asked[request["id"]] = request["method"]
        self._inner.send(line)

    def receive(self) -> bytes:
        while self._lines.empty():
            for line in self._changed(self._inner.receive()):
                for ours, theirs in _NAMES:
                    line = line.replace(theirs, ours)
                self._lines.put(line)
        return self._lines.get()

    def _changed(self, line: bytes) -> list[bytes]:
        if not line or self._lie is None:
            return [line]
        message = json.loads(line)
        if self._asked.get(message.get("id")) in (None, "ping"):
            return [line]
        return self._lie(message)

    def close(self) -> None:
        self._inner.close()

    def beside(self) -> Channel:
        return Liar(self._inner.beside(), self._lie)


class TwoPairs:
    """office (alpha, beta) is well; of branch gamma lies, and delta does not. Both are adopted."""

    def __init__(self, folder: Path) -> None:
        self.lie: Lie | None = None
        self.good, self.bad = Pair(folder / "good"), Pair(folder / "bad")
        settings = make_settings(folder)
        hosts = {n: HostSettings(name=n, address="192.0.2.1", port=22) for n in ("gamma", "delta")}
        self.settings = dataclasses.replace(
            settings,
            hosts={**hosts, **settings.hosts},
            # The healthy one is asked last.
            volumes={BAD.key: BAD, VOLUME.key: VOLUME},
            deadlines=Deadlines(
                connect_s=1, answer_s=1, operation_s=30, handover_s=2, unreachable_s=2
            ),
        )
        self._folder = folder
        self.coordinator = self.make()
        for volume in (BAD, VOLUME):
            self.coordinator.adopt(volume)

    def make(self) -> Coordinator:
        """The same one, started again: with nothing connected."""
        clock = ThreadClock()
        return Coordinator(
            self.settings,
            Fleet(self.settings, self._connect, clock),
            Store(self._folder, self._folder / "run"),
            clock,
            new_id,
            Hooks(self._folder / "none", run_command, 1, lambda _text: None),
        )

    def _connect(self, host: HostSettings) -> Channel:
        if host.name in VOLUME.hosts:
            return self.good.connect(host)
        inner = dataclasses.replace(host, name="alpha" if host.name == "gamma" else "beta")
        return Liar(self.bad.connect(inner), self.lie if host.name == "gamma" else None)
