"""A finding: one coded reason with the measured value, the limit and the remedy."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """BLOCKER refuses an operation, WARNING is shown and does not, NOTE informs."""

    BLOCKER = "blocker"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """`code` is stable and upper-case (`storage-agent explain CODE`); texts are one line each.

    measured: what was seen, with unit; where nothing was, what was looked at.  limit: what would
    have been acceptable.  remedy: what to type or check next, true in this state.
    """

    code: str
    severity: Severity
    summary: str
    measured: str
    limit: str
    remedy: str


def blockers(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Those that refuse."""
    return tuple(f for f in findings if f.severity is Severity.BLOCKER)


def blocker(code: str, summary: str, *, measured: str, limit: str, remedy: str) -> Finding:
    return Finding(
        code=code,
        severity=Severity.BLOCKER,
        summary=summary,
        measured=measured,
        limit=limit,
        remedy=remedy,
    )


def warning(code: str, summary: str, *, measured: str, limit: str, remedy: str) -> Finding:
    return dataclasses.replace(
        blocker(code, summary, measured=measured, limit=limit, remedy=remedy),
        severity=Severity.WARNING,
    )
