"""How long a lab call may still take."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from .errors import LabTimeout

POLL_S = 0.02

T = TypeVar("T")


class Deadline:
    """A point on the monotonic clock, with the words for missing it."""

    def __init__(self, timeout_s: float, what: str) -> None:
        self.timeout_s, self.what = timeout_s, what
        self._end_s = time.monotonic() + timeout_s

    def remaining_s(self) -> float:
        """Seconds left, more than 0. Raises: LabTimeout."""
        left_s = self._end_s - time.monotonic()
        if left_s <= 0:
            raise self.missed()
        return left_s

    def is_over(self) -> bool:
        return time.monotonic() >= self._end_s

    def missed(self) -> LabTimeout:
        return LabTimeout(f"{self.what}: not within {self.timeout_s:g} s")

    def pause(self, poll_s: float = POLL_S) -> None:
        """Sleeps between two looks. Raises: LabTimeout."""
        time.sleep(min(poll_s, self.remaining_s()))


def wait_until(what: str, look: Callable[[], T], *, timeout_s: float, poll_s: float = POLL_S) -> T:
    """Calls `look` until its answer is true and returns that. Raises: LabTimeout."""
    deadline = Deadline(timeout_s, what)
    while not (seen := look()):
        deadline.pause(poll_s)
    return seen
