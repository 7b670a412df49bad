"""`watch` as a service: events to stderr (the journal) and to the hook, until SIGTERM."""

from __future__ import annotations

import argparse
import json
import queue
import signal
import threading
from types import FrameType

from storage_agent.cli.context import Answer
from storage_agent.cli.text import clean
from storage_agent.coordinator.watch import Event, Watch
from storage_agent.coordinator_cli.context import Context
from storage_agent.coordinator_cli.move import fence_of
from storage_agent.coordinator_cli.wiring import make_coordinator
from storage_agent.model.errors import AgentError
from storage_agent.model.wire import to_wire
from storage_agent.service.systemd import notify, watchdog_period_s

HOOK_TIMEOUT_S = 30.0
HOOKS_WAITING = 1000
TURN_S = 5.0


def watch(_options: argparse.Namespace, context: Context) -> Answer:
    """Runs until it is told to stop."""
    stopping = threading.Event()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    hooks = Hooks(context, context.settings().hook)
    coordinator = make_coordinator(
        context.settings(),
        on_notification=lambda host, method, params: watching.hint(host, method, params),
        on_end=lambda host, _why: watching.hint(host),
    )

    def tell(event: Event) -> None:
        place = " ".join(part for part in (event.volume, event.host) if part)
        context.err.line(clean(f"{event.severity} {event.kind} {place}: {event.text}"))
        hooks.add(event)

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


class Hooks:
    """Calls the hook for each event, one after the other: `HOOK KIND`, the event as JSON on stdin,
    30 s at most. What it does and how it ends changes nothing here."""

    def __init__(self, context: Context, hook: str) -> None:
        self._context = context
        self._hook = hook
        self._events: queue.Queue[Event] = queue.Queue(HOOKS_WAITING)
        if hook:
            threading.Thread(target=self._run, name="hook", daemon=True).start()

    def add(self, event: Event) -> None:
        """Never blocks; with a thousand waiting, events are only in the journal."""
        if not self._hook:
            return
        try:
            self._events.put_nowait(event)
        except queue.Full:
            self._context.err.line("warning hook: too many events wait for it, one is left out")

    def _run(self) -> None:
        while True:
            event = self._events.get()
            document = json.dumps(to_wire(event)).encode() + b"\n"
            try:
                status = self._context.run_command(
                    (self._hook, event.kind), document, HOOK_TIMEOUT_S
                ).exit_status
                if status != 0:
                    self._context.err.line(f"warning hook: exit {status} for {event.kind}")
            except AgentError as exc:
                self._context.err.line(clean(f"warning hook: {exc.message}"))
