"""`safe-to-terminate`: may this host be switched off or destroyed now? For scripts that do so."""

from __future__ import annotations

import argparse

from storage_agent.cli.context import Answer, Context
from storage_agent.cli.render_status import finding_lines
from storage_agent.cli.text import clean, counted
from storage_agent.model.answers import StatusAnswer, parse_status
from storage_agent.model.configuration import AgentConfig, VolumeConfig
from storage_agent.model.errors import AgentError, Missing, NotPermitted, Refused
from storage_agent.model.finding import Finding
from storage_agent.model.snapshot import VolumeSnapshot
from storage_agent.policy.common import LOOKED_AT, blocker, unobserved
from storage_agent.policy.liveguard import (
    operation_findings,
    service_findings,
    termination_findings,
)
from storage_agent.policy.naming import name_state


def safe_to_terminate(options: argparse.Namespace, context: Context) -> Answer:
    """Exit status 0 only if nobody loses service or (without --serving) data; 3 with every reason,
    also where that cannot be known. Always looks by itself: the daemon is asked for its operations
    alone."""
    if not context.is_root:
        raise NotPermitted(
            "only root sees all that is needed to tell",
            remedy="sudo storage-agent safe-to-terminate",
        )
    findings, lines, notes = list[Finding](), list[str](), list[str]()
    try:
        config = context.local.config() if context.local.is_configured() else None
        looked = parse_status(context.local.status(with_use=True)) if config else None
        findings += _unknown_replicas(config, context)
        if config is not None and looked is not None:
            findings += _volumes(config, looked, serving_only=options.serving)
            findings += _operations(looked, context, notes)
            lines += _states(config, looked)
    except AgentError as exc:
        findings.append(_unseen(f"this host could not be looked at: {exc.message}", exc))
    return _answer(tuple(findings), lines, notes, options, context)


def _volumes(config: AgentConfig, looked: StatusAnswer, *, serving_only: bool) -> list[Finding]:
    def judge(volume: VolumeConfig, seen: VolumeSnapshot) -> tuple[Finding, ...]:
        if serving_only:
            return (*unobserved(seen), *service_findings(volume, seen))
        return termination_findings(volume, seen, name)

    peer = config.peer_of(config.host)
    name = peer.name if peer else ""
    unseen = [
        blocker(
            "UNOBSERVED",
            "not all of this host could be looked at",
            measured=problem,
            limit=LOOKED_AT,
            remedy="see what keeps the command from looking: storage-agent doctor",
        )
        for problem in (*(p.message for p in looked.problems), *looked.snapshot.problems)
    ]
    return unseen + [
        finding
        for volume in config.volumes.values()
        for finding in judge(volume, looked.snapshot.volumes[volume.name])
    ]


def _unknown_replicas(config: AgentConfig | None, context: Context) -> list[Finding]:
    """A lost configuration must not make a serving host look idle."""
    volumes = config.volumes.values() if config else ()
    known = {volume.device() for volume in volumes if volume.replica is not None}
    return [
        blocker(
            "REPLICA_UNKNOWN",
            f"{device} is up on this host and belongs to no configured volume",
            measured=device,
            limit="only DRBD devices of configured volumes",
            remedy="see whose it is: drbdsetup status; storage-agent config check",
        )
        for device in context.local.replica_devices()
        if device not in known
    ]


def _operations(looked: StatusAnswer, context: Context, notes: list[str]) -> tuple[Finding, ...]:
    """Of the daemon; without one, those that it left unfinished."""
    try:
        return operation_findings(parse_status(context.ask_daemon("status", {})).operations)
    except Missing as down:
        notes += [f"{down.message}; looked directly, nothing was changed", f"  try: {down.remedy}"]
        return operation_findings(looked.operations)
    except AgentError as exc:
        return (_unseen(f"whether an operation is under way is not known: {exc.message}", exc),)


def _unseen(summary: str, exc: AgentError) -> Finding:
    return blocker(
        "UNOBSERVED",
        summary,
        measured=exc.code,
        limit=LOOKED_AT,
        remedy=exc.remedy or "see what keeps the command from looking: storage-agent doctor",
    )


def _states(config: AgentConfig, looked: StatusAnswer) -> list[str]:
    return [
        f"   {name}: {name_state(volume, looked.snapshot.volumes[name])}"
        for name, volume in sorted(config.volumes.items())
    ]


def _answer(
    findings: tuple[Finding, ...],
    lines: list[str],
    notes: list[str],
    options: argparse.Namespace,
    context: Context,
) -> Answer:
    data = {"safe": not findings}
    if not findings:
        told = ["safe to terminate: nobody is served from this host, and no data is only here"]
        if options.serving:
            told = ["nobody is served from this host"]
        return Answer(data=data, lines=[*told, *map(clean, lines)], notes=notes)
    reasons = [line for finding in findings for line in finding_lines(finding, context.out)]
    judged = "this host may be serving" if options.serving else "NOT safe to terminate"
    told = [f"{judged}: {counted(len(findings), 'reason')}", *map(clean, lines)]
    must_not = "must not be left alone" if options.serving else "must not be terminated"
    error = Refused(f"this host {must_not}: {findings[0].summary}", remedy=findings[0].remedy)
    return Answer(data=data, lines=[*told, *reasons], findings=findings, error=error, notes=notes)
