from __future__ import annotations

import contextlib
import errno
import os
import select
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from storage_agent.host.block.device_events import (
    EVENTS_PER_DRAIN,
    DeviceEvent,
    DeviceEvents,
    Overflow,
)
from storage_agent.model.errors import Missing


@dataclass
class Device:
    action: str
    sys_name: str


@dataclass
class PipeMonitor:
    """A monitor on a pipe: readable while there are devices, broken once the reader is gone."""

    devices: list[Device] = field(default_factory=list)
    failure: OSError | None = None

    def __post_init__(self) -> None:
        self.reading, self.writing = os.pipe()

    def send(self, *devices: Device) -> None:
        self.devices += devices
        os.write(self.writing, b"x")

    def fileno(self) -> int:
        return self.reading

    def poll(self, timeout: float | None = None) -> Device | None:
        assert timeout == 0
        if self.failure is not None:
            raise self.failure
        if self.devices:
            return self.devices.pop(0)
        os.set_blocking(self.reading, False)
        with contextlib.suppress(BlockingIOError):
            os.read(self.reading, 100)
        return None

    def hang_up(self) -> None:
        os.close(self.writing)
        self.writing = -1

    def close(self) -> None:
        for end in (self.reading, self.writing):
            if end >= 0:
                os.close(end)


class Factory:
    def __init__(self) -> None:
        self.opened: list[PipeMonitor] = []
        self.refuse = False

    def __call__(self) -> PipeMonitor:
        if self.refuse:
            raise Missing("udev's events cannot be received")
        self.opened.append(PipeMonitor())
        return self.opened[-1]


@pytest.fixture
def factory() -> Iterator[Factory]:
    factory = Factory()
    yield factory
    for monitor in factory.opened:
        monitor.close()


def readable(events: DeviceEvents) -> bool:
    return bool(select.select([events], [], [], 0)[0])


def test_events_come_in_order(factory: Factory) -> None:
    events = DeviceEvents(factory)
    assert not readable(events)
    assert events.drain() == ()
    factory.opened[0].send(Device("remove", "vdd"), Device("add", "vdd"))
    assert readable(events)
    assert events.drain() == (
        DeviceEvent(action="remove", name="vdd"),
        DeviceEvent(action="add", name="vdd"),
    )
    assert not readable(events)
    events.close()


def test_a_storm_does_not_hold_the_loop(factory: Factory) -> None:
    events = DeviceEvents(factory)
    factory.opened[0].send(*[Device("change", "vdb")] * (EVENTS_PER_DRAIN + 5))
    first = events.drain()
    assert isinstance(first, tuple)
    assert len(first) == EVENTS_PER_DRAIN
    assert readable(events)
    second = events.drain()
    assert isinstance(second, tuple)
    assert len(second) == 5
    events.close()


def test_a_lost_event_is_reported_and_receiving_goes_on(factory: Factory) -> None:
    events = DeviceEvents(factory)
    descriptor = events.fileno()
    factory.opened[0].failure = OSError(errno.ENOBUFS, os.strerror(errno.ENOBUFS))
    factory.opened[0].send(Device("add", "vdb"))
    assert events.drain() == Overflow(reason="No buffer space available")
    assert events.fileno() == descriptor
    factory.opened[1].send(Device("add", "vdc"))
    assert readable(events)
    assert events.drain() == (DeviceEvent(action="add", name="vdc"),)
    events.close()


def test_an_error_without_a_number_is_a_loss_too(factory: Factory) -> None:
    """pyudev raises a bare OSError for POLLERR."""
    events = DeviceEvents(factory)
    factory.opened[0].failure = OSError("Error while polling fd: 7")
    factory.opened[0].send()
    assert events.drain() == Overflow(reason="Error while polling fd: 7")
    events.close()


def test_a_broken_descriptor_is_replaced(factory: Factory) -> None:
    events = DeviceEvents(factory)
    factory.opened[0].hang_up()
    assert readable(events)
    assert isinstance(events.drain(), Overflow)
    assert events.drain() == ()
    assert len(factory.opened) == 2
    events.close()


def test_where_no_new_monitor_can_be_had_it_says_so(factory: Factory) -> None:
    events = DeviceEvents(factory)
    factory.opened[0].hang_up()
    factory.refuse = True
    for _ in range(2):
        with pytest.raises(Missing):
            events.drain()
    factory.refuse = False
    assert isinstance(events.drain(), Overflow)
    events.close()


def test_close_twice(factory: Factory) -> None:
    events = DeviceEvents(factory)
    events.close()
    events.close()
    with pytest.raises(ValueError, match="closed"):
        events.fileno()
