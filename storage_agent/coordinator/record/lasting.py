"""Which contradictions last: told when one has stood for a while, and when it is gone again.

The two hosts are looked at one after the other, and a move changes both: what is there for a moment
is no contradiction.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from storage_agent.model.finding import Finding

# Longer than the time between two looks at a host, and than a move leaves nobody primary.
LASTS_S = 6.0


@dataclass(slots=True)
class _Standing:
    since_s: float
    finding: Finding
    is_told: bool = False


class Contradictions:
    """Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._standing: dict[str, dict[str, _Standing]] = {}

    def seen(
        self, volume: str, findings: tuple[Finding, ...], now_s: float
    ) -> list[tuple[Finding, bool]]:
        """All that a look at both hosts has shown of a volume. Returns what is to be told: True
        for what has lasted LASTS_S by now, False for what was told and is gone."""
        found = {finding.code: finding for finding in findings}
        with self._lock:
            known = self._standing.setdefault(volume, {})
            gone = [known.pop(code) for code in sorted(known.keys() - found.keys())]
            told = [(one.finding, False) for one in gone if one.is_told]
            for code, finding in found.items():
                one = known.setdefault(code, _Standing(now_s, finding))
                if not one.is_told and now_s - one.since_s >= LASTS_S:
                    one.is_told, one.finding = True, finding
                    told.append((finding, True))
        return told
