"""The lines that tell how far a resync is, how fast it goes and when it ends. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from storage_agent.cli.text import bar_text, eta_text, part_text, percent_text, size_text
from storage_agent.model.snapshot import VolumeSnapshot
from storage_agent.policy.sync import Sync, SyncRates


class SyncWatch:
    """Progress lines for every copying of a host, with a rate for each."""

    def __init__(self) -> None:
        self._rates = SyncRates()

    def lines(
        self, snapshot: VolumeSnapshot, peer: str, known: Mapping[str, float]
    ) -> tuple[str, ...]:
        """One line for each that runs in `snapshot`. known: rates in bytes a second by what is
        copied, as the daemon has measured them; those of the looks seen here stand in for them."""
        syncs = self._rates.follow(snapshot, peer, snapshot.taken_monotonic_s)
        rates = self._rates.of(snapshot.volume) | dict(known)
        return tuple(sync_line(snapshot.volume, sync, rates.get(sync.what)) for sync in syncs)


def sync_line(volume: str, sync: Sync, rate_bytes_s: float | None) -> str:
    """`data  resync to beta  [####----]  57.3 %  41.2/71.9 GiB  212.0 MiB/s  ETA 2m28s`."""
    left = sync.total_bytes - sync.done_bytes
    speed = f"{size_text(rate_bytes_s)}/s" if rate_bytes_s else "rate unknown"
    eta = eta_text(left / rate_bytes_s) if rate_bytes_s else "unknown"
    return "  ".join(
        (
            volume,
            sync.what,
            bar_text(sync.done_bytes / sync.total_bytes),
            percent_text(sync.done_bytes, sync.total_bytes),
            part_text(sync.done_bytes, sync.total_bytes),
            speed,
            f"ETA {eta}",
        )
    )
