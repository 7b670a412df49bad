"""What must be confirmed before it is done, by typing on a terminal or by an option."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable

from storage_agent.cli.context import Context
from storage_agent.cli.render_plan import disk_lines, plan_lines
from storage_agent.model.answers import PlanAnswer
from storage_agent.model.array import Disk
from storage_agent.model.errors import Refused


def confirm_peer_is_off(options: argparse.Namespace, context: Context) -> None:
    """Raises Refused. If the named host still writes, promoting here makes two sets of data."""
    host = options.peer_is_off
    if options.confirm is not None:
        if options.confirm != host:
            raise Refused(
                f"--confirm {options.confirm} does not name the host of --peer-is-off {host}; "
                "nothing was changed",
                remedy=f"make sure that {host} is off, then add: --confirm {host}",
                code="NOT_CONFIRMED",
            )
        return
    if not context.can_ask() or options.json:
        raise Refused(
            f"that {host} is powered off must be confirmed; nothing was changed",
            remedy=f"make sure that it is, then add: --confirm {host}",
            code="NOT_CONFIRMED",
        )
    context.out.line(f"If {host} is still running, clients may have written data there that is")
    context.out.line("lost by this, and both hosts would hold different data. Look at it: power")
    context.out.line("light, remote console, or the provider's page.")
    if context.ask(f"Type the name of the host that is OFF ({host}):") != host:
        raise Refused(
            "another name was typed; nothing was changed",
            remedy=f"make sure that {host} is off, then try again",
            code="NOT_CONFIRMED",
        )


def confirm_creation(options: argparse.Namespace, context: Context, answer: PlanAnswer) -> None:
    """Shows disks and plan, and wants the volume's name or the plan's digest. Raises Refused."""
    confirm_plan(
        options,
        context,
        answer,
        command=f"create {options.volume} --{options.role}",
        why="create overwrites disks",
        to="overwrite them",
        show=lambda: disk_lines(disks_to_write(options.volume, context), context.out),
    )


def confirm_abandoning(options: argparse.Namespace, context: Context, answer: PlanAnswer) -> None:
    """As confirm_creation."""
    confirm_plan(
        options,
        context,
        answer,
        command=f"create {options.volume} --abandon",
        why="abandoning erases what create has made on these disks",
        to="erase it",
        show=lambda: disk_lines(disks_to_write(options.volume, context), context.out),
    )


def confirm_plan(
    options: argparse.Namespace,
    context: Context,
    answer: PlanAnswer,
    *,
    command: str,
    why: str,
    to: str,
    show: Callable[[], Iterable[str]] = tuple,
) -> None:
    """Shows the plan and what `show` adds, and wants the volume's name or the plan's digest.

    command: what to type again.  why: what makes it need that.  to: what typing the name does.
    Raises Refused.
    """
    if options.confirm is not None:
        if options.confirm != answer.digest:
            raise Refused(
                f"the plan is not the one that --confirm {options.confirm} names; "
                "nothing was changed",
                remedy=f"read it again: storage-agent {command} --dry-run",
                code="PLAN_CHANGED",
            )
        return
    if options.json or not context.can_ask():
        raise Refused(
            f"{why} and must be confirmed; nothing was changed",
            remedy="read the plan (--dry-run), then: "
            f"storage-agent {command} --confirm {answer.digest}",
            code="NOT_CONFIRMED",
        )
    for line in (*plan_lines(answer, context.out), *show()):
        context.out.line(line)
    if context.ask(f"Type the volume's name ({options.volume}) to {to}:") != options.volume:
        raise Refused(
            "another name was typed; nothing was changed",
            remedy=f"read what it says, then try again: storage-agent {command}",
            code="NOT_CONFIRMED",
        )


def disks_to_write(volume: str, context: Context) -> tuple[Disk, ...]:
    """The volume's disks on this host, as they are attached now. Raises AgentError."""
    config = context.local.config()
    serials = config.require_volume(volume).array.disks.get(config.host, ())
    return context.local.disks(serials)
