"""The real clock."""

from __future__ import annotations

import time


class SystemClock:
    """Implements model.clock.Clock."""

    def monotonic(self) -> float:
        return time.monotonic()

    def wall(self) -> float:
        return time.time()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)
