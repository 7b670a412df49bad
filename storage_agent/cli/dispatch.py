"""Arguments in, one command run, its answer or error out, exit status back."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence

from storage_agent.cli.arguments import parse_arguments
from storage_agent.cli.client import Disconnected, Silent, connect
from storage_agent.cli.context import Answer, Context, lost
from storage_agent.cli.main import close_stdout, envelope
from storage_agent.cli.terminal import Screen
from storage_agent.cli.text import clean
from storage_agent.model.errors import AgentError, OutcomeUnknown
from storage_agent.model.wire import to_wire


def run(arguments: Sequence[str], context: Context | None = None) -> int:
    """The exit status: 0 ok, 1 failed, 2 usage, 3 refused, 4 not permitted, 5 busy, 6 outcome
    unknown, 7 something is missing, 8 configuration."""
    context = context or real_context()
    try:
        answer = guarded(lambda: _answer(arguments, context), remedy="storage-agent status")
        return emit(answer, context.out, context.err, wants_json="--json" in arguments)
    except BrokenPipeError:
        # `storage-agent status | head`: the reader has what it wanted.
        close_stdout()
        return 1


def real_context() -> Context:
    """The one that touches this host."""
    from storage_agent.cli.local import ThisHost
    from storage_agent.host.system.clock import SystemClock

    return Context(
        out=Screen.of(sys.stdout, os.environ),
        err=Screen.of(sys.stderr, os.environ),
        stdin=sys.stdin,
        clock=SystemClock(),
        connect=connect,
        local=ThisHost(),
        is_root=os.geteuid() == 0,
        new_id=lambda: os.urandom(8).hex(),
    )


def _answer(arguments: Sequence[str], context: Context) -> Answer:
    options = parse_arguments(arguments)
    answer: Answer = options.handler(options, context)
    return answer


def guarded(command: Callable[[], Answer], *, remedy: str) -> Answer:
    """A command's answer; whatever it raises becomes one. remedy: after an interruption."""
    try:
        return command()
    except AgentError as exc:
        return Answer(error=exc, findings=exc.findings)
    except (Disconnected, Silent) as exc:
        return Answer(error=lost(exc))
    except KeyboardInterrupt:
        return Answer(error=OutcomeUnknown("interrupted", remedy=remedy, code="INTERRUPTED"))
    except (BrokenPipeError, SystemExit):
        raise
    except Exception as exc:
        # A fault of our own is still one line; `python3 -X dev` shows where it is.
        if sys.flags.dev_mode:
            raise
        text = f"internal error: {type(exc).__name__}: {exc}"
        return Answer(error=AgentError(text, remedy="please report it", code="INTERNAL"))


def emit(
    answer: Answer, out: Screen, err: Screen, *, wants_json: bool, program: str = "storage-agent"
) -> int:
    """Shows the answer; the exit status."""
    error = answer.error
    if wants_json and (answer.data is not None or error is not None):
        document = envelope(
            to_wire(answer.data),
            changed=answer.changed,
            findings=to_wire(answer.findings),
            error=_error_object(error) if error else None,
        )
        out.line(json.dumps(document, separators=(",", ":")))
    elif not wants_json:
        for line in answer.lines:
            out.line(line)
    for note in answer.notes:
        err.line(clean(note))
    if error is not None:
        _show_error(error, answer, err, program, wants_json=wants_json)
    if answer.exit_status is not None:
        return answer.exit_status
    return error.exit_status if error else 0


def _error_object(error: AgentError) -> dict[str, object]:
    return {
        "code": error.code,
        "message": error.message,
        "remedy": error.remedy,
        "exit_status": error.exit_status,
    }


def _show_error(
    error: AgentError, answer: Answer, err: Screen, program: str, *, wants_json: bool
) -> None:
    """One line that says what, one that says what to try; reasons of a refusal after them."""
    err.line(f"{program}: {clean(error.message)}")
    if error.remedy:
        err.line(f"  try: {clean(error.remedy)}")
    if not wants_json and not answer.lines:
        from storage_agent.cli.render_status import finding_lines

        for finding in answer.findings:
            lines = list(finding_lines(finding, err, program))
            if finding.summary == error.message:
                # Said already, above.
                lines = [line for line in lines[1:] if not line.lstrip().startswith("try: ")]
            for line in lines:
                err.line(line)
