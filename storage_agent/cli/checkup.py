"""The command `doctor`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from storage_agent.cli.context import Answer, Context
from storage_agent.cli.terminal import Screen, Tone
from storage_agent.cli.text import clean
from storage_agent.model.answers import parse_status
from storage_agent.model.configuration import AgentConfig
from storage_agent.model.errors import AgentError, error_finding
from storage_agent.model.finding import Finding
from storage_agent.policy.doctor.check import Check, Outcome
from storage_agent.policy.doctor.checks import next_command, run_checks
from storage_agent.policy.doctor.volumes import volume_checks

_TONES = {Outcome.OK: Tone.OK, Outcome.WARN: Tone.WARN, Outcome.FAIL: Tone.BAD}


def doctor(options: argparse.Namespace, context: Context) -> Answer:
    """Looks at this host; exit status 1 where something fails. Needs neither configuration nor
    daemon, and changes nothing."""
    config, problem = _configuration(context)
    facts = context.local.facts(config)
    checks = run_checks(facts, config, problem, _daemon_problem(context))
    checks = (*checks, *volume_checks(_readiness(context)))
    following = next_command(checks)
    failed = any(check.outcome is Outcome.FAIL for check in checks)
    return Answer(
        data={
            "checks": [
                {"title": check.title, "outcome": check.outcome, "seen": check.seen,
                 "code": check.finding.code if check.finding else None}
                for check in checks
            ],
            "next": following,
        },
        lines=doctor_lines(checks, following, context.out),
        findings=tuple(check.finding for check in checks if check.finding),
        exit_status=1 if failed else 0,
    )  # fmt: skip


def doctor_lines(checks: tuple[Check, ...], following: str, screen: Screen) -> tuple[str, ...]:
    lines = [line for check in checks for line in _check_lines(check, screen)]
    counts = {outcome: sum(c.outcome is outcome for c in checks) for outcome in Outcome}
    lines.append(
        f"{counts[Outcome.OK]} ok, {counts[Outcome.WARN]} to look at, {counts[Outcome.FAIL]} failed"
    )
    return (*lines, f"next: {screen.paint(clean(following), Tone.BOLD)}")


def _check_lines(check: Check, screen: Screen) -> Iterator[str]:
    finding = check.finding
    label = screen.paint(f"{check.outcome.upper():<4}", _TONES[check.outcome])
    yield f"{label}  {check.title:<18}  {clean(finding.summary if finding else check.seen)}"
    if finding is None:
        return
    if finding.measured and finding.measured not in finding.summary:
        yield f"      measured: {clean(finding.measured)}"
    if finding.limit:
        yield f"      wanted: {clean(finding.limit)}"
    if finding.remedy:
        yield f"      try: {clean(finding.remedy)}"
    yield f"      see: storage-agent explain {finding.code}"


def _configuration(context: Context) -> tuple[AgentConfig | None, Finding | None]:
    try:
        return context.local.config(), None
    except AgentError as exc:
        return None, error_finding(
            exc, measured="wrong", limit="one that can be read", remedy="storage-agent config check"
        )


def _readiness(context: Context) -> dict[str, tuple[Finding, ...]]:
    """Of each volume; none where the daemon does not answer, which is a check of its own."""
    try:
        answer = parse_status(context.ask_daemon("status", {}))
    except AgentError:
        return {}
    return {name: verdict.findings for name, verdict in answer.readiness.items()}


def _daemon_problem(context: Context) -> Finding | None:
    try:
        context.ask_daemon("ping", {})
    except AgentError as exc:
        return error_finding(
            exc,
            measured="no answer to ping",
            limit="an answer",
            remedy="systemctl status storage-agentd",
        )
    return None
