"""Commands that only look: status, events, operation."""

from __future__ import annotations

import argparse
import json
from typing import Any

from storage_agent.cli.context import Answer, Context
from storage_agent.cli.main import envelope, only_volume
from storage_agent.cli.render_operation import closing_line, step_line
from storage_agent.cli.render_status import (
    headline,
    operation_text,
    peer_name,
    status_lines,
)
from storage_agent.cli.sync import SyncWatch
from storage_agent.cli.text import clean, when_text
from storage_agent.model.answers import StatusAnswer, items_of, parse_record, parse_status
from storage_agent.model.configuration import AgentConfig
from storage_agent.model.errors import AgentError, Missing, UsageError, unknown_volume
from storage_agent.model.operation import OperationRecord

FOLLOW_EVERY_S = 1.0
FOLLOW_LIMIT = 500


def status(options: argparse.Namespace, context: Context) -> Answer:
    """Asks the daemon; without one, root looks by itself."""
    if options.watch is not None:
        return _watch(options, context)
    result, notes = ask_status(context)
    result = _cut(result, options.volume)
    if options.json:
        return Answer(data=result, notes=notes)
    answer = parse_status(result)
    lines = status_lines(
        answer,
        known_config(context),
        context.out,
        now_monotonic_s=context.clock.monotonic(),
        syncs=SyncWatch(),
    )
    return Answer(lines=tuple(lines), notes=notes)


def ask_status(context: Context) -> tuple[dict[str, Any], list[str]]:
    """The status answer, and what a person should know about where it comes from."""
    try:
        return context.ask_daemon("status", {}), []
    except Missing as down:
        if not context.is_root:
            raise Missing(down.message, remedy=f"as root: {down.remedy}", code=down.code) from down
        note = f"{down.message}; looked directly, nothing was changed\n  try: {down.remedy}"
        return context.local.status(), note.splitlines()


def known_config(context: Context) -> AgentConfig | None:
    """The configuration as it is on this host; None where it is wrong or cannot be read."""
    try:
        return context.local.config()
    except AgentError:
        return None


def _cut(result: dict[str, Any], volume: str | None) -> dict[str, Any]:
    if volume is None:
        return result
    try:
        return only_volume(result, volume)
    except KeyError:
        known = result["snapshot"]["volumes"]
        raise unknown_volume(volume, known, result["host"]) from None


def _watch(options: argparse.Namespace, context: Context) -> Answer:
    """Looks again and again until Ctrl-C, which is the normal end."""
    syncs, config, last = SyncWatch(), known_config(context), ""
    try:
        while True:
            result = _cut(ask_status(context)[0], options.volume)
            if options.json:
                context.out.line(json.dumps(envelope(result), separators=(",", ":")))
            else:
                last = _show_watch(parse_status(result), config, context, syncs, last)
            context.clock.sleep(options.watch)
    except KeyboardInterrupt:
        context.out.drop_transient()
        return Answer()


def _show_watch(
    answer: StatusAnswer,
    config: AgentConfig | None,
    context: Context,
    syncs: SyncWatch,
    last: str,
) -> str:
    """The whole view on a terminal; elsewhere a line a volume, and only when it changed."""
    if context.out.is_terminal:
        lines = status_lines(
            answer, config, context.out, now_monotonic_s=context.clock.monotonic(), syncs=syncs
        )
        text = "\n".join(lines)
        context.out.clear()
    else:
        found: list[str] = []
        peer = peer_name(config)
        for name, snapshot in sorted(answer.snapshot.volumes.items()):
            running = syncs.lines(snapshot, peer, answer.rates.get(name, {}))
            found += running or [headline(snapshot, answer.readiness.get(name), peer)]
        text = "\n".join(clean(line) for line in found)
    if text and (context.out.is_terminal or text != last):
        context.out.line(text)
    return text


def events(options: argparse.Namespace, context: Context) -> Answer:
    """The last events; with --follow everything that happens from then on."""
    if options.limit < 1:
        raise UsageError("--limit takes a number from 1", remedy="storage-agent events --help")
    if options.follow:
        return _follow(options, context)
    items = items_of(context.ask_daemon("events", {"limit": options.limit}), "events")
    return Answer(data={"events": items}, lines=tuple(event_line(item) for item in items))


def event_line(item: dict[str, Any]) -> str:
    """`2026-11-21 02:03:04  data: replica connected`."""
    when = item.get("wall_s")
    text, volume = str(item.get("text", "")), item.get("volume")
    if volume and not text.startswith(f"{volume}:"):
        text = f"{volume}: {text}"
    if item.get("operation_id"):
        text += f"  (operation {item['operation_id']})"
    shown = when_text(when) if isinstance(when, int | float) else "time unknown       "
    return f"{shown}  {clean(text)}"


def _follow(options: argparse.Namespace, context: Context) -> Answer:
    """Asks again and again until Ctrl-C: so nothing is missed when the daemon is restarted."""
    seen: set[tuple[object, object, object]] = set()
    limit = options.limit
    try:
        while True:
            items = items_of(context.ask_daemon("events", {"limit": limit}), "events")
            for item in items:
                if _event_key(item) not in seen:
                    line = json.dumps(item) if options.json else event_line(item)
                    context.out.line(line)
            seen = {_event_key(item) for item in items}
            limit = max(limit, FOLLOW_LIMIT)
            context.clock.sleep(FOLLOW_EVERY_S)
    except KeyboardInterrupt:
        return Answer()


def _event_key(item: dict[str, Any]) -> tuple[object, object, object]:
    return item.get("wall_s"), item.get("volume"), item.get("text")


def operation(options: argparse.Namespace, context: Context) -> Answer:
    """One operation with its steps, or a line for each of the last ones."""
    if options.operation_id is None:
        items = items_of(context.ask_daemon("operation.list", {}), "operations")
        records = [parse_record(item) for item in items]
        lines = [_operation_line(record) for record in records] or ["no operation is recorded"]
        return Answer(data={"operations": items}, lines=tuple(lines))
    result = context.ask_daemon("operation.show", {"operation_id": options.operation_id})
    return Answer(data=result, lines=record_lines(parse_record(result), context))


def _operation_line(record: OperationRecord) -> str:
    when = when_text(record.started_wall_s)
    return f"{when}  {record.request.volume}  {clean(operation_text(record))}"


def record_lines(record: OperationRecord, context: Context) -> tuple[str, ...]:
    from storage_agent.cli.render_status import finding_lines

    request = record.request
    lines = [f"{when_text(record.started_wall_s)}  {clean(operation_text(record))}"]
    if request.origin:
        lines.append(f"  asked by {clean(request.origin)}")
    lines += [step_line(step, context.out) for step in record.steps]
    for finding in record.findings:
        lines += finding_lines(finding, context.out)
    if record.duration_s is not None:
        lines.append(closing_line(record, context.out))
    if record.remedy:
        lines.append(f"  try: {clean(record.remedy)}")
    return tuple(lines)
