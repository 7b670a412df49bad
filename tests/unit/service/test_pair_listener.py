"""Two agents compare over loopback; everybody else gets nothing."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from storage_agent.host.pair.compare import REFUSAL_LIMIT_CHARS, compare, connect
from storage_agent.host.pair.secret import make_secret
from storage_agent.model.agreement import Agreement, Silence
from storage_agent.model.configuration import AgentConfig, HostConfig
from storage_agent.service import pair_listener
from storage_agent.service.pair_listener import PLACES, PairListener, listen
from tests.unit.fakes import agent_config, volume_config

WAIT_S = 10.0


def nothing(_volume: str) -> str:
    return ""


ALPHA, BETA, STRANGER = "127.0.0.21", "127.0.0.22", "127.0.0.23"


def free_port() -> int:
    with socket.socket() as found:
        found.bind((BETA, 0))
        port: int = found.getsockname()[1]
        return port


class Pair:
    """Two hosts' files and configurations, and beta's listener."""

    def __init__(self, folder: Path) -> None:
        self.roots = {name: folder / name for name in ("alpha", "beta")}
        for root in self.roots.values():
            (root / "etc/storage-agent").mkdir(parents=True)
        port = free_port()
        self.configs = {
            name: dataclasses.replace(
                agent_config(),
                host=name,
                hosts={
                    "alpha": HostConfig(name="alpha", address=ALPHA),
                    "beta": HostConfig(name="beta", address=BETA),
                },
                compare_port=port,
            )
            for name in self.roots
        }
        self.place = (BETA, port)
        self.refusals = {"data": ""}
        self.listener = PairListener(
            lambda: self.configs["beta"],
            refusal=lambda volume: self.refusals[volume],
            root=self.roots["beta"],
        )

    def share_secret(self) -> None:
        """As scp -p does."""
        make_secret("data", self.roots["alpha"])
        file = "etc/storage-agent/pair/data.secret"
        source, target = (root / file for root in self.roots.values())
        target.parent.mkdir(mode=0o700)
        target.touch(0o600)
        target.write_bytes(source.read_bytes())

    def ask(self) -> Agreement:
        found = compare(self.configs["alpha"], volume_config(), self.roots["alpha"])
        assert found is not None
        return found

    def change(self, name: str, **changes: Any) -> None:
        volume = dataclasses.replace(volume_config(), **changes)
        self.configs[name] = dataclasses.replace(self.configs[name], volumes={"data": volume})

    def start(self) -> None:
        self.listener.start()
        deadline_s = time.monotonic() + WAIT_S
        while self.ask().silence is Silence.REFUSED and time.monotonic() < deadline_s:
            time.sleep(0.02)


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    monkeypatch.setattr(pair_listener, "LOOK_S", 0.1)
    made = Pair(tmp_path)
    yield made
    made.listener.stop()


def received(address: str, place: tuple[str, int], sent: bytes = b"") -> bytes:
    """All that root at this address gets."""
    with connect(address, *place) as connection:
        return exchanged(connection, sent)


def exchanged(connection: socket.socket, sent: bytes) -> bytes:
    found = b""
    with contextlib.suppress(ConnectionResetError, BrokenPipeError):
        connection.sendall(sent)
        while more := connection.recv(4096):
            found += more
    return found


@pytest.mark.sockets
def test_two_hosts_compare(pair: Pair) -> None:
    pair.share_secret()
    pair.start()
    assert pair.ask().differing == {}
    pair.change("beta", mount_point="/srv/other")
    assert pair.ask().differing == {"volumes.data.mount_point": ('"/srv/data"', '"/srv/other"')}
    pair.change("alpha", mount_point="/srv/other")
    found = pair.ask()
    assert (found.silence, found.differing) == (None, {})


@pytest.mark.sockets
def test_the_peer_says_what_would_refuse_it_as_it_is_at_that_moment(pair: Pair) -> None:
    pair.share_secret()
    pair.start()
    assert pair.ask().refusal == ""
    pair.refusals["data"] = "STATE_FOLDER: full \u2026 \x1b[31m" + "x" * 500
    told = pair.ask().refusal
    assert told.startswith("STATE_FOLDER: full ? ?[31mxxx")
    assert len(told) == REFUSAL_LIMIT_CHARS
    pair.refusals["data"] = ""
    assert pair.ask() == dataclasses.replace(pair.ask(), refusal="")


@pytest.mark.sockets
def test_without_a_secret_nobody_listens_and_with_one_somebody_does(pair: Pair) -> None:
    pair.listener.start()
    time.sleep(0.3)
    assert pair.ask() == Agreement(has_secret=False, asked=f"{BETA} port {pair.place[1]}")
    with pytest.raises(ConnectionRefusedError):
        received(ALPHA, pair.place)
    pair.share_secret()
    deadline_s = time.monotonic() + WAIT_S
    while pair.ask().silence and time.monotonic() < deadline_s:
        time.sleep(0.02)
    assert pair.ask().silence is None
    (pair.roots["beta"] / "etc/storage-agent/pair/data.secret").unlink()
    deadline_s = time.monotonic() + WAIT_S
    while pair.ask().silence is not Silence.REFUSED and time.monotonic() < deadline_s:
        time.sleep(0.02)
    assert pair.ask().silence is Silence.REFUSED


@pytest.mark.sockets
@pytest.mark.parametrize("sent", [b"", b"hello\n", b"x" * 100_000])
def test_a_third_machine_gets_nothing(pair: Pair, sent: bytes) -> None:
    pair.share_secret()
    pair.start()
    assert received(STRANGER, pair.place, sent) == b""
    assert pair.ask().silence is None


@pytest.mark.sockets
def test_who_is_not_root_on_the_peer_gets_nothing_and_holds_no_place(pair: Pair) -> None:
    """Whom the kernel gives no reserved port."""
    pair.share_secret()
    pair.start()
    idle = [socket.create_connection(pair.place, WAIT_S, (ALPHA, 0)) for _ in range(PLACES + 1)]
    try:
        assert [exchanged(connection, b"") for connection in idle] == [b""] * len(idle)
        assert pair.ask().silence is None
    finally:
        for connection in idle:
            connection.close()


@pytest.mark.sockets
def test_the_peers_address_alone_gets_a_greeting_and_no_more(pair: Pair) -> None:
    pair.share_secret()
    pair.start()
    greeting = received(ALPHA, pair.place, b"what do you have?\n")
    assert greeting.startswith(b"storage-agent-pair-1 ")
    assert greeting.count(b"\n") == 1
    assert pair.ask().silence is None


@pytest.mark.sockets
def test_a_host_with_another_secret_is_not_answered(pair: Pair) -> None:
    pair.share_secret()
    file = pair.roots["alpha"] / "etc/storage-agent/pair/data.secret"
    file.write_text("0" * 64 + "\n")
    pair.start()
    assert pair.ask().silence is Silence.DISBELIEVED


@pytest.mark.sockets
def test_a_secret_that_others_can_read_is_not_used(pair: Pair) -> None:
    pair.share_secret()
    (pair.roots["beta"] / "etc/storage-agent/pair/data.secret").chmod(0o644)
    pair.start()
    assert pair.ask().silence is Silence.DISBELIEVED


@pytest.mark.sockets
def test_those_who_say_nothing_hold_places_for_a_moment_only(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage_agent.host.pair.exchange.TIMEOUT_S", 0.5)
    pair.share_secret()
    pair.start()
    idle = [connect(ALPHA, *pair.place) for _ in range(PLACES + 1)]
    try:
        deadline_s = time.monotonic() + WAIT_S
        while pair.ask().silence and time.monotonic() < deadline_s:
            time.sleep(0.1)
        assert pair.ask().silence is None
    finally:
        for connection in idle:
            connection.close()


@pytest.mark.sockets
def test_it_moves_with_the_configuration(pair: Pair) -> None:
    pair.share_secret()
    pair.start()
    port = free_port()
    for name, config in pair.configs.items():
        pair.configs[name] = dataclasses.replace(config, compare_port=port)
    deadline_s = time.monotonic() + WAIT_S
    while pair.ask().silence and time.monotonic() < deadline_s:
        time.sleep(0.02)
    assert pair.ask().silence is None
    with pytest.raises(ConnectionRefusedError):
        received(ALPHA, pair.place)


@pytest.mark.sockets
def test_an_address_that_is_not_there_yet_is_tried_again(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    pair.share_secret()
    tried = threading.Event()

    def late(address: str, port: int) -> socket.socket:
        if not tried.is_set():
            tried.set()
            raise OSError(99, "Cannot assign requested address")
        return listen(address, port)

    pair.listener.stop()
    pair.listener = PairListener(
        lambda: pair.configs["beta"], refusal=nothing, root=pair.roots["beta"], listen=late
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pair_listener, "LOOK_S", 0.1)
        pair.start()
        assert tried.is_set()
        assert pair.ask().silence is None
        pair.listener.stop()


@pytest.mark.sockets
def test_one_that_was_never_started_stops() -> None:
    PairListener(agent_config, refusal=nothing).stop()


@pytest.mark.sockets
def test_a_fault_of_its_own_does_not_end_it(pair: Pair) -> None:
    pair.share_secret()
    config = pair.configs["beta"]
    failures: list[int] = []

    def flaky() -> AgentConfig:
        if not failures:
            failures.append(1)
            raise ValueError("once")
        return config

    pair.listener.stop()
    pair.listener = PairListener(flaky, refusal=nothing, root=pair.roots["beta"])
    pair.start()
    assert failures == [1]
    assert pair.ask().silence is None
