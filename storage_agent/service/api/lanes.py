"""Threads for what looks or reads: a few for each role that may only ask, so that no number of
questions delays what moves a volume.

Within a role the keys take turns. What waits is bounded, and what nobody waits for any more is not
begun.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from storage_agent.model.errors import Busy
from storage_agent.service.api.access import Role

# At a time. Other roles have as many as they have places.
THREADS = {Role.OBSERVE: 2, Role.OPERATE: 4}
WAITING_LIMIT = 32


@dataclass(frozen=True, slots=True)
class _Job:
    run: Callable[[], None]
    is_wanted: Callable[[], bool]


@dataclass(slots=True)
class _Lane:
    """waiting: by key, the one whose turn is next first."""

    threads: int
    running: int = 0
    waiting: OrderedDict[str, deque[_Job]] = field(default_factory=OrderedDict)

    def put(self, key_id: str, job: _Job) -> bool:
        """False where too many of this key wait."""
        jobs = self.waiting.setdefault(key_id, deque())
        if len(jobs) >= WAITING_LIMIT:
            kept = [one for one in jobs if one.is_wanted()]
            jobs.clear()
            jobs.extend(kept)
        if len(jobs) >= WAITING_LIMIT:
            return False
        jobs.append(job)
        return True

    def take(self) -> _Job | None:
        while self.waiting:
            key_id, jobs = self.waiting.popitem(last=False)
            job = jobs.popleft() if jobs else None
            if jobs:
                self.waiting[key_id] = jobs
            if job is not None and job.is_wanted():
                return job
        return None


class Lanes:
    """Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lanes = {role: _Lane(threads) for role, threads in THREADS.items()}

    def run(
        self,
        role: Role,
        key_id: str,
        name: str,
        work: Callable[[], None],
        is_wanted: Callable[[], bool],
    ) -> None:
        """Soon, in a thread. work: must not raise.  is_wanted: asked just before. Raises Busy."""
        lane = self._lanes.get(role)
        if lane is None:
            _start(work, name)
            return
        with self._lock:
            if not lane.put(key_id, _Job(work, is_wanted)):
                raise Busy(
                    f"{WAITING_LIMIT} questions of this key wait to be answered",
                    remedy="wait for their answers first",
                    code="TOO_MANY_REQUESTS",
                )
            if lane.running >= lane.threads:
                return
            lane.running += 1
        try:
            _start(lambda: self._work(lane), name)
        except Busy:
            with self._lock:
                lane.running -= 1
                # The one that is told so. Others that wait go with the next that comes.
                lane.waiting[key_id].pop()
            raise

    def _work(self, lane: _Lane) -> None:
        while True:
            with self._lock:
                job = lane.take()
                if job is None:
                    lane.running -= 1
                    return
            job.run()


def _start(work: Callable[[], None], name: str) -> None:
    thread = threading.Thread(target=work, name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError:
        raise Busy(
            "no thread can be started", remedy="is the host out of memory? free -m"
        ) from None
