"""Commands that look nothing up on the host: config, explain, epoch."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import Any

from storage_agent.cli.context import Answer, Context
from storage_agent.cli.terminal import Screen, Tone
from storage_agent.cli.text import clean, counted
from storage_agent.model.answers import parse_config
from storage_agent.model.configuration import AgentConfig
from storage_agent.model.errors import AgentError, ConfigurationError, UsageError
from storage_agent.model.wire import to_wire
from storage_agent.policy.catalogue import CATALOGUE


def config(options: argparse.Namespace, context: Context) -> Answer:
    """`check` reads the files as the daemon would (exit status 8: wrong); `show` prints them
    merged, in TOML's words."""
    if options.what == "check":
        return _check(context)
    document = context.local.config_document(origin=options.origin)
    origins = document.get("origin") or {}
    lines = list(_flat_lines(document["config"], origins))
    return Answer(data=document, lines=tuple(lines))


def _check(context: Context) -> Answer:
    problems = context.local.config_problems()
    if not problems:
        loaded = context.local.config()
        names = ", ".join(sorted(loaded.volumes)) or "none"
        text = f"ok: host {loaded.host}, {counted(len(loaded.volumes), 'volume')}: {names}"
        data = {"host": loaded.host, "volumes": sorted(loaded.volumes), "problems": []}
        lines = [clean(text)]
        if _in_force(context) not in (None, loaded):
            lines.append("the daemon has not read it yet: systemctl reload storage-agentd")
        return Answer(data=data, lines=tuple(lines))
    count = len(problems)
    error = ConfigurationError(
        problems[0] if count == 1 else f"{count} problems in the configuration, listed above",
        remedy="correct the file, then: storage-agent config check",
    )
    return Answer(
        data={"problems": problems}, error=error, notes=list(problems) if count > 1 else []
    )


def _in_force(context: Context) -> AgentConfig | None:
    """As the daemon goes by it; None where that cannot be asked (no daemon, or another machine)."""
    try:
        return parse_config(context.ask_daemon("config.show", {}))
    except AgentError:
        return None


def _flat_lines(value: Any, origins: dict[str, str], key: str = "") -> Iterator[str]:
    """`volumes.data.nfs.threads = 8   # /etc/storage-agent/agent.toml:31`."""
    if isinstance(value, dict) and value:
        for name, item in value.items():
            yield from _flat_lines(item, origins, f"{key}.{name}" if key else str(name))
    elif value is not None:
        comment = f"   # {clean(origins[key])}" if key in origins else ""
        yield f"{clean(key)} = {json.dumps(value, ensure_ascii=False)}{comment}"


def epoch(options: argparse.Namespace, context: Context) -> Answer:
    """Only root may, and the daemon refuses a number that is lower than what it knows."""
    params = {"volume": options.volume, "number": options.number}
    done = context.ask_daemon("epoch.restore", params)
    line = (
        f"{options.volume}: epoch {options.number}; a coordinator is listened to again after: "
        f"storage-coordinator adopt {options.volume}"
    )
    return Answer(data=done, lines=(clean(line),), changed=True)


def explain(options: argparse.Namespace, context: Context) -> Answer:
    return explained(options.code, context.out, "storage-agent")


def explained(asked: str, screen: Screen, program: str) -> Answer:
    """What a code means, what is at risk, what to do; works offline. program: that was asked.
    Raises UsageError."""
    code = asked.upper()
    if code not in CATALOGUE:
        from difflib import get_close_matches

        near = get_close_matches(code, CATALOGUE, 1, 0.5)
        raise UsageError(
            f"no code {asked!r} is known",
            remedy=f"did you mean {near[0]}?"
            if near
            else f"see which codes stand now: {program} status",
            code="UNKNOWN_CODE",
        )
    entry = CATALOGUE[code]
    lines = [screen.paint(code, Tone.BOLD), f"  means  {entry.meaning}"]
    if entry.risk:
        lines.append(f"  risk   {entry.risk}")
    lines += [f"  next   {step}" for step in entry.next_steps]
    return Answer(data={"code": code, **to_wire(entry)}, lines=tuple(lines))
