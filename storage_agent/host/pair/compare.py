"""Asks the peer's agent what it has configured of a volume, and compares. Changes nothing."""

from __future__ import annotations

import errno
import ipaddress
import random
import socket
from collections.abc import Callable
from pathlib import Path

from storage_agent import __version__
from storage_agent.host.pair.exchange import TIMEOUT_S, NotProven, Statement, TurnedAway, ask
from storage_agent.host.pair.secret import read_secret
from storage_agent.model.agreement import Agreement, Silence, different, shared
from storage_agent.model.configuration import AgentConfig, VolumeConfig
from storage_agent.model.errors import AgentError

REFUSAL_LIMIT_CHARS = 200
# Each is one byte of the exchange, whatever it is wrapped in.
_PLAIN = frozenset(map(chr, range(32, 127))) - {'"', "\\"}
# Root's alone to bind, as in bindresvport(3): no local user on the peer can hold the few places.
RESERVED_PORTS = range(600, 1024)

# own address, peer's address, port
Connect = Callable[[str, str, int], socket.socket]


def statement(config: AgentConfig, volume: str, refusal: str = "") -> Statement:
    """What this host says. refusal: see Statement; whatever it is made of, it goes as plain text
    of at most REFUSAL_LIMIT_CHARS."""
    plain = "".join(c if c in _PLAIN else "?" for c in refusal.replace('"', "'"))
    return Statement(
        agent_version=__version__,
        values=shared(config, volume),
        refusal=plain[:REFUSAL_LIMIT_CHARS],
    )


def connect(address: str, peer: str, port: int) -> socket.socket:
    """From the own replication address and a reserved port: to no other does the peer listen.
    Raises OSError."""
    family = socket.AF_INET6 if ipaddress.ip_address(peer).version == 6 else socket.AF_INET
    connection = socket.socket(family, socket.SOCK_STREAM)
    try:
        connection.settimeout(TIMEOUT_S)
        _bind_reserved(connection, address)
        connection.connect((peer, port))
    except BaseException:
        connection.close()
        raise
    return connection


def _bind_reserved(connection: socket.socket, address: str) -> None:
    """Raises OSError."""
    for port in random.sample(RESERVED_PORTS, len(RESERVED_PORTS)):
        try:
            connection.bind((address, port))
        except OSError as exc:
            if exc.errno != errno.EADDRINUSE:
                raise
        else:
            return
    raise OSError(errno.EADDRINUSE, "no reserved port is free")


def compare(
    config: AgentConfig,
    volume: VolumeConfig,
    root: Path = Path("/"),
    connect: Connect = connect,
) -> Agreement | None:
    """None where there is nobody to compare with. Takes at most twice TIMEOUT_S."""
    here, peer = config.hosts.get(config.host), config.peer_of(config.host)
    if volume.replica is None or here is None or peer is None:
        return None
    asked = f"{peer.address} port {config.compare_port}"
    try:
        secret = read_secret(volume.name, root)
    except AgentError as exc:
        silence = Silence.SECRET_UNUSABLE
        return Agreement(has_secret=True, asked=asked, silence=silence, detail=exc.message)
    if secret is None:
        return Agreement(has_secret=False, asked=asked)
    mine = statement(config, volume.name)
    try:
        with connect(here.address, peer.address, config.compare_port) as connection:
            theirs = ask(
                connection, secret, volume.name, mine=mine, host=config.host, peer=peer.name
            )
    except (NotProven, OSError) as exc:
        silence, detail = _silence(exc), getattr(exc, "strerror", None) or str(exc)
        return Agreement(has_secret=True, asked=asked, silence=silence, detail=detail[:200])
    return Agreement(
        has_secret=True,
        asked=asked,
        peer_version=theirs.agent_version[:40],
        differing=different(mine.values, theirs.values),
        refusal=theirs.refusal[:REFUSAL_LIMIT_CHARS],
    )


def _silence(exc: NotProven | OSError) -> Silence:
    if isinstance(exc, TurnedAway):
        return Silence.TURNED_AWAY
    if isinstance(exc, NotProven):
        return Silence.DISBELIEVED
    if isinstance(exc, ConnectionRefusedError):
        return Silence.REFUSED
    return Silence.UNREACHABLE
