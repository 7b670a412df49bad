"""`watch` as a service: events to stderr (the journal) and to the hooks, until SIGTERM."""

from __future__ import annotations

import argparse
import queue
import signal
import threading
from collections.abc import Callable
from types import FrameType

from storage_agent.cli.context import Answer
from storage_agent.cli.text import clean
from storage_agent.coordinator.hooks import Hooks
from storage_agent.coordinator.watch import Event, Watch
from storage_agent.coordinator_cli.context import Context
from storage_agent.coordinator_cli.move import fence_of
from storage_agent.coordinator_cli.wiring import make_coordinator
from storage_agent.model.wire import to_wire
from storage_agent.service.systemd import notify, watchdog_period_s

EVENTS_WAITING = 1000
TURN_S = 5.0


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

    def tell(event: Event) -> None:
        place = " ".join(part for part in (event.volume, event.host) if part)
        context.err.line(clean(f"{event.severity} {event.kind} {place}: {event.text}"))
        events.add(event)

    events = EventHooks(coordinator.hooks, warn)
    watching = Watch(coordinator, tell, fence_of(context))
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
    """Tells the site's hooks each event, one after the other, on a thread of its own."""

    def __init__(self, hooks: Hooks, warn: Callable[[str], None]) -> None:
        self._hooks = hooks
        self._warn = warn
        self._events: queue.Queue[Event] = queue.Queue(EVENTS_WAITING)
        threading.Thread(target=self._run, name="hooks", daemon=True).start()

    def add(self, event: Event) -> None:
        """Never blocks; with a thousand waiting, events are only in the journal."""
        try:
            self._events.put_nowait(event)
        except queue.Full:
            self._warn("too many events wait for the hooks, one is left out")

    def _run(self) -> None:
        while True:
            self._hooks.event(to_wire(self._events.get()))
