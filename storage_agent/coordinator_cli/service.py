"""`watch` as a service: events to stderr (the journal) and to the hooks, until SIGTERM."""

from __future__ import annotations

import argparse
import dataclasses
import queue
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType

from storage_agent.cli.context import Answer
from storage_agent.cli.text import clean
from storage_agent.coordinator.budget import Budget
from storage_agent.coordinator.hooks import Hooks
from storage_agent.coordinator.watch import Event, Watch
from storage_agent.coordinator_cli.context import Context
from storage_agent.coordinator_cli.move import fence_of
from storage_agent.coordinator_cli.wiring import make_coordinator
from storage_agent.model.wire import to_wire
from storage_agent.service.systemd import notify, watchdog_period_s

EVENTS_WAITING = 1000
TURN_S = 5.0
# Events of one kind, host and volume at once, and after that one in so many seconds.
EVENTS_AT_ONCE = 5
EVENT_EVERY_S = 60.0


def watch(_options: argparse.Namespace, context: Context) -> Answer:
    """Runs until it is told to stop."""
    stopping = threading.Event()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)

    def warn(text: str) -> None:
        context.err.line(clean(f"warning hook: {text}"))

    coordinator = make_coordinator(
        context.settings(),
        on_hook_failure=warn,
        on_notification=lambda host, method, params: watching.hint(host, method, params),
        on_end=lambda host, _why: watching.hint(host),
    )

    def journal(event: Event) -> None:
        place = " ".join(part for part in (event.volume, event.host) if part)
        context.err.line(clean(f"{event.severity} {event.kind} {place}: {event.text}"))

    events = EventHooks(coordinator.hooks, warn, journal)
    watching = Watch(coordinator, events.add, fence_of(context))
    watching.start()
    notify("READY=1", f"STATUS={watching.summary()}")
    period_s = min(TURN_S, watchdog_period_s() or TURN_S)
    while not stopping.wait(period_s):
        notify("WATCHDOG=1", f"STATUS={watching.summary()}")
    notify("STOPPING=1")
    watching.stop()
    coordinator.fleet.close()
    return Answer(data={"stopped": True})


class EventHooks:
    """Tells the site's hooks the events, one after the other, on a thread of its own.

    Of one kind, host and volume so many at once; what comes after that is told later, as the
    newest one with the number of those before it. So nobody's events are left out, and none waits
    for those of a host that does not stop. warn: gets what goes wrong here.  journal: hears what
    the hooks hear, at once.
    """

    def __init__(
        self,
        hooks: Hooks,
        warn: Callable[[str], None],
        journal: Callable[[Event], None] = lambda _event: None,
    ) -> None:
        self._hooks = hooks
        self._warn = warn
        self._journal = journal
        self._budget = Budget(EVENTS_AT_ONCE, EVENT_EVERY_S)
        self._lock = threading.Lock()
        self._held: dict[tuple[str, str, str], tuple[Event, int]] = {}
        self._events: queue.Queue[Event] = queue.Queue(EVENTS_WAITING)
        threading.Thread(target=self._run, name="hooks", daemon=True).start()

    def add(self, event: Event) -> None:
        """Never blocks."""
        key = (event.kind, event.host, event.volume)
        with self._lock:
            _, count = self._held.get(key, (event, 0))
            if count or not self._budget.take(key, time.monotonic()):
                self._held[key] = (event, count + 1)
                return
        self._tell(event)

    def release(self, now_s: float) -> None:
        """Tells what was held back, as far as its turn has come."""
        with self._lock:
            due = [key for key in self._held if self._budget.take(key, now_s)]
            told = [self._held.pop(key) for key in due]
        for event, count in told:
            more = f" (and {count - 1} more like it before)" if count > 1 else ""
            self._tell(dataclasses.replace(event, text=f"{event.text}{more}"))

    def _tell(self, event: Event) -> None:
        self._journal(event)
        try:
            self._events.put_nowait(event)
        except queue.Full:
            self._warn("too many events wait for the hooks, one is left out")

    def _run(self) -> None:
        while True:
            try:
                event = self._events.get(timeout=TURN_S)
            except queue.Empty:
                self.release(time.monotonic())
                continue
            self._hooks.event(to_wire(event))
            self.release(time.monotonic())
