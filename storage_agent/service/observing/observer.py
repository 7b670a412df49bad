"""Keeps the current snapshot of the host, in a thread of its own.

Reading it is one attribute: nobody waits for a look. Each look runs in a short-lived thread, so
a stuck disk makes one part of one volume unknown and holds up nothing else.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import select
import threading
import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog

from storage_agent.model.clock import Clock
from storage_agent.model.configuration import AgentConfig
from storage_agent.model.observed import Unobserved
from storage_agent.model.ports import HostPort
from storage_agent.model.replica import Replica
from storage_agent.model.snapshot import CHEAP_FACETS, Facet, HostSnapshot, VolumeSnapshot
from storage_agent.service.observing.agenda import RESCAN_S, SETTLE_S, STUCK_S, Agenda, Task
from storage_agent.service.observing.attachments import Attachments
from storage_agent.service.observing.changes import Event, describe_changes
from storage_agent.service.observing.looks import (
    Records,
    blank_snapshot,
    carry_over,
    look_at,
    looked_at,
    period_s,
)
from storage_agent.service.observing.sources import Hint, Source

# The loop turns at least so often, to show that it lives.
TURN_S = 10.0
CATCH_UP_TIMEOUT_S = 1.0
# An operation's own looks keep the snapshot fresh for so long.
BUSY_S = 2.0
Publish = Callable[[HostSnapshot, str, tuple[Event, ...]], None]
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Result:
    task: Task
    generation: int
    begun_s: float
    value: Any


class Observer:
    """Between `start` and `stop` it has one thread, and one more for each look under way.
    records: see looks.Records; it may take as long as the disk of the state folder does."""

    def __init__(
        self,
        *,
        config: AgentConfig,
        host: HostPort,
        clock: Clock,
        attachments: Attachments,
        sources: tuple[Source, ...],
        records: Records,
    ) -> None:
        self._config = config
        self._host = host
        self._clock = clock
        self._attachments = attachments
        self._sources = sources
        self._records = records
        self._publish: Publish | None = None
        self._agenda = Agenda()
        self._generation = 0
        self._taken_s: dict[Task, float] = {}
        self._streamed_s: dict[str, float] = {}
        self._poll = select.poll()
        self._polled: dict[int, int] = {}
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        # Not in stop(): another thread may still write to it.
        weakref.finalize(self, os.close, self._wake_fd)
        self._inbox: deque[Callable[[], None]] = deque()
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name="observer", daemon=True)
        self._turned_s = clock.monotonic()
        self.snapshot = self._blank()

    # --- for every thread -----------------------------------------------------------------------

    def start(self, publish: Publish) -> None:
        """publish: called in the observer's thread with the new snapshot, the volume that
        differs from before, and what is worth telling. It must not block."""
        self._publish = publish
        self._post(self._adopt)
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread and what its sources hold, as far as that takes no time."""
        self._is_stopping = True
        self._post(lambda: None)
        if self._thread.ident is not None:
            self._thread.join(1.0)

    def hint(self, volume: str, delay_s: float = SETTLE_S) -> None:
        """Something was done there."""
        self._post(lambda: self._take(Hint(CHEAP_FACETS | {Facet.RECORDS}, volume, delay_s)))

    def looked(self, seen: VolumeSnapshot, facets: frozenset[Facet]) -> None:
        """An operation has looked for itself: taken over, and not looked at again for a while.
        Its own acts would else set off a second look each, beside its own."""
        self._post(lambda: self._take_over(seen, facets))

    def reconfigure(self, config: AgentConfig) -> None:
        """From the next look on; what is configured and was never looked at is unknown."""

        def adopt() -> None:
            self._config = config
            self._adopt()

        self._post(adopt)

    def age_s(self) -> float:
        """Since the loop last turned: small while all is well."""
        return self._clock.monotonic() - self._turned_s

    def catch_up(self) -> bool:
        """Returns once every event that was there before has been taken; False where that does
        not happen in time. Not for the observer's own thread."""
        done = threading.Event()
        self._post(lambda: self._drain(done))
        return done.wait(CATCH_UP_TIMEOUT_S)

    def replica_seen(self, volume: str, replica: Replica | None) -> None:
        """The event stream shows a new state. In the observer's thread only."""
        if volume in self.snapshot.volumes:
            now_s = self._clock.monotonic()
            self._streamed_s[volume] = now_s
            self._merge(Task(volume, Facet.REPLICA), replica, now_s)

    # --- the loop -------------------------------------------------------------------------------

    def _post(self, action: Callable[[], None]) -> None:
        self._inbox.append(action)
        with contextlib.suppress(BlockingIOError, OSError):
            os.eventfd_write(self._wake_fd, 1)

    def _run(self) -> None:
        while not self._is_stopping:
            try:
                self._turn()
            except Exception:
                # The observer must not die of one event; a tight loop is worse than a late look.
                log.exception("observing failed, goes on")
                self._clock.sleep(1.0)
        for source in self._sources:
            source.close()

    def _turn(self) -> None:
        now_s = self._clock.monotonic()
        self._turned_s = now_s
        for source in self._sources:
            self._take_all(source.tick(now_s))
        for task in self._agenda.begin_due(now_s):
            self._begin(task, now_s)
        for task in self._agenda.find_stuck(now_s):
            if self._is_kept(task):
                reason = f"looking at it has not returned for {STUCK_S:g} s"
                self._merge(task, Unobserved(reason=reason), now_s)
        self._wait(self._sleep_s())
        for _ in range(len(self._inbox)):
            self._inbox.popleft()()

    def _sleep_s(self) -> float:
        if self._inbox:
            # Left over from a turn that failed, after its wake-up was taken.
            return 0.0
        wake_s = min((self._agenda.wake_s(), *(source.wake_s() for source in self._sources)))
        return max(0.0, min(TURN_S, wake_s - self._clock.monotonic()))

    def _wait(self, timeout_s: float) -> bool:
        """Waits for events and takes them. False where there was none."""
        owners = {fd: source for source in self._sources for fd in source.descriptors()}
        wanted = {self._wake_fd: select.POLLIN}
        for source in self._sources:
            wanted |= source.descriptors()
        for fd in self._polled.keys() - wanted.keys():
            self._poll.unregister(fd)
        for fd, mask in wanted.items():
            if self._polled.get(fd) != mask:
                self._poll.register(fd, mask)
        self._polled = wanted
        # poll's unit is the millisecond; rounding down would spin.
        ready = self._poll.poll(int(timeout_s * 1000) + 1 if timeout_s else 0)
        now_s = self._clock.monotonic()
        for fd, _ in ready:
            if fd == self._wake_fd:
                with contextlib.suppress(BlockingIOError):
                    os.eventfd_read(fd)
            elif fd in owners[fd].descriptors():
                self._take_all(owners[fd].ready(fd, now_s))
        return any(fd != self._wake_fd for fd, _ in ready)

    def _drain(self, done: threading.Event) -> None:
        # Bounded: a source that never falls silent must not hold the loop.
        for _ in range(100):
            if not self._wait(0.0):
                done.set()
                return

    # --- looking --------------------------------------------------------------------------------

    def _take_over(self, seen: VolumeSnapshot, facets: frozenset[Facet]) -> None:
        """The replica's state is left to the event stream, which shows each in order."""
        volume = self._config.volumes.get(seen.volume)
        if volume is None:
            return
        now_s = self._clock.monotonic()
        for facet in looked_at(volume):
            task = Task(seen.volume, facet)
            # One that waits for its peer looks every second: what it does not look at itself is
            # not left out for longer than it would be at rest.
            if facet in facets or now_s - self._taken_s.get(task, -math.inf) < RESCAN_S:
                self._agenda.postpone(task, now_s + BUSY_S)
            if facet in facets and facet is not Facet.REPLICA:
                self._merge(task, getattr(seen, facet.value), seen.taken_monotonic_s)

    def _adopt(self) -> None:
        """Makes the snapshot and the agenda those of the present configuration."""
        now_s = self._clock.monotonic()
        self._generation += 1
        tasks = frozenset(
            Task(name, facet)
            for name, volume in self._config.volumes.items()
            for facet in looked_at(volume)
        )
        self._taken_s = {t: s for t, s in self._taken_s.items() if t in tasks}
        self.snapshot = carry_over(self.snapshot, self._blank(), frozenset(self._taken_s))
        self._agenda.keep(tasks, now_s)
        for source in self._sources:
            source.configure(self._config)

    def _blank(self) -> HostSnapshot:
        return blank_snapshot(self._config, self._host.boot_id(), self._clock)

    def _take_all(self, hints: tuple[Hint, ...]) -> None:
        for hint in hints:
            self._take(hint)

    def _take(self, hint: Hint) -> None:
        now_s = self._clock.monotonic()
        for name, volume in self._config.volumes.items():
            if hint.volume in (None, name):
                for facet in hint.facets & looked_at(volume):
                    self._agenda.hint(Task(name, facet), now_s, hint.delay_s)

    def _begin(self, task: Task, now_s: float) -> None:
        volume, host, generation = self._config.volumes[task.volume], self._host, self._generation

        def look() -> None:
            value = look_at(host, self._records, volume, task.facet)
            result = _Result(task, generation, now_s, value)
            self._post(lambda: self._finish(result))

        name = f"look {task.volume} {task.facet}"
        try:
            threading.Thread(target=look, name=name, daemon=True).start()
        except RuntimeError as exc:
            self._finish(_Result(task, generation, now_s, Unobserved(reason=str(exc))))

    def _finish(self, result: _Result) -> None:
        now_s = self._clock.monotonic()
        task = result.task
        is_kept = self._is_kept(task)
        is_fresh = self._agenda.finish(task, now_s, period_s(result.value), is_kept=is_kept)
        is_current = result.generation == self._generation
        # What the event stream has shown meanwhile is newer; a hint has already asked for more.
        is_overtaken = (
            task.facet is Facet.REPLICA and self._streamed_s.get(task.volume, 0.0) >= result.begun_s
        )
        if is_fresh and is_current and is_kept and not is_overtaken:
            self._merge(task, result.value, result.begun_s)

    def _is_kept(self, task: Task) -> bool:
        volume = self._config.volumes.get(task.volume)
        return volume is not None and task.facet in looked_at(volume)

    def _merge(self, task: Task, value: object, taken_s: float) -> None:
        """Puts one part's new value in, and publishes what that changes."""
        old = self.snapshot
        before = old.volumes[task.volume]
        self._taken_s[task] = taken_s
        now_s = self._clock.monotonic()
        oldest_s = min(
            (s for t, s in self._taken_s.items() if not self._agenda.is_stuck(t)), default=now_s
        )
        times: dict[str, Any] = {
            "taken_monotonic_s": oldest_s,
            "taken_wall_s": self._clock.wall() - (now_s - oldest_s),
        }
        has_replica = self._config.volumes[task.volume].replica is not None
        record = self._attachments.of(task.volume) if has_replica else None
        parts: dict[str, Any] = {task.facet.value: value, "attachment": record}
        after = dataclasses.replace(before, **parts, **times)
        version = value.driver_version if isinstance(value, Replica) else old.drbd_version
        volumes = {**old.volumes, task.volume: after}
        new = dataclasses.replace(old, volumes=volumes, drbd_version=version, **times)
        self.snapshot = new
        for source in self._sources:
            source.follow(new)
        is_different = dataclasses.replace(before, **times) != after
        if is_different and self._publish is not None:
            self._publish(new, task.volume, describe_changes(old, new))
