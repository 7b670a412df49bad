"""Notices at once that a frozen primary asks, or was answered.

The kernel says "frozen" in its event stream before the fence-peer handler runs; from then on the
handler's folders are looked at five times a second, and hardly ever else.
"""

from __future__ import annotations

from collections.abc import Callable

from storage_agent.model.configuration import AgentConfig
from storage_agent.model.observed import Unobserved
from storage_agent.model.replica import ConnectionState, Replica, Role
from storage_agent.model.snapshot import Facet, HostSnapshot, VolumeSnapshot
from storage_agent.service.observing.sources import Hint, Source

FAST_S = 0.2
SLOW_S = 5.0


class IncidentSource(Source):
    """last_change: differs after each change (host/drbd/incidents.py)."""

    def __init__(self, last_change: Callable[[], tuple[int, ...]]) -> None:
        self._last_change = last_change
        self._volumes: frozenset[str] = frozenset()
        self._seen: tuple[int, ...] | None = None
        self._looked_s = 0.0
        self._period_s = SLOW_S

    def configure(self, config: AgentConfig) -> None:
        self._volumes = frozenset(
            name for name, volume in config.volumes.items() if volume.replica is not None
        )

    def follow(self, snapshot: HostSnapshot) -> None:
        asks = any(_may_ask(snapshot.volumes[v]) for v in self._volumes & snapshot.volumes.keys())
        self._period_s = FAST_S if asks else SLOW_S

    def wake_s(self) -> float:
        return self._looked_s + self._period_s if self._volumes else float("inf")

    def tick(self, now_s: float) -> tuple[Hint, ...]:
        if now_s < self.wake_s():
            return ()
        self._looked_s = now_s
        seen = self._last_change()
        if seen == self._seen:
            return ()
        self._seen = seen
        return tuple(Hint(frozenset({Facet.INCIDENT}), name, 0.0) for name in sorted(self._volumes))


def _may_ask(volume: VolumeSnapshot) -> bool:
    replica = volume.replica
    if isinstance(replica, Unobserved):
        return True
    return (
        isinstance(replica, Replica)
        and replica.role is Role.PRIMARY
        and (replica.peer is None or replica.peer.connection is not ConnectionState.CONNECTED)
    )
