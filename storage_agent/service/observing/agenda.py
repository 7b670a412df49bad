"""When to look at what. Pure: times come in, tasks come out; no thread, no clock.

A hint makes a look due almost at once; without hints each part is looked at again and again.
A part whose look hangs is not looked at a second time until the first has come back.
"""

from __future__ import annotations

from dataclasses import dataclass

from storage_agent.model.snapshot import Facet

# One change arrives as several events: a moment's wait makes one look of them.
SETTLE_S = 0.02
RESCAN_S = 30.0
STUCK_S = 10.0
# After a look at least this many times its duration passes before the next of the same part.
REST_RATIO = 2.0


@dataclass(frozen=True, slots=True)
class Task:
    """One part of one volume."""

    volume: str
    facet: Facet


class Agenda:
    """Not safe for several threads: the observer's alone."""

    def __init__(self) -> None:
        self._due_s: dict[Task, float] = {}
        self._begun_s: dict[Task, float] = {}
        self._rested_s: dict[Task, float] = {}
        self._hinted: set[Task] = set()
        self._stuck: set[Task] = set()

    def keep(self, tasks: frozenset[Task], now_s: float) -> None:
        """Exactly these from now on; all of them due at once."""
        for known in (self._due_s, self._rested_s):
            for task in known.keys() - tasks:
                del known[task]
        for task in tasks:
            self.hint(task, now_s)

    def hint(self, task: Task, now_s: float, delay_s: float = SETTLE_S) -> None:
        """Something has happened there."""
        if task in self._begun_s:
            # The look under way may have read before it happened.
            self._hinted.add(task)
            return
        at_s = max(now_s + delay_s, self._rested_s.get(task, 0.0))
        self._due_s[task] = min(self._due_s.get(task, at_s), at_s)

    def postpone(self, task: Task, until_s: float) -> None:
        """Somebody else has just looked. A hint that says when, later on, still counts."""
        self._rested_s[task] = max(self._rested_s.get(task, 0.0), until_s)
        if task in self._due_s:
            self._due_s[task] = max(self._due_s[task], until_s)

    def begin_due(self, now_s: float) -> tuple[Task, ...]:
        """The tasks to start now; each counts as begun."""
        due = tuple(t for t, at_s in self._due_s.items() if at_s <= now_s)
        for task in due:
            del self._due_s[task]
            self._begun_s[task] = now_s
        return due

    def finish(self, task: Task, now_s: float, period_s: float, *, is_kept: bool = True) -> bool:
        """A look has come back. False: it hung, what it brings is too old to use.

        period_s: until the next look without a hint.  is_kept: the task is still wanted."""
        begun_s = self._begun_s.pop(task)
        was_stuck = task in self._stuck
        was_hinted = task in self._hinted
        self._stuck.discard(task)
        self._hinted.discard(task)
        if is_kept:
            self._rested_s[task] = now_s + REST_RATIO * min(now_s - begun_s, 1.0)
            self._due_s[task] = now_s + period_s
            if was_stuck or was_hinted:
                self.hint(task, now_s)
        return not was_stuck

    def find_stuck(self, now_s: float) -> tuple[Task, ...]:
        """Those that hang since the last call."""
        found = tuple(
            task
            for task, begun_s in self._begun_s.items()
            if task not in self._stuck and now_s - begun_s >= STUCK_S
        )
        self._stuck.update(found)
        return found

    def is_stuck(self, task: Task) -> bool:
        return task in self._stuck

    def wake_s(self) -> float:
        """When there is something to do next without a hint."""
        hanging = (at_s + STUCK_S for t, at_s in self._begun_s.items() if t not in self._stuck)
        return min((*self._due_s.values(), *hanging), default=float("inf"))
