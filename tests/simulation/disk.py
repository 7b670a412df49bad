"""A backing disk with a volatile write cache, and DRBD's metadata on it."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any

Content = dict[str, Any]
# drbd_int.h enum drbd_uuid_index
HISTORY = 2
# The activity log's length. In the kernel a thousand extents of 4 MiB.
ACTIVE = 4


@dataclass
class Metadata:
    """drbd_int.h MDF_* flags, the four kinds of generation identifiers, the bitmap (keys out of
    sync) and the activity log (keys written last).

    Assumed: durable at once. In the kernel the flags follow a state change by one drbd_md_sync();
    bits reach the disk on demote, and the activity log covers those of a crashed primary.
    """

    current: int
    bitmap: int = 0
    history: list[int] = field(default_factory=list)
    consistent: bool = True
    was_up_to_date: bool = True
    peer_outdated: bool = False
    primary_indicator: bool = False
    crashed_primary: bool = False
    bits: set[str] = field(default_factory=set)
    activity: list[str] = field(default_factory=list)

    def move_to_history(self, identifier: int) -> None:
        """drbd_uuid_move_history()."""
        self.history = [identifier, *self.history][:HISTORY]

    def set_bitmap(self, identifier: int) -> None:
        """drbd_uuid_set(UI_BITMAP): what was there becomes history."""
        if self.bitmap:
            self.move_to_history(self.bitmap)
        self.bitmap = identifier

    def clear_bitmap(self) -> None:
        """drbd_uuid_set_bm(0)."""
        if self.bitmap:
            self.move_to_history(self.bitmap)
        self.bitmap = 0

    def new_current(self, identifier: int) -> None:
        """drbd_uuid_new_current(): the old one names the point from which bits were collected."""
        self.bitmap = self.current
        self.current = identifier

    def touch(self, key: str, in_use: set[str]) -> None:
        """lru_cache.c lc_get(): the newest now; what is in use (drbd_al_begin_io() to
        drbd_req_destroy()) is not given up."""
        others = [k for k in self.activity if k != key]
        free = [k for k in others if k not in in_use]
        evicted = free[: max(len(others) - ACTIVE + 1, 0)]
        self.activity = [*(k for k in others if k not in evicted), key]


class Disk:
    """An array with the replica's backing store: durable content and what is still in its cache."""

    def __init__(self, identifier: int) -> None:
        self.durable: Content = {}
        self.volatile: Content = {}
        self.metadata = Metadata(identifier)

    def write(self, key: str, value: Any) -> None:
        self.volatile[key] = value

    def flush(self) -> None:
        for key, value in self.volatile.items():
            if value is None:
                self.durable.pop(key, None)
            else:
                self.durable[key] = value
        self.volatile.clear()

    def read(self, key: str) -> Any:
        return self.volatile[key] if key in self.volatile else self.durable.get(key)

    def keys(self) -> set[str]:
        return {k for k in (*self.durable, *self.volatile) if self.read(k) is not None}

    def lose_power(self, rng: Random) -> int:
        """Of what was not flushed any part may be on the platter, in any order."""
        lost = 0
        for key in sorted(self.volatile):
            if rng.random() < 0.5:
                del self.volatile[key]
                lost += 1
        self.flush()
        return lost
