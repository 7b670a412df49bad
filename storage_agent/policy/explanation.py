"""The form of an entry of the catalogue."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """One plain sentence each. risk: what one loses by waiting; empty where nothing is at risk.
    next_steps: what to type or check, in order."""

    meaning: str
    risk: str = ""
    next_steps: tuple[str, ...]
