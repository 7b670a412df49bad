"""How many requests a key may ask for in a second. What comes sooner waits its turn; nothing is
refused. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

from storage_agent.service.api.access import Role

KEYS_LIMIT = 1024


@dataclass(frozen=True, slots=True)
class Rate:
    """burst: how many at once, after a rest."""

    a_second: float
    burst: float


# Local root has none, and a gateway has one request: its hello.
RATES = {
    Role.OBSERVE: Rate(50, 200),
    Role.OPERATE: Rate(50, 200),
    Role.GRANT: Rate(500, 2000),
}


@dataclass(slots=True)
class _Bucket:
    left: float
    at_s: float


class Pace:
    """Of all keys."""

    def __init__(self, rates: Mapping[Role, Rate]) -> None:
        self._rates = rates
        self._buckets: OrderedDict[tuple[Role, str], _Bucket] = OrderedDict()

    def ask(self, role: Role, key_id: str, now_s: float) -> float:
        """When the next request may be taken: now_s, and then it counts; or later."""
        rate = self._rates.get(role)
        if rate is None:
            return now_s
        bucket = self._buckets.pop((role, key_id), None) or _Bucket(rate.burst, now_s)
        self._buckets[role, key_id] = bucket
        if len(self._buckets) > KEYS_LIMIT:
            self._buckets.popitem(last=False)
        bucket.left = min(rate.burst, bucket.left + (now_s - bucket.at_s) * rate.a_second)
        bucket.at_s = now_s
        if bucket.left < 1:
            return now_s + (1 - bucket.left) / rate.a_second
        bucket.left -= 1
        return now_s
