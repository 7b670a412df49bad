"""The `drbdsetup events2` child: every state of every replica, in order, as it happens.

Host tools: drbdsetup (host.drbd.stream_argv), one process for the host, only while the driver is
loaded and a volume has a replica.
"""

from __future__ import annotations

import contextlib
import os
import select
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Protocol

import structlog

from storage_agent.host.drbd.stream import EventStream
from storage_agent.host.drbd.version import parse_driver_version
from storage_agent.model.configuration import AgentConfig
from storage_agent.model.errors import AgentError, ParseError
from storage_agent.model.replica import Replica
from storage_agent.model.snapshot import Facet
from storage_agent.service.observing.attachments import Attachments
from storage_agent.service.observing.sources import Hint, Source

FIRST_RETRY_S = 0.5
LAST_RETRY_S = 60.0
# A child that lived so long did its work: the next one starts without much waiting.
GOOD_LIFE_S = 60.0
# How often the loop turns while a record of an attachment settles.
SETTLING_TURN_S = 1.0
# The look that completes a state costs a process, and states come in bursts.
COMPLETE_S = 1.0
_CHUNK_BYTES = 64 << 10
# What the kernel is told to do comes and goes with its disk and its connection.
GUARDS_S = 5.0
_LOOK_AT_REPLICAS = frozenset({Facet.REPLICA})
_LOOK_AT_GUARDS = frozenset({Facet.GUARDS})

log = structlog.get_logger()


class Child(Protocol):
    """What host.system.runner.Runner.stream returns."""

    @property
    def stdout(self) -> IO[bytes] | None: ...

    @property
    def stderr(self) -> IO[bytes] | None: ...


class ReplicaSource(Source):
    """start: Runner.stream of stream_argv.  end: host.system.runner.end_stream.  seen: gets each
    new state of a volume's replica (the resource is called like the volume)."""

    def __init__(
        self,
        *,
        start: Callable[[], Child],
        end: Callable[[Any], None],
        attachments: Attachments,
        seen: Callable[[str, Replica | None], None],
        version_path: Path = Path("/sys/module/drbd/version"),
    ) -> None:
        self._start = start
        self._end_child = end
        self._attachments = attachments
        self._seen = seen
        self._version_path = version_path
        self._resources: frozenset[str] = frozenset()
        self._peer = ""
        self._child: Child | None = None
        self._stream: EventStream | None = None
        self._has_driver = True
        self._begun_s = 0.0
        self._turned_s = 0.0
        self._retry_s = 0.0
        self._pause_s = FIRST_RETRY_S

    def configure(self, config: AgentConfig) -> None:
        resources = frozenset(name for name, v in config.volumes.items() if v.replica)
        other = config.peer_of(config.host)
        peer = other.name if other else ""
        if (resources, peer) != (self._resources, self._peer):
            self._end("the configuration has changed")
            self._resources, self._peer = resources, peer
            self._retry_s, self._pause_s = 0.0, FIRST_RETRY_S

    def tick(self, now_s: float) -> tuple[Hint, ...]:
        self._attachments.pass_time(now_s)
        self._turned_s = now_s
        if self._child is not None or not self._resources or now_s < self._retry_s:
            return ()
        version = self._driver_version()
        self._has_driver = version is not None
        if version is None:
            # One open(2): cheap enough for every turn of the loop, which turns by itself too.
            return ()
        try:
            self._child = self._start()
        except (AgentError, OSError) as exc:
            self._wait_longer(now_s)
            log.warning("DRBD's events cannot be read", error=str(exc), retry_s=self._pause_s)
            return ()
        for pipe in (self._child.stdout, self._child.stderr):
            assert pipe is not None
            os.set_blocking(pipe.fileno(), False)
        self._stream = EventStream(version, self._resources, self._peer)
        self._begun_s = now_s
        return (Hint(_LOOK_AT_REPLICAS),)

    def wake_s(self) -> float:
        is_waiting = self._child is None and self._resources and self._has_driver
        retry_s = self._retry_s if is_waiting else float("inf")
        is_settling = self._attachments.is_settling()
        return min(retry_s, self._turned_s + SETTLING_TURN_S) if is_settling else retry_s

    def descriptors(self) -> dict[int, int]:
        return dict.fromkeys(self._pipes(), select.POLLIN)

    def ready(self, descriptor: int, now_s: float) -> tuple[Hint, ...]:
        chunk = _read(descriptor)
        if chunk is None:
            return ()
        if not chunk:
            return self._lost("the stream ended", now_s)
        if descriptor != self._pipes()[0]:
            log.warning("drbdsetup events2", stderr=chunk.decode("utf-8", "replace")[:500])
            return ()
        return self._feed(chunk, now_s)

    def close(self) -> None:
        self._end("the agent is stopping")

    def _feed(self, chunk: bytes, now_s: float) -> tuple[Hint, ...]:
        assert self._stream is not None
        update = self._stream.feed(chunk)
        if update.resync:
            return self._lost(update.resync, now_s)
        for helper in update.helpers:
            log.info(
                "DRBD handler",
                volume=helper.resource,
                helper=helper.helper,
                exit_status=helper.exit_status,
            )
        for name, replica in update.states:
            self._attachments.follow(name, replica)
        newest = update.replicas()
        for name, replica in newest.items():
            self._seen(name, replica)
        # The stream knows neither identifiers nor what ticks: a look completes it.
        looks = ((_LOOK_AT_REPLICAS, COMPLETE_S), (_LOOK_AT_GUARDS, GUARDS_S))
        return tuple(Hint(facets, name, delay) for name in newest for facets, delay in looks)

    def _lost(self, why: str, now_s: float) -> tuple[Hint, ...]:
        log.warning("DRBD's events were lost, looking anew", reason=why)
        self._end(why)
        if now_s - self._begun_s >= GOOD_LIFE_S:
            self._pause_s = FIRST_RETRY_S
        self._wait_longer(now_s)
        return (Hint(_LOOK_AT_REPLICAS),)

    def _wait_longer(self, now_s: float) -> None:
        self._retry_s = now_s + self._pause_s
        self._pause_s = min(self._pause_s * 2, LAST_RETRY_S)

    def _end(self, why: str) -> None:
        self._attachments.lose_sight(self._resources, why)
        child, self._child, self._stream = self._child, None, None
        if child is None:
            return
        # It only reads a socket and dies at once; a stuck one is left behind.
        with contextlib.suppress(AgentError):
            self._end_child(child)

    def _pipes(self) -> list[int]:
        if self._child is None or self._child.stdout is None or self._child.stderr is None:
            return []
        return [self._child.stdout.fileno(), self._child.stderr.fileno()]

    def _driver_version(self) -> str | None:
        try:
            return parse_driver_version(self._version_path.read_text())
        except (OSError, ParseError):
            return None


def _read(descriptor: int) -> bytes | None:
    """None: nothing there after all; empty: the other end is closed."""
    try:
        return os.read(descriptor, _CHUNK_BYTES)
    except BlockingIOError:
        return None
