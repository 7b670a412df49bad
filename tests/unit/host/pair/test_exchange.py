"""The exchange between two agents: what it gives, and that nobody else gets anything of it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from storage_agent import __version__
from storage_agent.host.pair import exchange
from storage_agent.host.pair.compare import statement
from storage_agent.host.pair.exchange import (
    LIMIT_BYTES,
    NotProven,
    Statement,
    TurnedAway,
    answer,
    ask,
)
from storage_agent.model.agreement import shared
from storage_agent.model.configuration import AgentConfig, ArrayConfig, HostConfig, NfsConfig
from tests.unit.fakes import agent_config, volume_config

SECRET = bytes(range(32))
OTHER = bytes(32)
ALPHA = Statement(agent_version="1.0", values={"volumes.data.nfs.threads": "8"})
BETA = Statement(agent_version="1.1", values={"volumes.data.nfs.threads": "9"})
WAIT_S = 10.0


class Beta:
    """Answers on one end of a pair of sockets; the other is the test's."""

    def __init__(self, statement: Statement = BETA, secret: bytes | None = SECRET) -> None:
        self.socket, theirs = socket.socketpair()
        self.socket.settimeout(WAIT_S)
        self.asked: list[str] = []
        self.error: BaseException | None = None

        def secret_of(volume: str) -> bytes | None:
            self.asked.append(volume)
            return secret

        def run() -> None:
            try:
                with theirs:
                    answer(theirs, secret_of, lambda _: statement, host="beta", peer="alpha")
            except (NotProven, EOFError, OSError) as exc:
                self.error = exc

        self.thread = threading.Thread(target=run, daemon=True)
        self.thread.start()

    def ask(self, secret: bytes = SECRET, **changes: str) -> Statement:
        named = {"host": "alpha", "peer": "beta", "volume": "data"} | changes
        volume = named.pop("volume")
        return ask(self.socket, secret, volume, mine=ALPHA, host=named["host"], peer=named["peer"])

    def rest(self) -> bytes:
        """What still comes, to the end."""
        found = b""
        with contextlib.suppress(ConnectionResetError):
            while more := self.socket.recv(LIMIT_BYTES):
                found += more
        self.thread.join(WAIT_S)
        return found

    def greeting(self) -> bytes:
        found = b""
        while not found.endswith(b"\n"):
            found += self.socket.recv(1)
        return found


Make = Callable[..., Beta]


@pytest.fixture
def beta() -> Iterator[Make]:
    made: list[Beta] = []

    def make(**options: object) -> Beta:
        made.append(Beta(**options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for one in made:
        one.socket.close()
        one.thread.join(WAIT_S)
        assert not one.thread.is_alive()


def tapped(beta: Make) -> list[bytes]:
    """The lines of a good exchange, as somebody on the link sees them."""
    between, mine = socket.socketpair()
    there = beta()
    lines: list[bytes] = []
    with between, mine:
        asking = threading.Thread(
            target=lambda: ask(mine, SECRET, "data", mine=ALPHA, host="alpha", peer="beta"),
            daemon=True,
        )
        asking.start()
        for source, target in ((there.socket, between), (between, there.socket)) * 2:
            if len(lines) == 3:
                break
            line = b""
            while not line.endswith(b"\n"):
                line += source.recv(1)
            lines.append(line)
            target.sendall(line)
        between.close()
        asking.join(WAIT_S)
    return lines


def test_each_side_learns_what_the_other_has(beta: Make) -> None:
    there = beta()
    assert there.ask() == BETA
    assert there.rest() == b""
    assert (there.error, there.asked) == (None, ["data"])


@pytest.mark.parametrize(
    ("secret", "changes"),
    [
        (OTHER, {}),
        (SECRET, {"volume": "logs"}),
        (SECRET, {"host": "gamma"}),
        (SECRET, {"peer": "gamma"}),
    ],
)
def test_who_cannot_prove_it_gets_nothing(
    beta: Make, secret: bytes, changes: dict[str, str]
) -> None:
    # The secret given is that of `data`.
    there = beta(secret=SECRET if changes.get("volume") is None else OTHER)
    with pytest.raises(NotProven, match="without an answer"):
        there.ask(secret, **changes)
    assert there.rest() == b""
    assert isinstance(there.error, NotProven)


def test_a_volume_without_a_secret_is_not_spoken_of(beta: Make) -> None:
    there = beta(secret=None)
    with pytest.raises(NotProven, match="without an answer"):
        there.ask()
    assert there.rest() == b""
    assert "no secret of data" in str(there.error)


def test_what_was_said_once_proves_nothing_again(beta: Make) -> None:
    _, question, _ = tapped(beta)
    there = beta()
    there.greeting()
    there.socket.sendall(question)
    assert there.rest() == b""
    assert isinstance(there.error, NotProven)


def test_an_answer_of_before_is_not_believed(beta: Make) -> None:
    greeting, _, old = tapped(beta)
    asked_by(greeting, lambda question: old)


def test_the_own_question_sent_back_is_no_answer() -> None:
    asked_by(b"storage-agent-pair-1 " + b"0" * 64 + b"\n", lambda line: line.split(b" ", 2)[2])


def asked_by(greeting: bytes, reply: Callable[[bytes], bytes]) -> None:
    """Somebody who is not the peer greets so, and answers each question so."""
    mine, theirs = socket.socketpair()

    def run() -> None:
        theirs.sendall(greeting)
        line = b""
        while not line.endswith(b"\n"):
            line += theirs.recv(LIMIT_BYTES)
        theirs.sendall(reply(line))
        theirs.shutdown(socket.SHUT_WR)

    thread = threading.Thread(target=run, daemon=True)
    with mine, theirs:
        thread.start()
        with pytest.raises(NotProven, match="proves no secret"):
            ask(mine, SECRET, "data", mine=ALPHA, host="alpha", peer="beta")
        thread.join(WAIT_S)


@pytest.mark.parametrize("place", range(4))
def test_a_question_that_was_changed_on_its_way_is_not_answered(beta: Make, place: int) -> None:
    between, mine = socket.socketpair()
    there = beta()
    with between, mine:
        refused: list[BaseException] = []

        def run() -> None:
            try:
                ask(mine, SECRET, "data", mine=ALPHA, host="alpha", peer="beta")
            except (NotProven, OSError) as exc:
                refused.append(exc)

        asking = threading.Thread(target=run, daemon=True)
        asking.start()
        between.sendall(there.greeting())
        line = b""
        while not line.endswith(b"\n"):
            line += between.recv(LIMIT_BYTES)
        words = line.split(b" ", 3)
        first = words[place][:1]
        words[place] = (b"1" if first != b"1" else b"2") + words[place][1:]
        if place == 0:
            words[0] = b"logs"
        there.socket.sendall(b" ".join(words))
        assert there.rest() == b""
        between.close()
        asking.join(WAIT_S)
        assert len(refused) == 1


NONCE = b"0" * 64


@pytest.mark.parametrize(
    "sent",
    [
        b"\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b'{"jsonrpc":"2.0","id":1,"method":"status"}\n',
        b"data\n",
        b"../data " + NONCE + b" " + NONCE + b" {}\n",
        b"data " + NONCE + b" " + NONCE + b" \x00\n",
        b"data " + NONCE + b" " + NONCE + b" {}\nmore\n",
        b"data " + NONCE + b" " + NONCE + b" " + b"[" * 5000 + b"\n",
        b"x" * (LIMIT_BYTES + 1),
    ],
)
def test_nothing_else_can_be_said(beta: Make, sent: bytes) -> None:
    there = beta()
    there.greeting()
    with contextlib.suppress(BrokenPipeError):
        there.socket.sendall(sent)
    assert there.rest() == b""
    assert isinstance(there.error, NotProven)
    assert there.asked == []


def test_who_ends_in_the_middle_gets_nothing(beta: Make) -> None:
    _, question, _ = tapped(beta)
    there = beta()
    there.greeting()
    there.socket.sendall(question[:-1])
    there.socket.shutdown(socket.SHUT_WR)
    assert there.rest() == b""
    assert isinstance(there.error, NotProven)


def test_who_says_nothing_gets_nothing(beta: Make) -> None:
    there = beta()
    there.greeting()
    there.socket.shutdown(socket.SHUT_WR)
    assert there.rest() == b""
    assert isinstance(there.error, EOFError)


def test_who_is_slow_gets_nothing(beta: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "TIMEOUT_S", 0.3)
    there = beta()
    there.greeting()
    stop = threading.Event()

    def drip() -> None:
        with contextlib.suppress(OSError):
            while not stop.wait(0.05):
                there.socket.sendall(b"d")

    dripping = threading.Thread(target=drip, daemon=True)
    dripping.start()
    assert there.rest() == b""
    stop.set()
    dripping.join(WAIT_S)
    assert isinstance(there.error, TimeoutError)


def test_time_that_is_over_is_over(beta: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "TIMEOUT_S", -1.0)
    there = beta()
    assert there.rest() == b""
    assert isinstance(there.error, TimeoutError)


def fake_peer(*lines: bytes) -> tuple[socket.socket, socket.socket]:
    mine, theirs = socket.socketpair()
    for line in lines:
        theirs.sendall(line)
    theirs.shutdown(socket.SHUT_WR)
    return mine, theirs


@pytest.mark.parametrize(
    ("lines", "error"),
    [
        ((), TurnedAway),
        ((b"SSH-2.0-OpenSSH_9.2\r\n",), NotProven),
        ((b"storage-agent-pair-2 " + NONCE + b"\n",), NotProven),
        ((b"storage-agent-pair-1 " + NONCE + b"\n",), NotProven),
        ((b"storage-agent-pair-1 " + NONCE + b"\n", NONCE + b" {}\n"), NotProven),
        ((b"storage-agent-pair-1 " + NONCE + b"\n", NONCE + b" {}\nx"), NotProven),
    ],
)
def test_who_is_not_the_peer_is_not_believed(
    lines: tuple[bytes, ...], error: type[NotProven]
) -> None:
    mine, theirs = fake_peer(*lines)
    with mine, theirs, pytest.raises(NotProven) as caught:
        ask(mine, SECRET, "data", mine=ALPHA, host="alpha", peer="beta")
    assert type(caught.value) is error


@pytest.mark.parametrize(
    "payload",
    [
        "[]",
        "nothing",
        '{"agent_version":"1"}',
        '{"agent_version":1,"values":{}}',
        '{"agent_version":"1","values":[]}',
        '{"agent_version":"1","values":{"a":2}}',
        '{"agent_version":"1","values":{"a":"\\u001b[2J"}}',
        '{"agent_version":"1","values":{"\\ud800":"b"}}',
        "[" * 3000,
    ],
)
def test_what_the_peer_says_is_a_strangers_text(payload: str) -> None:
    with pytest.raises(NotProven):
        exchange._decode(payload.encode())


def test_too_much_to_say_is_not_said(beta: Make) -> None:
    there = beta(statement=dataclasses.replace(BETA, values={"a": "x" * LIMIT_BYTES}))
    with pytest.raises(NotProven):
        there.ask()


def widest() -> AgentConfig:
    """Names and lists as long as the configuration allows, or longer than anybody needs."""
    one, two = ("a" * 62 + n for n in "12")
    disks = tuple(f"{'S' * 120}{n}" for n in range(100))
    volume = volume_config("d" * 31)
    return AgentConfig(
        host=one,
        hosts={
            n: HostConfig(name=n, address=f"fd00:1111:2222:3333:4444::{n[-1]}") for n in (one, two)
        },
        volumes={
            volume.name: dataclasses.replace(
                volume,
                mount_point="/" + "m" * 199,
                array=ArrayConfig(level="raid10", disks={one: disks, two: disks}, uuid={}),
                services=disks,
                nfs=NfsConfig(
                    address="192.168.100.100/24",
                    interface="i" * 15,
                    link="macvlan",
                    clients=tuple(f"10.9.{n}.0/24" for n in range(256)),
                    options=("rw", "sync", "no_root_squash", "anonuid=65534", "anongid=65534"),
                    threads=256,
                ),
            )
        },
        compare_port=65535,
    )


def test_every_configuration_can_be_said() -> None:
    config = widest()
    (name,) = config.volumes
    long = statement(config, name, '"\\\u00e4' + "x" * 500)
    said = exchange._encode(long)
    assert len(said) + 200 < LIMIT_BYTES
    assert exchange._decode(said) == long
    assert exchange._decode(said).values == shared(config, name)
    assert json.loads(said)["agent_version"] == __version__
    plain = shared(agent_config(), "data")
    assert plain["volumes.data.nfs.address"] == '"10.9.0.10/24"'
