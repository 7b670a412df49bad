"""udev's block device events, for a poll loop. Events are hints; a new scan is the truth.

Runs nothing. Uses libudev through pyudev, imported where it is first needed.
"""

from __future__ import annotations

import contextlib
import select
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from storage_agent.model.errors import Missing

# systemd's own value for its monitor sockets (systemd pull request 11389).
RECEIVE_BUFFER_BYTES = 128 << 20
EVENTS_PER_DRAIN = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceEvent:
    """udev has finished with a device. action: add, remove, change …; name: kernel name."""

    action: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Overflow:
    """Events were lost: everything has to be looked at again."""

    reason: str


class Monitor(Protocol):
    """What DeviceEvents needs of pyudev.Monitor."""

    def fileno(self) -> int: ...

    def poll(self, timeout: float | None = None) -> Any: ...


def open_monitor() -> Monitor:
    """A started monitor of block devices. Raises Missing."""
    import pyudev

    try:
        monitor = pyudev.Monitor.from_netlink(pyudev.Context())
        monitor.filter_by("block")
        # Without CAP_NET_ADMIN the small default stays; an overflow is noticed all the same.
        with contextlib.suppress(OSError):
            monitor.set_receive_buffer_size(RECEIVE_BUFFER_BYTES)
        monitor.start()
    except OSError as exc:
        raise Missing(
            f"udev's events cannot be received: {exc.strerror or exc}",
            remedy="is systemd-udevd running? systemctl status systemd-udevd",
        ) from exc
    monitor_port: Monitor = monitor
    return monitor_port


class DeviceEvents:
    """Block device events for a poll loop of the caller's.

    Not pyudev's MonitorObserver: its thread dies of the first netlink overflow (pyudev issue
    194, 0.24.0). `fileno` stays the same for the object's life: it is an epoll that holds
    whichever monitor is current.
    """

    def __init__(self, monitor_factory: Callable[[], Monitor] = open_monitor) -> None:
        self._open = monitor_factory
        self._epoll = select.epoll()
        self._monitor: Monitor | None = None
        self._start()

    def fileno(self) -> int:
        """Readable when `drain` has something to say."""
        return self._epoll.fileno()

    def drain(self) -> tuple[DeviceEvent, ...] | Overflow:
        """Never blocks; () where nothing happened. At most some thousand at once, the descriptor
        stays readable for the rest. Raises Missing if events cannot be received any more: then
        try again after a while, unasked."""
        if self._monitor is None:
            return self._restart("events could not be received")
        if any(mask & ~select.EPOLLIN for _, mask in self._epoll.poll(0)):
            return self._restart("the event socket reports an error")
        events: list[DeviceEvent] = []
        try:
            while len(events) < EVENTS_PER_DRAIN:
                device = self._monitor.poll(0)
                if device is None:
                    break
                events.append(DeviceEvent(action=str(device.action), name=str(device.sys_name)))
        except OSError as exc:
            return self._restart(exc.strerror or str(exc))
        return tuple(events)

    def close(self) -> None:
        """Idempotent. pyudev's monitor closes its socket with its last reference."""
        self._epoll.close()
        self._monitor = None

    def _start(self) -> None:
        monitor = self._open()
        self._epoll.register(monitor.fileno(), select.EPOLLIN)
        self._monitor = monitor

    def _restart(self, reason: str) -> Overflow:
        if self._monitor is not None:
            self._epoll.unregister(self._monitor.fileno())
            self._monitor = None
        self._start()
        return Overflow(reason=reason)
