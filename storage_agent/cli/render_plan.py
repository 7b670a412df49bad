"""A plan as a person reads it, and could run it by hand."""

from __future__ import annotations

from collections.abc import Iterator

from storage_agent.cli.render_status import finding_lines
from storage_agent.cli.terminal import Screen, Tone
from storage_agent.cli.text import clean, size_text
from storage_agent.model.answers import PlanAnswer
from storage_agent.model.array import Disk
from storage_agent.model.finding import blockers


def plan_lines(answer: PlanAnswer, screen: Screen) -> Iterator[str]:
    plan = answer.plan
    options = "".join(f", {key} {value}" for key, value in sorted(plan.options.items()))
    title = f"plan: {plan.operation} {plan.volume} on {plan.host}{options}"
    yield screen.paint(clean(title), Tone.BOLD)
    for number, step in enumerate(plan.steps, 1):
        yield f"{number:>3}. {clean(step.title)}  (at most {step.timeout_s:g} s)"
        for command in step.commands:
            yield f"       run    {clean(command)}"
        yield f"       check  {clean(step.check)}"
        if step.undo:
            yield f"       undo   {step.undo}"
    if not plan.steps:
        yield "     nothing to do"
    for finding in answer.findings:
        yield from finding_lines(finding, screen)
    if blockers(answer.findings):
        yield screen.paint("this would be refused now; nothing was changed", Tone.BAD)
    yield f"digest {answer.digest}"


def disk_lines(disks: tuple[Disk, ...], screen: Screen) -> Iterator[str]:
    """What `create` will overwrite; nothing for no disks."""
    if not disks:
        return
    yield screen.paint("these disks will be OVERWRITTEN:", Tone.BAD)
    for disk in disks:
        yield f"  {clean(disk.serial):<24}  {size_text(disk.size_bytes):>10}  {clean(disk.path)}"
