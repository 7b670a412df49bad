"""status, preflight, ping: asks many hosts at once, changes nothing there."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from storage_agent.cli.context import Answer
from storage_agent.cli.terminal import Tone
from storage_agent.cli.text import clean
from storage_agent.coordinator.coordinator import Coordinator
from storage_agent.coordinator.deciding.contradictions import contradictions, seal_findings
from storage_agent.coordinator.failover import TakeoverCheck, check_takeover
from storage_agent.coordinator.fencing import fence_findings
from storage_agent.coordinator.host_findings import host_findings
from storage_agent.coordinator.move_check import MoveCheck, check_move
from storage_agent.coordinator.reaching.fleet import broken_off
from storage_agent.coordinator.settings import Settings, VolumeSettings
from storage_agent.coordinator.views import VolumeView
from storage_agent.coordinator_cli.context import Context
from storage_agent.coordinator_cli.render import (
    findings_lines,
    headline,
    move_lines,
    takeover_lines,
    view_document,
    view_lines,
)
from storage_agent.model.errors import AgentError, OperationFailed, Refused
from storage_agent.model.finding import Finding, blockers
from storage_agent.model.wire import to_wire

_Checked = tuple[VolumeView, MoveCheck, TakeoverCheck]


def chosen(settings: Settings, names: list[str]) -> list[VolumeSettings]:
    """Those named, or all. Raises UsageError."""
    if not names:
        return list(settings.volumes.values())
    return [settings.volume(name) for name in names]


def status(options: argparse.Namespace, context: Context) -> Answer:
    """With --json one object a line and volume, as they come; for people in order. Exit status 1
    where a host does not answer, or a volume is at risk."""
    volumes = chosen(context.settings(), options.volume)
    found, is_well = [], True
    for view in context.coordinator().look_at_all(volumes):
        found.append(view)
        if options.json:
            is_well &= _show_json(context, view.volume.key, partial(_document, view))
    if not options.json:
        for view in sorted(found, key=lambda one: one.volume.key):
            is_well &= _show(context, view.volume.key, partial(_view_rows, view, context))
    return Answer(exit_status=0 if is_well else OperationFailed.exit_status)


def _document(view: VolumeView) -> tuple[dict[str, Any], bool]:
    findings = _all(view)
    return view_document(view, findings), view.is_safe and not blockers(findings)


def _view_rows(view: VolumeView, context: Context) -> tuple[list[str], bool]:
    findings = _all(view)
    rows = list(view_lines(view, findings, context.out))
    return rows, view.is_safe and not blockers(findings)


def _show(context: Context, key: str, rows: Callable[[], tuple[list[str], bool]]) -> bool:
    """One item, and whether it is well. What cannot be shown of it is said in its place: it keeps
    no other from being shown."""
    try:
        lines, is_well = rows()
    except Exception as exc:
        lines, is_well = [_row_of(context, key, broken_off(key, exc))], False
    for line in lines:
        context.out.line(line)
    return is_well


def _show_json(
    context: Context, key: str, document: Callable[[], tuple[dict[str, Any], bool]]
) -> bool:
    """As `_show`, one object a line."""
    try:
        shown, is_well = document()
    except Exception as exc:
        shown, is_well = _error_document(key, broken_off(key, exc)), False
    _json_line(context, shown)
    return is_well


def _row_of(context: Context, key: str, error: AgentError) -> str:
    return context.out.paint(clean(f"!! {key}: {error.message}"), Tone.BAD)


def _error_document(key: str, error: AgentError) -> dict[str, Any]:
    told = {"code": error.code, "message": error.message, "remedy": error.remedy}
    return {"volume": key, "error": told}


def _all(view: VolumeView) -> tuple[Finding, ...]:
    """What the headline says first, then what does not fit together."""
    return tuple(dict.fromkeys((*host_findings(view), *contradictions(view))))


def preflight(options: argparse.Namespace, context: Context) -> Answer:
    """Would a switchover, would a failover succeed now, and has the pair gone live? Exit status 3
    where a switchover would be refused, and for a pair that is not sealed.

    With --json one object a line and volume, as they come; for people in order. One that breaks
    off hides no other, and is told in its place; the exit status is its own then.
    """
    volumes = {v.key: v for v in chosen(context.settings(), options.volume)}
    coordinator = context.coordinator()
    found: Iterable[tuple[str, _Checked | AgentError]] = coordinator.fleet.as_answered(
        volumes, lambda key: _check(context, coordinator, volumes[key])
    )
    if not options.json:
        known = dict(found)
        found = [(key, known[key]) for key in volumes]
    is_well, failed = True, {}
    for key, answer in found:
        if isinstance(answer, AgentError):
            failed[key] = answer
            if options.json:
                _json_line(context, _error_document(key, answer))
            else:
                context.out.line(_row_of(context, key, answer))
        elif options.json:
            is_well &= _show_json(context, key, partial(_checked_document, answer))
        else:
            is_well &= _show(context, key, partial(_checked_rows, answer, context))
    if failed:
        first = next(iter(failed.values()))
        error = partly(failed, len(volumes), "could not be checked")
        return Answer(error=error, exit_status=first.exit_status)
    return Answer(exit_status=0 if is_well else Refused.exit_status)


def _checked_document(checked: _Checked) -> tuple[dict[str, Any], bool]:
    view, move, takeover = checked
    unsealed = seal_findings(view)
    document = {
        "volume": view.volume.key,
        "switchover": to_wire(move),
        "failover": to_wire(takeover),
        "seal": to_wire(unsealed),
        "findings": to_wire(host_findings(view)),
    }
    return document, not (blockers(move.findings) or unsealed)


def _checked_rows(checked: _Checked, context: Context) -> tuple[list[str], bool]:
    view, move, takeover = checked
    unsealed = seal_findings(view)
    when = f", if {view.peer_of(takeover.target).host} died now"
    rows = [
        clean(headline(view)),
        *findings_lines(host_findings(view), context.out),
        *move_lines(view, move, context.out),
        *takeover_lines(takeover, when, context.out),
        *findings_lines(unsealed, context.out),
    ]
    return rows, not (blockers(move.findings) or unsealed)


def partly(failed: Mapping[str, AgentError], count: int, what: str) -> AgentError:
    """The errors of some of several items as one."""
    first = next(iter(failed.values()))
    if count == 1:
        return first
    return OperationFailed(
        f"{len(failed)} of {count} volumes {what}: {', '.join(failed)}",
        remedy=first.remedy,
        code="PARTLY",
    )


def _check(context: Context, coordinator: Coordinator, volume: VolumeSettings) -> _Checked:
    """Where a move would go: away from the primary, or from the recorded owner."""
    view = coordinator.look(volume)
    primary = view.primary()
    owner = view.state.owner if view.state else None
    source = primary.host if primary else owner or volume.hosts[0]
    target = volume.peer_of(source)
    takeover = check_takeover(coordinator, view, target, if_peer_died=True)
    fences = fence_findings(context.settings(), view, context.run_command)
    takeover = dataclasses.replace(takeover, findings=(*takeover.findings, *fences))
    return view, check_move(coordinator, view, target), takeover


def ping(options: argparse.Namespace, context: Context) -> Answer:
    settings = context.settings()
    hosts = [settings.require_host(name).name for name in options.host] or list(settings.hosts)
    coordinator = context.coordinator()
    begun_s = coordinator.clock.monotonic()

    def ask(host: str) -> tuple[str, float]:
        answer = coordinator.fleet.status(host)
        return answer.agent_version, coordinator.clock.monotonic() - begun_s

    found = coordinator.fleet.each(hosts, ask)
    failed = [exc for exc in found.values() if isinstance(exc, AgentError)]
    return Answer(
        data={host: _pong(answer) for host, answer in found.items()},
        lines=_ping_lines(found.items(), context),
        error=OperationFailed(f"{len(failed)} of {len(found)} hosts cannot be asked",
                              remedy=failed[0].remedy) if failed else None,
    )  # fmt: skip


def _pong(answer: tuple[str, float] | AgentError) -> dict[str, Any]:
    if isinstance(answer, AgentError):
        return {"ok": False, "code": answer.code, "message": answer.message}
    return {"ok": True, "agent_version": answer[0]}


def _ping_lines(
    found: Iterable[tuple[str, tuple[str, float] | AgentError]], context: Context
) -> Iterator[str]:
    for host, answer in found:
        if isinstance(answer, AgentError):
            yield context.out.paint(f"!! {host}: {answer.message}", Tone.BAD)
        else:
            yield f"   {host}: storage-agentd {answer[0]}"


def _json_line(context: Context, document: dict[str, Any]) -> None:
    context.out.line(json.dumps(to_wire(document), separators=(",", ":")))
