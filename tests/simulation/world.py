"""The scheduler: greenlets for all that runs, one seeded choice for all that happens next.

Whatever reaches the world through a port hands the baton back here, so two hosts' operations, the
kernels, the network, the client and the faults interleave at every port call, and one seed always
gives the same course.
"""

from __future__ import annotations

import math
import random
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

from greenlet import getcurrent, greenlet  # type: ignore[import-untyped]

Condition = Callable[[], bool]
TRACE_LINES = 6000


class Killed(BaseException):
    """The process that this task belongs to is no more."""


class Task:
    """One thread of control. owner: what dies with it (a daemon, a kernel)."""

    def __init__(self, world: World, name: str, host: str, run: Callable[[], Any]) -> None:
        self.world = world
        self.name = name
        self.host = host
        self.wake_s = 0.0
        # When it looked at the replica last; infinite: never.
        self.looked_s = math.inf
        self.condition: Condition | None = None
        self.until_s: float | None = None
        self.atomic = False
        self.done = False
        self.killed = False
        self.result: Any = None
        self._run = run
        self._greenlet = greenlet(self._main, parent=world.hub)

    def _main(self) -> None:
        if self.killed:
            return
        try:
            self.result = self._run()
        except Killed:
            self.killed = True
        finally:
            self.done = True

    def is_ready(self, now_s: float) -> bool:
        if now_s < self.wake_s:
            return False
        if self.condition is None or self.condition():
            return True
        return self.until_s is not None and now_s >= self.until_s

    def resume(self) -> None:
        self._greenlet.switch()

    def kill(self) -> None:
        """At once. The task's own `finally` blocks run; what they ask of a port fails again."""
        if self.done or self.killed:
            return
        self.killed = True
        if getcurrent() is self._greenlet:
            raise Killed
        if self._greenlet:
            self._greenlet.parent = getcurrent()
            self._greenlet.throw(Killed)
        self.done = True


class TaskLock:
    """threading.Lock among tasks."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._is_held = False

    def __enter__(self) -> None:
        if self._is_held:
            self._world.wait(lambda: not self._is_held)
        self._is_held = True

    def __exit__(self, *_: object) -> None:
        self._is_held = False


class World:
    """Time, chance, tasks and what is remembered of a schedule."""

    def __init__(self, seed: int, *, keep_trace: bool = False) -> None:
        self.seed = seed
        self.rng = random.Random(seed)
        self.random = self.rng.random
        self.now_s = 1000.0
        self.steps = 0
        self.hub = getcurrent()
        self.tasks: list[Task] = []
        self.current: Task | None = None
        self.frozen_hosts: dict[str, float] = {}
        self.counts: Counter[str] = Counter()
        # The kernel has taken an old copy for a good one: its contents prove nothing any more.
        self.doubt = False
        self.trace: deque[str] = deque(maxlen=TRACE_LINES)
        self.keep_trace = keep_trace
        self._uuid = 0x1000

    # --- what everybody uses --------------------------------------------------------------------

    def log(self, host: str, text: str) -> None:
        if self.keep_trace:
            self.trace.append(f"{self.now_s:10.2f} {host:<6} {text}")

    def chance(self, probability: float) -> bool:
        return self.random() < probability

    def new_uuid(self) -> int:
        self._uuid += 0x100
        return self._uuid

    def spawn(self, name: str, host: str, run: Callable[[], Any]) -> Task:
        task = Task(self, name, host, run)
        self.tasks.append(task)
        return task

    def pause(self) -> None:
        """Lets others run. Only inside a task."""
        task = self.current
        if task is None or task.atomic:
            return
        self.hub.switch()
        self.current = task
        if task.killed:
            raise Killed

    def wait(self, condition: Condition, until_s: float | None = None) -> bool:
        """True as soon as the condition holds, False when the time is over."""
        task = self.current
        assert task is not None
        if condition():
            return True
        task.condition, task.until_s = condition, until_s
        self.hub.switch()
        self.current = task
        task.condition = task.until_s = None
        if task.killed:
            raise Killed
        return condition()

    def sleep(self, seconds: float) -> None:
        task = self.current
        assert task is not None
        if task.atomic:
            self.now_s += seconds
            return
        task.wake_s = self.now_s + seconds
        self.hub.switch()
        self.current = task
        if task.killed:
            raise Killed

    # --- the loop's parts -----------------------------------------------------------------------

    def is_frozen(self, host: str) -> bool:
        """The whole machine stands still (a paused virtual machine)."""
        return self.frozen_hosts.get(host, 0.0) > self.now_s

    def run_some_task(self) -> bool:
        """One turn of a task that can run. False where none can."""
        now_s = self.now_s
        ready = [t for t in self.tasks if now_s >= t.wake_s and t.is_ready(now_s)]
        if self.frozen_hosts:
            ready = [t for t in ready if not self.is_frozen(t.host)]
        if not ready:
            return False
        task = ready[int(self.random() * len(ready))] if len(ready) > 1 else ready[0]
        self.run_task(task)
        return True

    def run_task(self, task: Task) -> None:
        self.current = task
        task.resume()
        self.current = None
        if task.done:
            self.tasks.remove(task)

    def forget_dead(self) -> None:
        self.tasks = [t for t in self.tasks if not t.done]

    def end(self) -> None:
        """Nothing goes on any more."""
        for task in self.tasks:
            task.kill()
        self.tasks.clear()

    def later_s(self) -> list[float]:
        """When somebody can go on: sleep, a wait for a condition, a host that stands still."""
        now_s = self.now_s
        found = [s for s in self.frozen_hosts.values() if s > now_s]
        for task in self.tasks:
            if task.wake_s > now_s:
                found.append(task.wake_s)
            if task.until_s is not None and task.until_s > now_s:
                found.append(task.until_s)
        return found
