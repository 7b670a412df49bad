"""Calls into the kernel that may never return (statvfs on a frozen device, /proc of a stuck
process): each runs in a daemon thread, and the caller waits for it no longer than it says."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from storage_agent.model.errors import CommandStuck

T = TypeVar("T")


class BoundedCalls:
    """At most one thread per key: where one hangs, the next call with its key does not start
    a second one. Safe to use from several threads."""

    def __init__(self) -> None:
        self._running: dict[str, threading.Thread] = {}
        self._lock = threading.Lock()

    def run(self, key: str, call: Callable[[], T], *, timeout_s: float) -> T:
        """What `call` returns or raises. Raises CommandStuck (code `CALL_STUCK`) when it has not
        returned in time; its thread is left behind and ends whenever the kernel lets it go."""
        deadline_s = time.monotonic() + timeout_s
        box: _Box[T] = _Box()
        thread = threading.Thread(target=box.fill, args=(call,), name=key, daemon=True)
        while (earlier := self._start(key, thread)) is not None:
            if time.monotonic() >= deadline_s:
                raise _stuck(key, timeout_s)
            earlier.join(max(0.0, deadline_s - time.monotonic()))
        thread.join(max(0.0, deadline_s - time.monotonic()))
        if thread.is_alive():
            raise _stuck(key, timeout_s)
        return box.take()

    def _start(self, key: str, thread: threading.Thread) -> threading.Thread | None:
        """Starts it, or gives the one that still runs with this key."""
        with self._lock:
            earlier = self._running.get(key)
            if earlier is not None and earlier.is_alive():
                return earlier
            self._running[key] = thread
            thread.start()
            return None


class _Box(Generic[T]):
    """What a thread hands back."""

    def __init__(self) -> None:
        self._values: list[T] = []
        self._error: BaseException | None = None

    def fill(self, call: Callable[[], T]) -> None:
        try:
            self._values.append(call())
        except BaseException as exc:  # handed to the caller, not swallowed
            self._error = exc

    def take(self) -> T:
        if self._error is not None:
            raise self._error
        return self._values[0]


def _stuck(key: str, timeout_s: float) -> CommandStuck:
    return CommandStuck(
        f"{key}: no answer from the kernel within {timeout_s:g} s",
        remedy="its device is frozen or dead: storage-agent status; dmesg",
        code="CALL_STUCK",
    )
