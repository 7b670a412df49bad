"""Where the observer learns that something has changed: mounts, md's sysfs attributes, udev.

Events are hints; a new look is the truth. Nothing here blocks. No process is started.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from storage_agent.model.array import ArrayView
from storage_agent.model.configuration import AgentConfig
from storage_agent.model.errors import AgentError
from storage_agent.model.snapshot import Facet, HostSnapshot
from storage_agent.service.observing.agenda import SETTLE_S

# kernfs and mountinfo report a change as POLLPRI together with POLLERR.
CHANGED = select.POLLPRI | select.POLLERR
ARRAY_ATTRIBUTES = ("array_state", "degraded", "sync_action")
# array_state flips between these with every burst of writes.
_RUNNING_WORDS = frozenset({"clean", "active", "active-idle", "write-pending"})
RETRY_S = 10.0


@dataclass(frozen=True, slots=True)
class Hint:
    """Look there again. volume: None for all.  delay_s: it is not urgent."""

    facets: frozenset[Facet]
    volume: str | None = None
    delay_s: float = SETTLE_S


class Source:
    """One kind of event. The defaults are those of a source that never says anything."""

    def tick(self, now_s: float) -> tuple[Hint, ...]:
        """Called with each turn of the observer's loop: starts what has to be running."""
        return ()

    def wake_s(self) -> float:
        """When `tick` has something to do next."""
        return float("inf")

    def descriptors(self) -> dict[int, int]:
        """File descriptor -> events, poll(2)."""
        return {}

    def ready(self, descriptor: int, now_s: float) -> tuple[Hint, ...]:
        """One of the descriptors has an event: takes it."""
        return ()

    def configure(self, config: AgentConfig) -> None:
        """What is configured now; called before the first tick."""

    def follow(self, snapshot: HostSnapshot) -> None:
        """There is a new snapshot: what is to be watched may have changed."""

    def close(self) -> None:
        """Gives everything back. Nothing is called afterwards."""


class MountSource(Source):
    """Mounts and unmounts in the host's namespace: /proc/1/mountinfo, proc(5)."""

    def __init__(self, path: Path = Path("/proc/1/mountinfo")) -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def descriptors(self) -> dict[int, int]:
        return {self._fd: CHANGED}

    def ready(self, descriptor: int, now_s: float) -> tuple[Hint, ...]:
        # poll itself has taken the event: nothing to read.
        return (Hint(frozenset({Facet.FILESYSTEM})),)

    def close(self) -> None:
        os.close(self._fd)


class ArraySource(Source):
    """md's own attributes of the arrays that the last snapshot shows (kernel md.rst: pollable)."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        self._watched: dict[int, _Attribute] = {}
        self._arrays: dict[str, str] = {}

    def descriptors(self) -> dict[int, int]:
        return dict.fromkeys(self._watched, CHANGED)

    def ready(self, descriptor: int, now_s: float) -> tuple[Hint, ...]:
        attribute = self._watched[descriptor]
        seen = _read_attribute(descriptor)
        if seen is None:
            # The array is gone; the next snapshot says what is to be watched instead.
            self._forget(attribute.array)
        elif seen == attribute.seen:
            return ()
        else:
            attribute.seen = seen
        return (Hint(frozenset({Facet.ARRAY}), attribute.volume),)

    def follow(self, snapshot: HostSnapshot) -> None:
        wanted = {
            volume.array.array.name: name
            for name, volume in snapshot.volumes.items()
            if isinstance(volume.array, ArrayView) and volume.array.array is not None
        }
        for array in self._arrays.keys() - wanted.keys():
            self._forget(array)
        for array, volume in wanted.items():
            if array not in self._arrays:
                self._watch(array, volume)

    def close(self) -> None:
        for array in tuple(self._arrays):
            self._forget(array)

    def _watch(self, array: str, volume: str) -> None:
        self._arrays[array] = volume
        for name in ARRAY_ATTRIBUTES:
            path = self._root / "sys/block" / array / "md" / name
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                # Levels without redundancy have neither `degraded` nor `sync_action`.
                continue
            seen = _read_attribute(descriptor) or ""
            self._watched[descriptor] = _Attribute(array, volume, seen)

    def _forget(self, array: str) -> None:
        self._arrays.pop(array, None)
        for descriptor in [fd for fd, a in self._watched.items() if a.array == array]:
            del self._watched[descriptor]
            os.close(descriptor)


@dataclass(slots=True)
class _Attribute:
    array: str
    volume: str
    seen: str


def _read_attribute(descriptor: int) -> str | None:
    """Reading from the start also arms the next event. None: the device is gone."""
    try:
        word = os.pread(descriptor, 4096, 0).decode("ascii", "replace").strip()
    except OSError:
        return None
    return "running" if word in _RUNNING_WORDS else word


class DeviceEvents(Protocol):
    """host.block.DeviceEvents."""

    def fileno(self) -> int: ...

    def drain(self) -> object: ...

    def close(self) -> None: ...


class DeviceSource(Source):
    """Block devices that come, go or change: udev.

    open_events: raises Missing where udev cannot be asked; tried again every RETRY_S.
    """

    def __init__(self, open_events: Callable[[], DeviceEvents]) -> None:
        self._open = open_events
        self._events: DeviceEvents | None = None
        self._is_wanted = False
        self._retry_s = 0.0

    def configure(self, config: AgentConfig) -> None:
        self._is_wanted = bool(config.volumes)

    def tick(self, now_s: float) -> tuple[Hint, ...]:
        if not self._is_wanted or self._events is not None or now_s < self._retry_s:
            return ()
        self._retry_s = now_s + RETRY_S
        try:
            self._events = self._open()
        except (AgentError, OSError):
            return ()
        # What happened before it was open.
        return (_DEVICES,)

    def wake_s(self) -> float:
        return self._retry_s if self._is_wanted and self._events is None else float("inf")

    def descriptors(self) -> dict[int, int]:
        return {} if self._events is None else {self._events.fileno(): select.POLLIN}

    def ready(self, descriptor: int, now_s: float) -> tuple[Hint, ...]:
        if self._events is None:
            return ()
        try:
            drained = self._events.drain()
        except (AgentError, OSError):
            self._events.close()
            self._events = None
            return (_DEVICES,)
        # No event: woken for nothing. Anything else, also an overflow: look.
        return (_DEVICES,) if drained else ()

    def close(self) -> None:
        if self._events is not None:
            self._events.close()


_DEVICES = Hint(frozenset({Facet.ARRAY, Facet.FILESYSTEM}))
