"""A disk's write cache that a power cut empties: pure of sockets and processes.

A write is safe once a flush has ended after it, or if it asked for that itself (FUA). What is not
safe may be lost, kept or torn at a power cut, sector by sector, as a seed decides.
"""

from __future__ import annotations

import os
import random
from dataclasses import dataclass, field

SECTOR_BYTES = 512
# A real cache is not endless either: it writes back what it likes when it is full.
CACHE_SECTORS = 32 * 1024 * 1024 // SECTOR_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerCut:
    """What a power cut did to the writes that were not safe."""

    lost_sectors: int
    kept_sectors: int


@dataclass(slots=True)
class VolatileCache:
    """Sectors over an open file. Offsets and lengths are whole sectors."""

    descriptor: int
    seed: int = 0
    _random: random.Random = field(init=False)
    _sectors: dict[int, tuple[int, bytes]] = field(default_factory=dict)
    _writes: int = 0

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def read(self, offset: int, length: int) -> bytes:
        content = bytearray(os.pread(self.descriptor, length, offset))
        content.extend(bytes(length - len(content)))
        if self._sectors:
            first = offset // SECTOR_BYTES
            for number in range(length // SECTOR_BYTES):
                if cached := self._sectors.get(first + number):
                    start = number * SECTOR_BYTES
                    content[start : start + SECTOR_BYTES] = cached[1]
        return bytes(content)

    def write(self, offset: int, content: bytes, *, safe: bool) -> None:
        """Into the cache; with `safe` to the disk at once, and only this write."""
        first = offset // SECTOR_BYTES
        count = len(content) // SECTOR_BYTES
        if safe:
            os.pwrite(self.descriptor, content, offset)
            for sector in range(first, first + count):
                self._sectors.pop(sector, None)
            return
        self._writes += 1
        for number in range(count):
            piece = content[number * SECTOR_BYTES : (number + 1) * SECTOR_BYTES]
            self._sectors[first + number] = (self._writes, piece)
        if len(self._sectors) > CACHE_SECTORS:
            self._write_back(self._random.sample(sorted(self._sectors), CACHE_SECTORS // 2))

    def flush(self) -> None:
        """Everything written so far becomes safe."""
        self._write_back(sorted(self._sectors))

    def unsafe_sectors(self) -> int:
        return len(self._sectors)

    def cut_power(self, seed: int) -> PowerCut:
        """Decides for each write that is not safe: all of it, none of it, or only its beginning."""
        decide = random.Random(seed)
        by_write: dict[int, list[int]] = {}
        for sector, (write, _) in self._sectors.items():
            by_write.setdefault(write, []).append(sector)
        kept: list[int] = []
        for _, sectors in sorted(by_write.items()):
            kept += sorted(sectors)[
                : decide.choice((0, len(sectors), decide.randrange(len(sectors) + 1)))
            ]
        lost = len(self._sectors) - len(kept)
        self._write_back(kept)
        self._sectors.clear()
        return PowerCut(lost_sectors=lost, kept_sectors=len(kept))

    def _write_back(self, sectors: list[int]) -> None:
        for sector in sectors:
            os.pwrite(self.descriptor, self._sectors.pop(sector)[1], sector * SECTOR_BYTES)
