"""The difference between "is not there" (None) and "could not be looked at" (Unobserved)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Unobserved:
    """Looking failed, or has not happened yet. Unknown means no: nothing may be built on it."""

    reason: str
