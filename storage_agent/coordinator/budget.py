"""So much at once and so much later, by key: nobody uses up what another one needs."""

from __future__ import annotations

import threading
from collections.abc import Hashable


class Budget:
    """burst: how many at once.  every_s: until one more. Safe to use from several threads; whoever
    asks sees to it that the keys are few."""

    def __init__(self, burst: int, every_s: float) -> None:
        self._burst = burst
        self._every_s = every_s
        self._lock = threading.Lock()
        # By key how many are spent, and when that was.
        self._spent: dict[Hashable, tuple[float, float]] = {}

    def take(self, key: Hashable, now_s: float) -> bool:
        """False where there is none left. now_s: monotonic."""
        with self._lock:
            spent, at_s = self._spent.get(key, (0.0, now_s))
            spent = max(0.0, spent - (now_s - at_s) / self._every_s)
            has_one = spent <= self._burst - 1
            self._spent[key] = (spent + 1 if has_one else spent, now_s)
            return has_one
