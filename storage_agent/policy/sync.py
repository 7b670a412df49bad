"""What of a volume is being copied, how far that is and how fast it goes. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from storage_agent.model.array import ArrayView
from storage_agent.model.replica import Replica, ReplicationState
from storage_agent.model.snapshot import VolumeSnapshot

WINDOW_S = 15.0
STALLED_AFTER_S = 10.0

_SENDING = {
    ReplicationState.STARTING_SYNC_S: "resync to",
    ReplicationState.WF_BITMAP_S: "resync to",
    ReplicationState.SYNC_SOURCE: "resync to",
    ReplicationState.PAUSED_SYNC_S: "resync (paused) to",
    ReplicationState.STARTING_SYNC_T: "resync from",
    ReplicationState.WF_BITMAP_T: "resync from",
    ReplicationState.WF_SYNC_UUID: "resync from",
    ReplicationState.SYNC_TARGET: "resync from",
    ReplicationState.PAUSED_SYNC_T: "resync (paused) from",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sync:
    """One copying that runs. what: `resync to beta`, `array recover`."""

    what: str
    done_bytes: int
    total_bytes: int


def running_syncs(snapshot: VolumeSnapshot, peer: str) -> tuple[Sync, ...]:
    """What is being copied for this volume now, the array's first."""
    found = []
    view = snapshot.array
    if isinstance(view, ArrayView) and view.array is not None:
        array = view.array
        if array.sync_action not in ("", "idle", "frozen") and array.sync_completed_ratio:
            found.append(
                Sync(
                    what=f"array {array.sync_action}",
                    done_bytes=int(array.sync_completed_ratio * array.size_bytes),
                    total_bytes=array.size_bytes,
                )
            )
    replica = snapshot.replica
    if isinstance(replica, Replica) and replica.peer is not None:
        how = _SENDING.get(replica.peer.replication)
        behind = replica.peer.out_of_sync_bytes
        if how and behind is not None and replica.size_bytes:
            found.append(
                Sync(
                    what=f"{how} {peer}",
                    done_bytes=max(0, replica.size_bytes - behind),
                    total_bytes=replica.size_bytes,
                )
            )
    return tuple(found)


class RateMeter:
    """Bytes a second over the last 15 s; None while that is unknown or nothing moves."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque()
        self._moved_at_s: float | None = None

    def add(self, at_s: float, done_bytes: int) -> None:
        """at_s: monotonic. Going backwards (new writes, another resync) starts again."""
        if self._samples and done_bytes < self._samples[-1][1]:
            self._samples.clear()
        if not self._samples or done_bytes > self._samples[-1][1]:
            self._moved_at_s = at_s
        self._samples.append((at_s, done_bytes))
        while at_s - self._samples[0][0] > WINDOW_S:
            self._samples.popleft()

    def rate_bytes_s(self) -> float | None:
        if len(self._samples) < 2 or self._moved_at_s is None:
            return None
        (begin_s, begin), (end_s, end) = self._samples[0], self._samples[-1]
        if end_s <= begin_s or end <= begin or end_s - self._moved_at_s >= STALLED_AFTER_S:
            return None
        return (end - begin) / (end_s - begin_s)


class SyncRates:
    """A meter for each copying of a host. `follow` in one thread; `of` in any."""

    def __init__(self) -> None:
        self._meters: dict[tuple[str, str], RateMeter] = {}
        self._rates: dict[str, dict[str, float]] = {}

    def follow(self, snapshot: VolumeSnapshot, peer: str, at_s: float) -> tuple[Sync, ...]:
        """Takes what is being copied now. at_s: monotonic, when that was seen."""
        syncs = running_syncs(snapshot, peer)
        running = {(snapshot.volume, sync.what) for sync in syncs}
        for key in [k for k in self._meters if k[0] == snapshot.volume and k not in running]:
            del self._meters[key]
        found = {}
        for sync in syncs:
            meter = self._meters.setdefault((snapshot.volume, sync.what), RateMeter())
            meter.add(at_s, sync.done_bytes)
            if rate_bytes_s := meter.rate_bytes_s():
                found[sync.what] = rate_bytes_s
        self._rates[snapshot.volume] = found
        return syncs

    def of(self, volume: str) -> dict[str, float]:
        """Bytes a second, by Sync.what; of those whose rate is known."""
        return self._rates.get(volume, {})
