"""What this daemon has seen of each replica's attachment, and the host that says so.

The event stream shows every state in order; a single look does not. So the record is kept here,
and every look that the engine takes carries it. Where the watch may have missed something, the
record says that nothing is known.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext

from storage_agent.model.array import Disk
from storage_agent.model.clock import Deadline
from storage_agent.model.configuration import VolumeConfig
from storage_agent.model.creation import MadeView
from storage_agent.model.incident import Incident
from storage_agent.model.operation import OperationRequest
from storage_agent.model.plan import Step, StepKind
from storage_agent.model.ports import HostPort, Progress
from storage_agent.model.replica import Replica
from storage_agent.model.snapshot import CHEAP_FACETS, Attachment, Facet, VolumeSnapshot
from storage_agent.model.surroundings import Surroundings
from storage_agent.policy.evidence import (
    NEVER_SEEN,
    SETTLE_S,
    follow,
    lost_sight,
    settled,
    settles,
)

Around = Callable[[StepKind, VolumeConfig], AbstractContextManager[None]]


# Time that nobody has watched is none: the host may have stood still.
GAP_S = 5.0


class Attachments:
    """One record a volume. Written by the observer, read by every thread. gap_s: the longest time
    between two calls of `pass_time` that counts."""

    def __init__(self, gap_s: float = GAP_S) -> None:
        self._gap_s = gap_s
        self._passed_s = 0.0
        # Of those that settle: for how long.
        self._settling: dict[str, float] = {}
        self._records: dict[str, Attachment] = {}
        self._news: dict[str, threading.Event] = {}
        self._lock = threading.Lock()

    def of(self, volume: str) -> Attachment:
        return self._records.get(volume, NEVER_SEEN)

    def follow(self, volume: str, replica: Replica | None) -> None:
        """One more state, in the order in which the kernel showed them."""
        with self._lock:
            self._records[volume] = follow(self.of(volume), replica)
            if settles(self.of(volume)):
                self._settling.setdefault(volume, 0.0)
            else:
                self._settling.pop(volume, None)
            self._news_of(volume).set()

    def pass_time(self, now_s: float) -> None:
        """To be called again and again; now_s: of a monotonic clock."""
        with self._lock:
            gap_s, self._passed_s = now_s - self._passed_s, now_s
            for volume, so_far_s in list(self._settling.items()):
                watched_s = so_far_s + gap_s if gap_s <= self._gap_s else 0.0
                self._settling[volume] = watched_s
                if watched_s >= SETTLE_S:
                    del self._settling[volume]
                    self._records[volume] = settled(self.of(volume))

    def is_settling(self) -> bool:
        return bool(self._settling)

    def wait_for_news(self, volume: str, timeout_s: float) -> None:
        """Returns at the next state, or if there was one since the last call. One caller a
        volume: the operation that holds it."""
        with self._lock:
            news = self._news_of(volume)
        news.wait(timeout_s)
        news.clear()

    def _news_of(self, volume: str) -> threading.Event:
        return self._news.setdefault(volume, threading.Event())

    def lose_sight(self, volumes: Iterable[str], why: str) -> None:
        """States may have been missed. What was already broken keeps its first reason."""
        with self._lock:
            for volume in volumes:
                self._settling.pop(volume, None)
                if self.of(volume).in_sync_until_loss or settles(self.of(volume)):
                    self._records[volume] = lost_sight(why)


class WatchedHost:
    """Implements HostPort on top of another: the same looks, with the attachment's record.

    catch_up: returns True once everything that the kernel had said before the call was followed.
    tell: gets each look, so that nobody else has to take it again.
    around: entered for each step.
    """

    def __init__(
        self,
        host: HostPort,
        attachments: Attachments,
        catch_up: Callable[[], bool],
        tell: Callable[[VolumeSnapshot, frozenset[Facet]], None],
        around: Around = lambda kind, volume: nullcontext(),
    ) -> None:
        self._around = around
        self._host = host
        self._attachments = attachments
        self._catch_up = catch_up
        self._tell = tell

    def observe(
        self, volume: VolumeConfig, facets: frozenset[Facet] = CHEAP_FACETS
    ) -> VolumeSnapshot:
        seen = self._host.observe(volume, facets)
        self._tell(seen, facets)
        if volume.replica is None:
            return seen
        # Only with the replica's state does it matter that the record is as new as the look.
        if Facet.REPLICA not in facets or self._catch_up():
            record = self._attachments.of(volume.name)
        else:
            record = lost_sight("the agent's own watch over DRBD's events does not keep up")
        return dataclasses.replace(seen, attachment=record)

    def made(self, volume: VolumeConfig) -> MadeView:
        return self._host.made(volume)

    def surroundings(self) -> Surroundings:
        return self._host.surroundings()

    def disks(self, serials: tuple[str, ...]) -> tuple[Disk, ...]:
        return self._host.disks(serials)

    def boot_id(self) -> str:
        return self._host.boot_id()

    def perform(
        self,
        step: Step,
        volume: VolumeConfig,
        request: OperationRequest,
        deadline: Deadline,
        progress: Progress,
    ) -> None:
        with self._around(step.kind, volume):
            self._host.perform(step, volume, request, deadline, progress)

    def take_proof(self, volume: VolumeConfig, name: str) -> str:
        return self._host.take_proof(volume, name)

    def answer(self, incident: Incident) -> None:
        self._host.answer(incident)
