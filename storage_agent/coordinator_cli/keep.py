"""Taking charge of volumes, pinning host keys, checking the configuration."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from storage_agent.cli.context import Answer
from storage_agent.coordinator.epochs import plan_reset, reset
from storage_agent.coordinator.hooks import executables, oddities
from storage_agent.coordinator.reaching.host_keys import (
    HostKeys,
    fingerprint,
    parse_line,
    require_fingerprint,
)
from storage_agent.coordinator.views import VolumeView
from storage_agent.coordinator_cli.context import Context
from storage_agent.coordinator_cli.look import chosen, partly
from storage_agent.coordinator_cli.render import headline
from storage_agent.model.errors import (
    AgentError,
    ConfigurationError,
    OperationFailed,
    Refused,
    UsageError,
)


def adopt(options: argparse.Namespace, context: Context) -> Answer:
    """Every volume by itself: one that cannot be adopted does not keep the others from it."""
    if bool(options.volume) == options.is_all:
        raise UsageError("name volumes, or give --all", remedy="storage-coordinator adopt --help")
    volumes = {v.key: v for v in chosen(context.settings(), options.volume)}
    coordinator = context.coordinator()
    found = coordinator.fleet.each(volumes, lambda key: coordinator.adopt(volumes[key]))
    failed = {key: exc for key, exc in found.items() if isinstance(exc, AgentError)}
    lines = [
        f"{key}: not adopted: {view.message}"
        if isinstance(view, AgentError)
        else f"{headline(view)}; adopted, epoch {view.state.epoch if view.state else '?'}"
        for key, view in found.items()
    ]
    return Answer(
        data={key: _adopted_or_not(view) for key, view in found.items()},
        lines=lines,
        changed=len(failed) < len(found),
        error=partly(failed, len(found), "were not adopted") if failed else None,
    )


def _adopted_or_not(view: VolumeView | AgentError) -> Any:
    if isinstance(view, AgentError):
        return {"error": {"code": view.code, "message": view.message, "remedy": view.remedy}}
    return "adopted"


def acknowledge(options: argparse.Namespace, context: Context) -> Answer:
    volume = context.settings().volume(options.volume)
    state = context.coordinator().store.change(
        volume.key, lambda known: dataclasses.replace(known, automatic_used=False)
    )
    if state is None:
        raise Refused(
            f"this coordinator has no record of {volume.key}",
            remedy=f"storage-coordinator adopt {volume.key}",
            code="NOT_ADOPTED",
        )
    text = f"{volume.key}: may fail over by itself again" if volume.automatic else (
        f"{volume.key}: acknowledged; `automatic` is not set for it"
    )  # fmt: skip
    return Answer(data=state, lines=(text,), changed=True)


def trust_record(options: argparse.Namespace, context: Context) -> Answer:
    volume = context.settings().volume(options.volume)
    context.confirm(
        volume.name,
        options.confirm,
        asks="If this disk was ever put back from a backup, another host may be writing by a grant "
        "that is forgotten here.",
        what=f"that the record of {volume.key} is the newest",
        json=options.json,
    )
    context.coordinator().trust(volume)
    return Answer(data={"volume": volume.key}, lines=(f"{volume.key}: trusted",), changed=True)


def reset_epoch(options: argparse.Namespace, context: Context) -> Answer:
    volume = context.settings().volume(options.volume)
    coordinator = context.coordinator()
    planned = plan_reset(coordinator, volume)
    facts = (
        f"record: epoch {planned.before}; given last: {', '.join(map(str, planned.given)) or '-'}",
        *(f"{host}: epoch {number}" for host, number in planned.shown.items()),
        f"the highest that can have been used: epoch {planned.epoch}",
    )
    if not options.json:
        for fact in facts:
            context.out.line(f"   {fact}")
    context.confirm(
        volume.name,
        options.confirm,
        asks="Nothing is granted after this until both hosts have been adopted again.",
        what=f"that epoch {planned.before} of {volume.key} was never used",
        json=options.json,
    )
    reset(coordinator, volume, planned)
    text = (
        f"{volume.key}: the record goes on from epoch {planned.epoch}; now: "
        f"storage-coordinator adopt {volume.key}"
    )
    return Answer(data=planned, lines=(text,), changed=True)


def enroll(options: argparse.Namespace, context: Context) -> Answer:
    """By fingerprint: the key is taken from the host and compared with what a person brought."""
    settings = context.settings()
    host = settings.require_host(options.host)
    if options.fingerprint is not None:
        wanted = require_fingerprint(options.fingerprint)
        key_type, blob = context.offered_key(host, settings.deadlines.connect_s)
        if fingerprint(blob) != wanted:
            raise Refused(
                f"{host.name} shows {key_type} {fingerprint(blob)}, which is not the one given",
                remedy="compare the key type too; read it on the host itself: "
                "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub",
                code="HOST_KEY_CHANGED",
            )
    else:
        key_type, blob = parse_line(options.known_hosts_line)
    path = Path(settings.known_hosts)
    content = HostKeys(path).with_key(host.name, key_type, blob, replace=options.replace)
    if content is not None:
        try:
            context.replace_file(path, content)
        except OSError as exc:
            raise OperationFailed(
                f"{path}: {exc.strerror or exc}", remedy="run it as root (sudo)"
            ) from exc
    text = f"{host.name}: {key_type} {fingerprint(blob)} is pinned"
    return Answer(data={"host": host.name, "fingerprint": fingerprint(blob)}, lines=(text,),
                  changed=content is not None)  # fmt: skip


def config(_options: argparse.Namespace, context: Context) -> Answer:
    problems = context.problems()
    if problems:
        error = ConfigurationError(f"{len(problems)} problems", remedy="correct them, one by one")
        return Answer(data={"problems": problems}, lines=problems, error=error)
    settings = context.settings()
    hooks = executables(Path(settings.hooks))
    text = (
        f"{len(settings.hosts)} hosts, {len(settings.volumes)} volumes, {len(hooks)} hooks: "
        "no problem found"
    )
    odd = oddities(Path(settings.hooks))
    return Answer(data={"problems": (), "notes": odd}, lines=(text, *odd))
