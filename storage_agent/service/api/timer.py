"""What the server does again and again."""

from __future__ import annotations

from collections.abc import Callable


class Timer:
    def __init__(self, period_s: float, action: Callable[[], None], now_s: float) -> None:
        self._period_s = period_s
        self._action = action
        self.due_s = now_s

    def run_if_due(self, now_s: float) -> None:
        if now_s >= self.due_s:
            self.due_s = now_s + self._period_s
            self._action()
