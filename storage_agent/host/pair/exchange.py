"""One exchange between the two agents: each proves that it has the volume's secret, and says what
it has configured. There is nothing else that could be asked.

    answerer -> asker   storage-agent-pair-1 NONCE
    asker -> answerer   VOLUME NONCE MAC PAYLOAD
    answerer -> asker   MAC PAYLOAD

Each a line of at most LIMIT_BYTES. A MAC is HMAC-SHA256 with the secret over the direction, both
nonces, both hosts' names, the volume and the payload: what was said once, to somebody else, the
other way round or about another volume proves nothing. Nothing is parsed of what is not proven but
the volume's name.
"""

from __future__ import annotations

import hmac
import json
import re
import secrets
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

LIMIT_BYTES = 4096
TIMEOUT_S = 2.0
_GREETING = re.compile(rb"storage-agent-pair-1 ([0-9a-f]{64})")
_QUESTION = re.compile(rb"([a-z][a-z0-9-]{0,30}) ([0-9a-f]{64}) ([0-9a-f]{64}) ([!-~ ]+)")
_ANSWER = re.compile(rb"([0-9a-f]{64}) ([!-~ ]+)")


class NotProven(Exception):
    """The other side is not who it should be, or what it sent is not what it said."""


class TurnedAway(NotProven):
    """It closed before it said anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """What one host says: its agent's version, and of `shared` (model/agreement.py) all.

    refusal: the first thing that a promotion there would be refused for now; empty where nothing
    is, or it is not said: by an earlier version, and by who asks."""

    agent_version: str
    values: Mapping[str, str]
    refusal: str = ""


def ask(
    connection: socket.socket,
    secret: bytes,
    volume: str,
    *,
    mine: Statement,
    host: str,
    peer: str,
) -> Statement:
    """Raises NotProven, OSError."""
    line = _Lines(connection)
    try:
        greeting = line.read()
    except (EOFError, ConnectionResetError) as exc:
        raise TurnedAway("it closed the connection at once") from exc
    greeted = _match(_GREETING, greeting)
    try:
        nonces = greeted[0], secrets.token_hex(32).encode()
        said = _encode(mine)
        talk = _Talk(secret=secret, nonces=nonces, hosts=(host, peer), volume=volume)
        line.write(b" ".join((volume.encode(), nonces[1], talk.mac("ask", said), said)))
        mac, payload = _match(_ANSWER, line.read(is_last=True))
    except (EOFError, ConnectionResetError, BrokenPipeError) as exc:
        raise NotProven("it closed the connection without an answer") from exc
    talk.prove("answer", payload, mac)
    return _decode(payload)


def answer(
    connection: socket.socket,
    secret_of: Callable[[str], bytes | None],
    statement_of: Callable[[str], Statement],
    *,
    host: str,
    peer: str,
) -> str:
    """The volume that was asked for. Raises NotProven, EOFError, OSError."""
    line = _Lines(connection)
    nonce = secrets.token_hex(32).encode()
    line.write(b"storage-agent-pair-1 " + nonce)
    name, other, mac, payload = _match(_QUESTION, line.read())
    volume = name.decode()
    secret = secret_of(volume)
    if secret is None:
        raise NotProven(f"there is no secret of {volume} here")
    talk = _Talk(secret=secret, nonces=(nonce, other), hosts=(peer, host), volume=volume)
    talk.prove("ask", payload, mac)
    said = _encode(statement_of(volume))
    line.write(b" ".join((talk.mac("answer", said), said)))
    return volume


@dataclass(frozen=True, slots=True, kw_only=True)
class _Talk:
    """nonces: the answerer's, the asker's.  hosts: the asker, the answerer."""

    secret: bytes
    nonces: tuple[bytes, bytes]
    hosts: tuple[str, str]
    volume: str

    def mac(self, direction: str, payload: bytes) -> bytes:
        names = (direction, *self.hosts, self.volume)
        parts = (*self.nonces, *(name.encode() for name in names), payload)
        text = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
        return hmac.new(self.secret, text, "sha256").hexdigest().encode()

    def prove(self, direction: str, payload: bytes, mac: bytes) -> None:
        """Raises NotProven."""
        if not hmac.compare_digest(self.mac(direction, payload), mac):
            raise NotProven(f"what came proves no secret of {self.volume}")


class _Lines:
    """Of one connection, all within TIMEOUT_S."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._end_s = time.monotonic() + TIMEOUT_S

    def read(self, *, is_last: bool = False) -> bytes:
        """Nothing may follow it: whoever says more than it was asked for is not the peer.
        is_last: then the connection ends. Raises NotProven, EOFError, OSError."""
        content = b""
        while not content.endswith(b"\n"):
            content += (more := self._receive(LIMIT_BYTES + 1 - len(content)))
            if not more and content:
                raise NotProven("cut off in the middle of a line")
            if not more:
                raise EOFError("ended without a word")
            if len(content) > LIMIT_BYTES:
                raise NotProven(f"more than {LIMIT_BYTES} bytes")
        if is_last and self._receive(1):
            raise NotProven("more than one line")
        return content[:-1]

    def write(self, line: bytes) -> None:
        """Raises NotProven, OSError."""
        if len(line) >= LIMIT_BYTES:
            raise NotProven(f"more than {LIMIT_BYTES} bytes to say")
        self._connection.settimeout(self._left_s())
        self._connection.sendall(line + b"\n")

    def _receive(self, most: int) -> bytes:
        self._connection.settimeout(self._left_s())
        return self._connection.recv(most)

    def _left_s(self) -> float:
        left_s = self._end_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError(f"not ended within {TIMEOUT_S:g} s")
        return left_s


def _match(form: re.Pattern[bytes], line: bytes) -> tuple[bytes, ...]:
    found = form.fullmatch(line)
    if found is None:
        raise NotProven("not a word of this exchange")
    return found.groups()


def _encode(statement: Statement) -> bytes:
    said: dict[str, object] = {
        "agent_version": statement.agent_version,
        "values": dict(statement.values),
    }
    if statement.refusal:
        said["refusal"] = statement.refusal
    return json.dumps(said, separators=(",", ":")).encode("ascii")


def _decode(payload: bytes) -> Statement:
    """Of the peer, which has proven the secret; it is a stranger's text still. Raises NotProven."""
    try:
        said = json.loads(payload)
        version, values = said["agent_version"], said["values"]
        refusal = said.get("refusal", "")
        words = (version, refusal, *values.keys(), *values.values())
        is_plain = all(word.isascii() and word.isprintable() for word in words)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
        raise NotProven("what the peer says has another form") from exc
    if not is_plain:
        raise NotProven("what the peer says is no plain text")
    return Statement(agent_version=version, values=values, refusal=refusal)
