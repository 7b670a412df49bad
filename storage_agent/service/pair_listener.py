"""Answers the peer's agent, which asks what this host has configured of a volume.

Listens on this host's replication address alone, only while there is a volume with a secret, and
speaks with nobody but root at the peer's replication address (a reserved port). What it would say
to others is nothing.
"""

from __future__ import annotations

import contextlib
import ipaddress
import select
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import structlog

from storage_agent.host.pair.compare import RESERVED_PORTS, statement
from storage_agent.host.pair.exchange import TIMEOUT_S, NotProven, answer
from storage_agent.host.pair.secret import has_secret, read_secret
from storage_agent.model.configuration import AgentConfig
from storage_agent.model.errors import AgentError

# At once; an exchange takes milliseconds, and two seconds at most.
PLACES = 4
# Between two: however many come, this takes a twentieth of a second of nobody's time.
PAUSE_S = 0.05
# How often it is looked whether there is anything to listen for.
LOOK_S = 5.0
SAY_EVERY_S = 60.0

# own address, port
Listen = Callable[[str, int], socket.socket]
log = structlog.get_logger()


def listen(address: str, port: int) -> socket.socket:
    """Raises OSError."""
    is_6 = ipaddress.ip_address(address).version == 6
    listener = socket.socket(socket.AF_INET6 if is_6 else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(PLACES)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


class PairListener:
    """config: what is configured now.  refusal: the first thing that a promotion here of the
    volume would be refused for; it may take long, and then the peer does not get an answer."""

    def __init__(
        self,
        config: Callable[[], AgentConfig],
        *,
        refusal: Callable[[str], str],
        root: Path = Path("/"),
        listen: Listen = listen,
    ) -> None:
        self._config = config
        self._refusal = refusal
        self._root = root
        self._listen = listen
        self._place: tuple[str, int] | None = None
        self._listener: socket.socket | None = None
        self._places = threading.BoundedSemaphore(PLACES)
        self._end = threading.Event()
        self._wake, self._waker = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name="pair", daemon=True)
        self._said_s = -SAY_EVERY_S
        self._unsaid = 0

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._end.set()
        self._waker.close()
        if self._thread.ident is None:
            self._wake.close()
        else:
            self._thread.join(LOOK_S)

    def _run(self) -> None:
        try:
            while not self._end.is_set():
                try:
                    self._turn()
                except Exception:
                    log.exception("answering the peer failed, goes on")
                    self._end.wait(LOOK_S)
        finally:
            self._close()
            self._wake.close()

    def _turn(self) -> None:
        config = self._config()
        self._follow(_place(config, self._root))
        wanted = [self._wake] if self._listener is None else [self._wake, self._listener]
        poll = select.poll()
        for source in wanted:
            poll.register(source, select.POLLIN)
        ready = {descriptor for descriptor, _ in poll.poll(LOOK_S * 1000)}
        if self._listener is not None and self._listener.fileno() in ready:
            self._accept(self._listener, config)
            self._end.wait(PAUSE_S)

    def _follow(self, place: tuple[str, int] | None) -> None:
        if self._listener is not None and place == self._place:
            return
        self._close()
        if place is None:
            return
        try:
            self._listener = self._listen(*place)
        except OSError as exc:
            # The address may come later.
            self._say("the peer's agent cannot ask here", f"{place[0]} port {place[1]}: {exc}")
            return
        self._place = place
        log.info("the peer's agent may ask here", address=place[0], port=place[1])

    def _close(self) -> None:
        if self._listener is not None:
            self._listener.close()
        self._listener = self._place = None

    def _accept(self, listener: socket.socket, config: AgentConfig) -> None:
        if not self._places.acquire(timeout=TIMEOUT_S):
            # It waits in the kernel's queue, or gives up.
            return
        try:
            connection, address = listener.accept()
        except OSError:
            self._places.release()
            return
        peer = config.peer_of(config.host)
        if peer is None or not _is(address[0], peer.address) or address[1] not in RESERVED_PORTS:
            connection.close()
            self._places.release()
            self._say("turned away who asked", f"from {address[0]} port {address[1]}")
            return
        try:
            threading.Thread(
                target=self._answer, args=(connection, config, peer.name), name="pair", daemon=True
            ).start()
        except RuntimeError as exc:
            connection.close()
            self._places.release()
            self._say("did not answer the peer's address", str(exc))

    def _answer(self, connection: socket.socket, config: AgentConfig, peer: str) -> None:
        try:
            with connection:
                answer(
                    connection,
                    lambda volume: read_secret(volume, self._root),
                    lambda volume: statement(config, volume, self._refusal(volume)),
                    host=config.host,
                    peer=peer,
                )
        except (NotProven, EOFError, OSError, AgentError) as exc:
            self._say("did not answer the peer's address", str(exc))
        finally:
            self._places.release()

    def _say(self, what: str, why: str) -> None:
        """Once a minute, whoever knocks however often."""
        now_s = time.monotonic()
        if now_s - self._said_s < SAY_EVERY_S:
            self._unsaid += 1
            return
        log.warning(what, why=why[:200], not_said=self._unsaid)
        self._said_s, self._unsaid = now_s, 0


def _place(config: AgentConfig, root: Path) -> tuple[str, int] | None:
    here = config.hosts.get(config.host)
    shared = [name for name, volume in config.volumes.items() if volume.replica is not None]
    if here is None or not any(has_secret(name, root) for name in shared):
        return None
    return here.address, config.compare_port


def _is(address: str, wanted: str) -> bool:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(address) == ipaddress.ip_address(wanted)
    return False
