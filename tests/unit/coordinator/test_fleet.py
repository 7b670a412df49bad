"""Hosts that answer late, or never: nobody else waits for them."""

from __future__ import annotations

import dataclasses
import json
import queue
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from storage_agent.coordinator.reaching import fleet as fleet_module
from storage_agent.coordinator.reaching.fleet import Fleet
from storage_agent.coordinator.reaching.rpc import Channel, unreachable
from storage_agent.coordinator.settings import HostSettings
from storage_agent.model.errors import AgentError, Busy
from tests.unit.coordinator.pair import make_settings
from tests.unit.service.parts import ThreadClock, wait_until


class LateHost:
    """An agent that answers each session's requests one after the other, as service/api/server.py
    does; those named in `held` not before `goes_on`."""

    def __init__(self, name: str, *held: str) -> None:
        self.name = name
        self.held = held
        self.goes_on = threading.Event()
        self.asked: list[str] = []
        self.sessions = 0

    def session(self) -> LateSession:
        self.sessions += 1
        return LateSession(self)

    def answer(self, method: str) -> object:
        self.asked.append(method)
        if method in self.held:
            assert self.goes_on.wait(20)
        return {"host": self.name}


class LateSession:
    """Implements rpc.Channel."""

    def __init__(self, host: LateHost) -> None:
        self.host = host
        self.asked: queue.Queue[bytes] = queue.Queue()
        self.out: queue.Queue[bytes] = queue.Queue()
        threading.Thread(target=self._serve, daemon=True).start()

    def send(self, line: bytes) -> None:
        self.asked.put(line)

    def receive(self) -> bytes:
        return self.out.get()

    def close(self) -> None:
        self.asked.put(b"")
        self.out.put(b"")

    def beside(self) -> Channel:
        return self.host.session()

    def _serve(self) -> None:
        while line := self.asked.get():
            request = json.loads(line)
            result = self.host.answer(request["method"])
            self.out.put(json.dumps({"id": request["id"], "result": result}).encode() + b"\n")


def make_fleet(folder: Path, connect: Callable[[HostSettings], Channel], *names: str) -> Fleet:
    hosts = {n: HostSettings(name=n, address="192.0.2.1", port=22) for n in names}
    return Fleet(dataclasses.replace(make_settings(folder), hosts=hosts), connect, ThreadClock())


def in_thread(act: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=act)
    thread.start()
    return thread


def test_nothing_waits_for_an_operation_on_the_same_host(tmp_path: Path) -> None:
    host = LateHost("alpha", "promote")
    fleet = make_fleet(tmp_path, lambda _: host.session(), "alpha")
    ends: list[object] = []
    running = in_thread(
        lambda: ends.append(fleet.ask_beside("alpha", "promote", {}, timeout_s=20))
    )  # fmt: skip
    wait_until(lambda: "promote" in host.asked)
    assert fleet.ask("alpha", "incident.list", timeout_s=5) == {"host": "alpha"}
    assert ends == []
    host.goes_on.set()
    running.join(20)
    assert ends == [{"host": "alpha"}]
    assert host.sessions == 2


def test_late_answers_of_a_host_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet_module, "BESIDE_LIMIT", 2)
    host = LateHost("alpha", "promote")
    fleet = make_fleet(tmp_path, lambda _: host.session(), "alpha")
    running = [
        in_thread(lambda: fleet.ask_beside("alpha", "promote", {}, timeout_s=20)) for _ in range(2)
    ]
    wait_until(lambda: host.asked.count("promote") == 2)
    with pytest.raises(Busy):
        fleet.ask_beside("alpha", "plan", {}, timeout_s=0.01)
    host.goes_on.set()
    for thread in running:
        thread.join(20)
    assert fleet.ask_beside("alpha", "plan", {}) == {"host": "alpha"}


def test_a_slow_and_a_dead_host_hold_up_nobody(tmp_path: Path) -> None:
    slow = LateHost("slow", "status")

    def connect(settings: HostSettings) -> Channel:
        if settings.name == "dead":
            raise unreachable("dead", "no route to host")
        return (slow if settings.name == "slow" else LateHost(settings.name)).session()

    fleet = make_fleet(tmp_path, connect, "slow", "dead", "one", "two")
    answered = fleet.as_answered(fleet.settings.hosts, lambda host: fleet.ask(host, "status"))
    first = dict(next(answered) for _ in range(3))
    assert set(first) == {"dead", "one", "two"}
    assert isinstance(first["dead"], AgentError)
    slow.goes_on.set()
    assert next(answered) == ("slow", {"host": "slow"})
