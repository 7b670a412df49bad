"""How long each host has owed us an answer, as far as we were awake to hear one.

Counted from the question, not from the last answer: a host that stood still for less than a limit,
whenever that began, is never silent for that limit.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass

# This machine, or this process, stood still for so long: what was not heard meanwhile says nothing.
ASLEEP_S = 1.0
# A question that failed says nothing of later than that; then the silence begins anew.
FAILED_S = 5.0


@dataclass(slots=True)
class _Questions:
    """Without an answer, one soon after the other. failed_s: of the last one, None while it is on
    its way."""

    since_s: float
    failed_s: float | None = None


class Silence:
    """Safe to use from several threads. All times are monotonic, in seconds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._unanswered: dict[str, _Questions] = {}
        self._awake_s = -math.inf

    def asked(self, host: str, now_s: float) -> None:
        with self._lock:
            found = self._unanswered.get(host)
            if found is None or _is_over(found, now_s):
                self._unanswered[host] = _Questions(now_s)
            else:
                found.failed_s = None

    def failed(self, host: str, now_s: float) -> None:
        """There will be no answer to this one."""
        with self._lock:
            if host in self._unanswered:
                self._unanswered[host].failed_s = now_s

    def heard(self, host: str) -> None:
        with self._lock:
            self._unanswered.pop(host, None)

    def woke(self, due_s: float, now_s: float) -> None:
        """A short wait has ended, which was due then."""
        if now_s - due_s > ASLEEP_S:
            with self._lock:
                self._awake_s = now_s

    def owes_since(self, host: str, now_s: float, limit_s: float) -> bool:
        """Whether what was asked so long ago, or the last that was asked at all, has no answer."""
        with self._lock:
            found = self._unanswered.get(host)
            if found is None:
                return False
            return _is_over(found, now_s) or now_s - found.since_s >= limit_s

    def of_s(self, host: str, now_s: float) -> float:
        """0 where it owes nothing, or was not asked for a while."""
        with self._lock:
            found = self._unanswered.get(host)
            if found is None or _is_over(found, now_s):
                return 0.0
            return now_s - max(found.since_s, self._awake_s)


def _is_over(found: _Questions, now_s: float) -> bool:
    return found.failed_s is not None and now_s - found.failed_s > FAILED_S
