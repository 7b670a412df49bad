"""switchover and failover: shows both hosts' steps as they happen."""

from __future__ import annotations

import argparse
import threading
from collections.abc import Callable, Iterator

from storage_agent.cli.context import Answer
from storage_agent.cli.render_operation import step_line
from storage_agent.cli.render_plan import plan_lines
from storage_agent.cli.terminal import Screen
from storage_agent.cli.text import clean, duration_text
from storage_agent.coordinator import fencing
from storage_agent.coordinator.failover import TakenOver, check_takeover, fail_over
from storage_agent.coordinator.hooks import giving_of
from storage_agent.coordinator.move_check import MoveCheck, check_move
from storage_agent.coordinator.settings import VolumeSettings
from storage_agent.coordinator.switchover import Moved, switch_over
from storage_agent.coordinator_cli.context import Context
from storage_agent.coordinator_cli.render import move_lines, takeover_lines
from storage_agent.model.answers import PlanAnswer
from storage_agent.model.errors import OperationFailed, Refused, UsageError
from storage_agent.model.finding import blockers
from storage_agent.model.operation import OperationRecord, StepOutcome
from storage_agent.model.plan import Plan
from storage_agent.model.wire import to_wire

_UNENDED = frozenset({StepOutcome.RUNNING, StepOutcome.UNDOING})


class StepPrinter:
    """Each step of each host once, when it ends: `beta  ✓ mount /srv/data  0.3 s`. Two hosts tell
    theirs in two threads."""

    def __init__(self, screen: Screen | None) -> None:
        self._screen = screen
        self._lock = threading.Lock()
        self._printed: dict[tuple[str, str], int] = {}

    def __call__(self, host: str, record: OperationRecord) -> None:
        if self._screen is not None:
            with self._lock:
                self._print(host, record, self._screen)

    def text(self, err: Screen, text: str) -> None:
        """A line on another stream, which may be the same terminal."""
        with self._lock:
            if self._screen is not None:
                self._screen.drop_transient()
            err.line(clean(text))

    def _print(self, host: str, record: OperationRecord, screen: Screen) -> None:
        key = (host, record.request.operation_id)
        ended = [step for step in record.steps if step.outcome not in _UNENDED]
        for step in ended[self._printed.get(key, 0) :]:
            screen.line(f"{host:<12}{step_line(step, screen)}")
        self._printed[key] = max(len(ended), self._printed.get(key, 0))
        running = [step for step in record.steps if step.outcome in _UNENDED]
        if running:
            screen.transient(f"{host:<12}{step_line(running[-1], screen)}")


def switchover(options: argparse.Namespace, context: Context) -> Answer:
    volume = _volume(options, context)
    coordinator = context.coordinator()
    if options.dry_run:
        view = coordinator.look(volume)
        check = check_move(coordinator, view, options.target)
        return Answer(
            data=to_wire(check),
            lines=(
                *move_lines(view, check, context.out),
                *_plans(check.plans, context),
                *coordinator.hooks.dry_run(giving_of("switchover", volume, options.target)),
            ),
            findings=check.findings,
            error=_would_be_refused("switchover", volume, check.findings),
        )
    printer = StepPrinter(_screen(options, context))

    def show(check: MoveCheck) -> None:
        if not options.json:
            for line in _plans(check.plans, context):
                context.out.line(line)

    moved = switch_over(
        coordinator,
        volume,
        options.target,
        on_check=show,
        on_progress=printer,
        on_text=lambda text: printer.text(context.err, text),
    )
    if moved.is_already:
        lines = (f"{volume.key} serves from {options.target} already",)
        return Answer(data=moved, lines=lines, error=_hooks_failed(moved))
    text = (
        f"{volume.key}: moved from {moved.source} to {moved.target}, epoch {moved.epoch}; "
        f"clients waited about {duration_text(moved.gap_s)}"
    )
    return Answer(data=moved, lines=(text,), changed=True, error=_hooks_failed(moved))


def failover(options: argparse.Namespace, context: Context) -> Answer:
    volume = _volume(options, context)
    coordinator = context.coordinator()
    dead = volume.peer_of(options.target)
    if options.dry_run:
        view = coordinator.look(volume)
        check = check_takeover(coordinator, view, options.target)
        return Answer(
            data=to_wire(check),
            lines=(
                *takeover_lines(check, "", context.out),
                *_plans({options.target: check.plan} if check.plan else {}, context),
                *coordinator.hooks.dry_run(giving_of("failover", volume, options.target)),
            ),
            findings=check.findings,
            error=_would_be_refused("failover", volume, check.findings),
        )
    view = coordinator.look(volume)
    check = check_takeover(coordinator, view, options.target)
    given_up = check.is_guarded
    # Not by the word that gives up a host which a coordinator keeps from writing.
    is_unguarded = check.arbitration == "coordinator" and not given_up
    context.confirm(
        f"{dead}-is-off" if is_unguarded else dead,
        options.confirm,
        asks=f"{options.target} takes {volume.key} over; {dead} will not get it back before both "
        "copies are in sync again."
        + ("" if given_up else f" {dead} may be writing on alone: it must be powered off."),
        what=f"that {dead} is given up" if given_up else f"that {dead} is powered off",
        json=options.json,
    )
    printer = StepPrinter(_screen(options, context))
    done = fail_over(
        coordinator,
        volume,
        options.target,
        is_declared_off=not given_up,
        fence=fence_of(context)(dead),
        on_progress=printer,
        on_text=lambda text: printer.text(context.err, text),
    )
    text = f"{volume.key}: serves from {done.target}, epoch {done.epoch}; proof: {done.proof}"
    return Answer(data=done, lines=(text,), changed=True, error=_hooks_failed(done))


def _hooks_failed(done: Moved | TakenOver) -> OperationFailed | None:
    """The move stands: what the site has to do after it does not."""
    if done.are_hooks_done:
        return None
    return OperationFailed(
        f"{done.volume} serves from {done.target}, but a hook failed after it",
        remedy="do by hand what it should have done; the lines above say which",
        code="HOOK_FAILED",
    )


def fence_of(context: Context) -> Callable[[str], fencing.Fence | None]:
    """For a host with a fence agent, what turns it off; None for others."""
    settings, clock = context.settings(), context.clock

    def fence(host: str, timeout_s: float) -> str:
        return fencing.require_off(settings.hosts[host], context.run_command, clock, timeout_s)

    return lambda host: fence if settings.hosts[host].fence else None


def _volume(options: argparse.Namespace, context: Context) -> VolumeSettings:
    volume = context.settings().volume(options.volume)
    if options.target not in volume.hosts:
        raise UsageError(
            f"{options.target[:64]!a} does not keep {volume.key}",
            remedy=f"--to {volume.hosts[0]}, or --to {volume.hosts[1]}",
        )
    return volume


def _screen(options: argparse.Namespace, context: Context) -> Screen | None:
    """With --json stdout is for the answer alone."""
    return None if options.json else context.out


def _plans(plans: dict[str, Plan], context: Context) -> Iterator[str]:
    for host, plan in plans.items():
        yield f"on {host}:"
        answer = PlanAnswer(plan=plan, digest=plan.digest(), findings=())
        yield from plan_lines(answer, context.out)


def _would_be_refused(
    what: str, volume: VolumeSettings, findings: tuple[object, ...]
) -> Refused | None:
    found = blockers(findings)  # type: ignore[arg-type]
    if not found:
        return None
    return Refused(
        f"{what} {volume.key} would be refused: {found[0].summary}", remedy=found[0].remedy
    )
