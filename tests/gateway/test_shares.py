"""What one caller can use up of another's: places, time, threads. Row 50 to 52 of the hostile
inputs."""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from storage_agent.service.api.access import Role
from storage_agent.service.api.places import PLACES
from tests.gateway.host import Session, StorageHost, code_of, frame, keygen, wait_for

PING = frame("ping")
OBSERVERS = ("watcher-1", "watcher-2")
# Shut out is who waits as long as a flood lasts, and longer; how fast it is, the bench says.
SLOWEST_S = 20.0


@pytest.fixture(scope="module")
def observers(host: StorageHost) -> Iterator[tuple[str, ...]]:
    """Two more keys that may observe."""
    for name in OBSERVERS:
        keygen(host.key(name))
        public = os.fspath(host.key(name).with_suffix(".pub"))
        ended = host.command("authorize", "--json", "--role", "observe", public)
        assert ended.returncode == 0, ended.stderr
        host.fingerprints[name] = json.loads(ended.stdout)["data"]["key_id"]
    yield OBSERVERS
    for name in OBSERVERS:
        assert host.command("authorize", "revoke", host.key_id(name)).returncode == 0


def everybody_comes_in(host: StorageHost) -> None:
    for role in ("grant", "operate"):
        for _ in range(3):
            answers, status = host.exchange(PING + frame("status", 2), role)
            assert ([code_of(answer) for answer in answers], status) == (["ok", "ok"], 0)
    assert [code_of(answer) for answer in host.local(PING, frame("status"))] == ["ok", "ok"]
    ended = host.command("status")
    assert ended.returncode in (0, 1), ended.stderr


def test_two_observers_with_all_their_sessions_shut_nobody_out(
    host: StorageHost, observers: tuple[str, ...]
) -> None:
    """32 sessions wanted, 16 places; and a third key that may observe still finds one."""
    sessions = []
    try:
        for _ in range(4):
            # sshd takes no more at once that are not logged in yet (MaxStartups).
            some = [host.session(name) for name in observers for _ in range(4)]
            sessions += some
            for session in some:
                with contextlib.suppress(BrokenPipeError):
                    session.send(PING)
            for one in some:
                wait_for(one.lines.copy, "each has an answer")
        codes = [code_of(session.lines[0]) for session in sessions]
        assert set(codes) == {"ok", "TOO_MANY_CONNECTIONS"}
        alive = [session for session in sessions if session.process.poll() is None]
        assert len(alive) <= PLACES[Role.OBSERVE]
        everybody_comes_in(host)
        assert code_of(host.exchange(PING, "observe")[0][0]) == "ok"
    finally:
        for session in sessions:
            session.kill()


def test_one_connection_has_room_for_a_coordinator(host: StorageHost, tmp_path: Any) -> None:
    """1 and 8, twice over but one: sshd's MaxSessions is above what it needs."""
    options = ("-o", f"ControlPath={tmp_path}/control")
    first = host.session("grant", "-o", "ControlMaster=yes", *options)
    assert code_of(first.ask("ping")) == "ok"
    others = [host.session("grant", *options) for _ in range(15)]
    assert [code_of(other.ask("ping")) for other in others] == ["ok"] * 15
    for other in others:
        assert other.end() == 0
    assert first.end() == 0


# -- floods ---------------------------------------------------------------------------------------


def flood_of(content: bytes) -> Callable[[StorageHost, str, threading.Event], None]:
    """Requests as fast as they are taken, answers read."""

    def flood(host: StorageHost, name: str, stop: threading.Event) -> None:
        session = host.session(name)

        def end() -> None:
            """From outside: whoever is read slowly stands in the middle of its sending."""
            stop.wait()
            session.kill()

        threading.Thread(target=end, daemon=True).start()
        with contextlib.suppress(BrokenPipeError):
            while not stop.is_set():
                session.send(content)
                session.lines.clear()

    return flood


def unread(host: StorageHost, name: str, stop: threading.Event) -> None:
    """Asks for what is large, and for all that happens, and reads nothing."""
    while not stop.is_set():
        session = host.session(name)
        session.process.send_signal(19)
        with contextlib.suppress(BrokenPipeError):
            session.send(frame("subscribe") + frame("events", limit=1000) * 100)
        stop.wait(3)
        session.kill()


def halves(host: StorageHost, name: str, stop: threading.Event) -> None:
    while not stop.is_set():
        session = host.session(name)
        with contextlib.suppress(BrokenPipeError):
            session.send(PING[:-9])
        stop.wait(2)
        session.kill()


def comings_and_goings(host: StorageHost, name: str, stop: threading.Event) -> None:
    while not stop.is_set():
        host.exchange(PING, name)


FLOODS: dict[str, Callable[[StorageHost, str, threading.Event], None]] = {
    "ping": flood_of(PING * 500),
    "status": flood_of(frame("status") * 100),
    "plan": flood_of(frame("plan", operation="promote", volume="data") * 100),
    "history": flood_of(frame("operation.list", limit=50) * 100),
    "refused": flood_of(frame("promote", volume="data", operation_id="x") * 100),
    "no frames": flood_of(b'{"jsonrpc":"2.0",\n' * 100),
    "unread": unread,
    "halves": halves,
    "comings and goings": comings_and_goings,
}


@pytest.mark.parametrize("kind", list(FLOODS))
def test_a_flood_slows_nobody_beyond_a_bound(
    host: StorageHost, observers: tuple[str, ...], kind: str
) -> None:
    """Two keys, three sessions each. Grant answers, operate and root look, while it lasts."""
    kept: dict[str, Session] = {role: host.session(role) for role in ("grant", "operate")}
    for session in kept.values():
        session.ask("ping")
    stop = threading.Event()
    threads = [
        threading.Thread(target=FLOODS[kind], args=(host, name, stop))
        for name in observers
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    took: dict[str, list[float]] = {"grant": [], "operate": [], "root": []}
    try:
        time.sleep(0.5)
        until_s = time.monotonic() + 4
        number = 0
        while time.monotonic() < until_s:
            number += 1
            for role, session in kept.items():
                begun_s = time.monotonic()
                assert code_of(session.ask("incident.list", f"i{number}")) == "ok"
                took[role].append(time.monotonic() - begun_s)
            begun_s = time.monotonic()
            assert code_of(host.local(frame("status"))[0]) == "ok"
            took["root"].append(time.monotonic() - begun_s)
            time.sleep(0.05)
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)
    for session in kept.values():
        assert session.end() == 0
    worst = {who: max(times) for who, times in took.items()}
    middle = {who: statistics.median(times) for who, times in took.items()}
    print(kind, {who: f"{middle[who]:.3f} {worst[who]:.3f}" for who in took})
    assert max(worst.values()) < SLOWEST_S, (middle, worst)
