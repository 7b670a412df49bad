"""Time as a port, and deadlines. Nothing waits without one of these."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class Clock(Protocol):
    """Monotonic seconds decide; wall-clock seconds are only ever shown."""

    def monotonic(self) -> float: ...

    def wall(self) -> float: ...

    def sleep(self, seconds: float) -> None: ...


@dataclass(frozen=True, slots=True)
class Deadline:
    """A point in monotonic time."""

    at_s: float

    @classmethod
    def after(cls, clock: Clock, timeout_s: float) -> Deadline:
        return cls(clock.monotonic() + timeout_s)

    def left_s(self, clock: Clock) -> float:
        """Seconds left, never negative."""
        return max(0.0, self.at_s - clock.monotonic())

    def passed(self, clock: Clock) -> bool:
        return clock.monotonic() >= self.at_s

    def sooner(self, clock: Clock, timeout_s: float) -> Deadline:
        """The earlier of this one and `timeout_s` from now."""
        return Deadline(min(self.at_s, clock.monotonic() + timeout_s))
