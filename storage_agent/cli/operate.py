"""Commands that change: promote, demote, assemble, create, and `plan`, which only shows. Those
about the peer are in peer.py.

The daemon runs the operation; this asks, shows each step and keeps asking if the connection is
lost, because the operation goes on without us.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator
from typing import Any

from storage_agent.cli.client import Disconnected, Silent
from storage_agent.cli.confirm import (
    confirm_abandoning,
    confirm_creation,
    confirm_peer_is_off,
    confirm_plan,
    disks_to_write,
)
from storage_agent.cli.context import Answer, Context, Session
from storage_agent.cli.look import known_config
from storage_agent.cli.render_operation import ProgressPrinter, closing_line
from storage_agent.cli.render_plan import disk_lines, plan_lines
from storage_agent.cli.render_status import peer_name
from storage_agent.cli.sync import SyncWatch
from storage_agent.cli.topology import topology_lines
from storage_agent.model.answers import PlanAnswer, parse_plan, parse_record, parse_status
from storage_agent.model.array import Disk
from storage_agent.model.errors import (
    AgentError,
    Missing,
    OperationFailed,
    OutcomeUnknown,
    Refused,
    UsageError,
)
from storage_agent.model.finding import blockers
from storage_agent.model.operation import OperationRecord, OperationState
from storage_agent.model.plan import OperationKind
from storage_agent.model.wire import to_wire

SILENCE_S = 660.0
"""Longer than the longest step (making a filesystem, 600 s), which may say nothing meanwhile."""

REJOIN_S = 60.0
POLL_S = 0.5


def promote(options: argparse.Namespace, context: Context) -> Answer:
    chosen = {
        "peer_is_off": options.peer_is_off,
        "marker_lost": options.marker_lost,
        "wait_s": options.wait,
    }
    if options.dry_run:
        return show_plan(options, context, "promote", **chosen)
    if options.peer_is_off:
        confirm_peer_is_off(options, context)
    elif options.confirm:
        raise UsageError("--confirm belongs to --peer-is-off", remedy="leave it out")
    if context.can_ask() and not options.json:
        _announce(options, context, chosen)
    given = {"epoch": options.epoch, "coordinator": options.coordinator}
    return operate(options, context, "promote", {**given, **chosen})


def demote(options: argparse.Namespace, context: Context) -> Answer:
    params = {"stop_serving": options.yes_stop_serving}
    if options.dry_run:
        return show_plan(options, context, "demote", **params)
    return operate(options, context, "demote", params)


def assemble(options: argparse.Namespace, context: Context) -> Answer:
    if options.degraded:
        return _assemble_degraded(options, context)
    if options.confirm:
        raise UsageError("--confirm belongs to --degraded", remedy="leave it out")
    if options.dry_run:
        return show_plan(options, context, "assemble")
    return operate(options, context, "assemble", {"wait_s": options.wait})


def _assemble_degraded(options: argparse.Namespace, context: Context) -> Answer:
    """Shows which members are there and which are not, and wants that confirmed."""
    if options.wait is not None:
        raise UsageError("--wait is for what --degraded does without", remedy="leave it out")
    answer = ask_plan(options, context, "assemble-degraded")
    if options.dry_run:
        return plan_answer(answer, context)
    refuse_blocked(answer)
    confirm_plan(
        options,
        context,
        answer,
        command=f"assemble {options.volume} --degraded",
        why="what only an absent member has is lost by this",
        to="start it without them",
    )
    return operate(options, context, "assemble-degraded", {"confirm": answer.digest})


def create(options: argparse.Namespace, context: Context) -> Answer:
    """Shows what will be overwritten, or erased, and wants that confirmed, by name or by digest."""
    if options.role == "abandon":
        return _abandon(options, context)
    answer = ask_plan(options, context, "create", role=options.role)
    is_made = any(finding.code == "ALREADY_CREATED" for finding in answer.findings)
    if options.role == "join" and is_made and _has_lost_metadata(options.volume, context):
        return _remake(options, context)
    if options.dry_run:
        return plan_answer(answer, context)
    refuse_blocked(answer)
    confirm_creation(options, context, answer)
    params = {"role": options.role, "confirm": answer.digest}
    done = operate(options, context, "create", params)
    if done.error is None:
        done.lines = (*done.lines, *_what_next(options.volume, options.role, context))
    if done.error is None and context.can_ask() and not options.json:
        _watch_first_sync(options.volume, context)
    return done


def _has_lost_metadata(volume: str, context: Context) -> bool:
    readiness = parse_status(context.ask_daemon("status", {})).readiness.get(volume)
    return readiness is not None and any(f.code == "METADATA_LOST" for f in readiness.findings)


def _remake(options: argparse.Namespace, context: Context) -> Answer:
    """Of a volume that is made: its replica's metadata are lost, and the peer has the data."""
    answer = ask_plan(options, context, "remake")
    if options.dry_run:
        return plan_answer(answer, context)
    refuse_blocked(answer)
    confirm_plan(
        options,
        context,
        answer,
        command=f"create {options.volume} --join",
        why="this host's copy is given up by this",
        to="ERASE this host's copy and take the other one's",
    )
    done = operate(options, context, "remake", {"confirm": answer.digest})
    if done.error is None and context.can_ask() and not options.json:
        _watch_first_sync(options.volume, context)
    return done


def _what_next(volume: str, role: str, context: Context) -> Iterator[str]:
    """After a create; nothing of what is not known."""
    config = known_config(context)
    known = config.volumes.get(volume) if config else None
    if known is None:
        return
    serve = f"storage-agent promote {volume}"
    if known.replica is None:
        yield f"next: {serve}"
    elif role == "first":
        yield f"next, on {peer_name(config)}: storage-agent create {volume} --join"
        yield (
            "then, so that both hosts' configurations are compared: "
            f"storage-agent pair-secret {volume}"
        )
    else:
        yield f"next, on the host that shall serve: {serve}"


def _abandon(options: argparse.Namespace, context: Context) -> Answer:
    answer = ask_plan(options, context, "abandon")
    if options.dry_run:
        return plan_answer(answer, context)
    refuse_blocked(answer)
    confirm_abandoning(options, context, answer)
    return operate(options, context, "abandon", {"confirm": answer.digest})


def plan(options: argparse.Namespace, context: Context) -> Answer:
    if options.operation == "create" and options.role is None:
        raise UsageError(
            "plan create needs --first or --join",
            remedy=f"storage-agent plan create {options.volume} --first",
        )
    if options.role is not None and options.operation != "create":
        raise UsageError(f"plan {options.operation} takes no --first or --join",
                         remedy="storage-agent plan --help")  # fmt: skip
    return show_plan(
        options, context, options.operation, role=options.role, peer_is_off=options.peer_is_off
    )


def refuse_blocked(answer: PlanAnswer) -> None:
    """Before anybody is asked to confirm it. Raises Refused."""
    if found := blockers(answer.findings):
        plan = answer.plan
        raise Refused(
            f"{plan.operation} {plan.volume} would be refused: {found[0].summary}",
            remedy=found[0].remedy,
            findings=answer.findings,
        )


def ask_plan(
    options: argparse.Namespace, context: Context, operation: str, **more: str | int | None
) -> PlanAnswer:
    params: dict[str, str | int] = {"operation": operation, "volume": options.volume}
    params |= {key: value for key, value in more.items() if value is not None}
    return parse_plan(context.ask_daemon("plan", params))


def show_plan(
    options: argparse.Namespace, context: Context, operation: str, **more: str | int | None
) -> Answer:
    return plan_answer(ask_plan(options, context, operation, **more), context)


def plan_answer(answer: PlanAnswer, context: Context) -> Answer:
    """Exit status 3 where the operation itself would be refused now."""
    found = blockers(answer.findings)
    operation, error = answer.plan.operation, None
    disks: tuple[Disk, ...] = ()
    if operation in (OperationKind.CREATE, OperationKind.ABANDON):
        # A disk that is not there is among the findings.
        with contextlib.suppress(AgentError):
            disks = disks_to_write(answer.plan.volume, context)
    if found:
        error = Refused(
            f"{operation} {answer.plan.volume} would be refused: {found[0].summary}",
            remedy=found[0].remedy,
        )
    return Answer(
        data={"plan": answer.plan, "digest": answer.digest, "disks": disks},
        lines=(*disk_lines(disks, context.out), *plan_lines(answer, context.out)),
        findings=answer.findings,
        error=error,
    )


def _announce(
    options: argparse.Namespace, context: Context, chosen: dict[str, str | int | None]
) -> None:
    """The two hosts as they stand, and what is about to happen."""
    status = parse_status(context.ask_daemon("status", {}))
    snapshot = status.snapshot.volumes.get(options.volume)
    if snapshot is None:
        return
    steps = ask_plan(options, context, "promote", **chosen).plan.steps
    for line in topology_lines(snapshot, peer_name(known_config(context)), steps):
        context.out.line(line)


def operate(
    options: argparse.Namespace, context: Context, method: str, params: dict[str, Any]
) -> Answer:
    """Runs one operation to its end. Raises AgentError."""
    operation_id = options.operation_id or context.new_id()
    request = {"volume": options.volume, "operation_id": operation_id}
    request |= {key: value for key, value in params.items() if value is not None}
    # With --json stdout is for the answer alone, and nobody reads steps in a log.
    screen = context.err if options.json else context.out
    printer = ProgressPrinter(screen) if not options.json or screen.is_terminal else None
    session = context.open_session()
    try:
        record = _follow(session, context, method, request, printer)
    except KeyboardInterrupt:
        raise OutcomeUnknown(
            f"no longer watching; {method} {options.volume} goes on in the daemon",
            remedy=f"storage-agent operation {operation_id}",
            code="INTERRUPTED",
        ) from None
    finally:
        if printer:
            printer.close()
        session.close()
    return _record_answer(record, context)


def _follow(
    session: Session,
    context: Context,
    method: str,
    request: dict[str, Any],
    printer: ProgressPrinter | None,
) -> OperationRecord:
    def progress(name: str, params: Any) -> None:
        if printer and name == "operation.progress":
            record = parse_record(params)
            if record.request.operation_id == request["operation_id"]:
                printer.update(record, context.clock.monotonic())

    def tick() -> None:
        if printer:
            printer.tick(context.clock.monotonic())

    try:
        result = session.call(
            method, request, silence_s=SILENCE_S, on_notification=progress, on_tick=tick
        )
        record = parse_record(result)
    except Silent as exc:
        raise _unknown(request, str(exc)) from exc
    except Disconnected as exc:
        record = _rejoin(context, request, printer, str(exc))
    if printer:
        printer.update(record, context.clock.monotonic())
    return record


def _rejoin(
    context: Context, request: dict[str, Any], printer: ProgressPrinter | None, why: str
) -> OperationRecord:
    """The daemon went away (a restart, an upgrade): it resumes the operation, so ask until it
    has ended. Raises OutcomeUnknown after a minute without a daemon."""
    give_up_s = context.clock.monotonic() + REJOIN_S
    while context.clock.monotonic() < give_up_s:
        context.clock.sleep(POLL_S)
        params = {"operation_id": request["operation_id"]}
        try:
            record = parse_record(context.ask_daemon("operation.show", params))
        except (Missing, OutcomeUnknown):
            continue
        except AgentError as exc:
            raise _unknown(request, f"{why}; {exc.message}") from exc
        if printer:
            printer.update(record, context.clock.monotonic())
        if record.state is not OperationState.RUNNING:
            return record
        give_up_s = context.clock.monotonic() + REJOIN_S
    raise _unknown(request, why)


def _unknown(request: dict[str, Any], why: str) -> OutcomeUnknown:
    return OutcomeUnknown(
        f"how the operation on {request['volume']} ends is not known: {why}",
        remedy=f"storage-agent operation {request['operation_id']}; storage-agent status",
    )


def _record_answer(record: OperationRecord, context: Context) -> Answer:
    return Answer(
        data=to_wire(record),
        lines=(closing_line(record, context.out),)
        if record.state is OperationState.SUCCEEDED
        else (),
        changed=record.changed,
        findings=record.findings,
        error=_record_error(record),
    )


def _record_error(record: OperationRecord) -> AgentError | None:
    if record.state is OperationState.SUCCEEDED:
        return None
    kinds: dict[OperationState, type[AgentError]] = {
        OperationState.REFUSED: Refused,
        OperationState.RUNNING: OutcomeUnknown,
    }
    request = record.request
    text = record.message or f"{request.kind} {request.volume}: {record.state}"
    remedy = record.remedy or f"storage-agent operation {request.operation_id}"
    return kinds.get(record.state, OperationFailed)(text, remedy=remedy)


def _watch_first_sync(volume: str, context: Context) -> None:
    """A bar until the copies are the same; Ctrl-C leaves the sync running."""
    syncs, peer = SyncWatch(), peer_name(known_config(context))
    try:
        while True:
            status = parse_status(context.ask_daemon("status", {}))
            lines = syncs.lines(status.snapshot.volumes[volume], peer, status.rates.get(volume, {}))
            if not lines:
                break
            context.out.transient(lines[-1])
            context.clock.sleep(1.0)
    except KeyboardInterrupt:
        context.out.line("the sync goes on; see it with: storage-agent status --watch")
    finally:
        context.out.drop_transient()
