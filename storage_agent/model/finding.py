"""A finding: one coded reason with the measured value, the limit and the remedy."""

from __future__ import annotations

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

    measured: what was seen, with unit.  limit: what would have been acceptable.
    remedy: what to type or check next.
    """

    code: str
    severity: Severity
    summary: str
    measured: str = ""
    limit: str = ""
    remedy: str = ""


def blockers(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Those that refuse."""
    return tuple(f for f in findings if f.severity is Severity.BLOCKER)


def blocker(code: str, summary: str, **more: str) -> Finding:
    return Finding(code=code, severity=Severity.BLOCKER, summary=summary, **more)


def warning(code: str, summary: str, **more: str) -> Finding:
    return Finding(code=code, severity=Severity.WARNING, summary=summary, **more)
