"""One thing that `doctor` looked at, and what it found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from storage_agent.model.doctor import DoctorFacts
from storage_agent.model.finding import Finding, Severity
from storage_agent.model.observed import Unobserved
from storage_agent.policy.common import warning


class Outcome(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """title: what was looked at.  seen: what was found.  finding: None where all is well."""

    title: str
    seen: str
    finding: Finding | None = None

    @property
    def outcome(self) -> Outcome:
        if self.finding is None:
            return Outcome.OK
        return Outcome.FAIL if self.finding.severity is Severity.BLOCKER else Outcome.WARN


def not_checked(facts: DoctorFacts, title: str, view: Unobserved) -> Check:
    finding = warning(
        "NOT_CHECKED",
        f"{title} could not be looked at",
        measured=view.reason,
        limit="looked at",
        remedy="look by hand, and see what the kernel says: journalctl -k -n 50"
        if facts.is_root
        else "run it as root: sudo storage-agent doctor",
    )
    return Check(title=title, seen=f"unknown: {view.reason}", finding=finding)
