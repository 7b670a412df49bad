"""Entry of `storage-coordinator`."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Sequence
from functools import cache

from storage_agent.cli.context import Answer
from storage_agent.cli.dispatch import emit, guarded
from storage_agent.cli.main import close_stdout
from storage_agent.cli.terminal import Screen
from storage_agent.cli.text import clean
from storage_agent.coordinator_cli.arguments import parse_arguments
from storage_agent.coordinator_cli.context import Context


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; the exit status is that of `storage-agent`."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    return run(arguments, real_context())


def run(arguments: Sequence[str], context: Context) -> int:
    def command() -> Answer:
        options = parse_arguments(arguments)
        answer: Answer = options.handler(options, context)
        return answer

    try:
        answer = guarded(command, remedy="storage-coordinator status")
        return emit(
            answer,
            context.out,
            context.err,
            wants_json="--json" in arguments,
            program="storage-coordinator",
        )
    except BrokenPipeError:
        close_stdout()
        return 1


def real_context() -> Context:
    """The one that touches the world."""
    from storage_agent.coordinator import settings as settings_file
    from storage_agent.coordinator.coordinator import Coordinator
    from storage_agent.coordinator.fence_options import option_problems
    from storage_agent.coordinator.settings import HostSettings, Settings
    from storage_agent.coordinator_cli.wiring import make_coordinator, run_command
    from storage_agent.host.system.clock import SystemClock
    from storage_agent.host.system.files import replace_file

    @cache
    def settings() -> Settings:
        return settings_file.load()

    @cache
    def coordinator() -> Coordinator:
        return make_coordinator(settings(), on_hook_failure=warn)

    def problems() -> tuple[str, ...]:
        return settings_file.check() or option_problems(settings())

    def warn(text: str) -> None:
        sys.stderr.write(clean(f"storage-coordinator: warning: {text}") + "\n")

    def broken(args: threading.ExceptHookArgs) -> None:
        """A thread of ours or of a library's has ended by a fault, with who knows what in it."""
        name = args.thread.name if args.thread else "a thread"
        warn(f"{name} broke off: {args.exc_type.__name__}: {str(args.exc_value)[:300]}")

    threading.excepthook = broken

    def offered_key(host: HostSettings, timeout_s: float) -> tuple[str, bytes]:
        from storage_agent.coordinator.reaching import ssh

        return ssh.offered_key(host, timeout_s)

    return Context(
        out=Screen.of(sys.stdout, os.environ),
        err=Screen.of(sys.stderr, os.environ),
        stdin=sys.stdin,
        clock=SystemClock(),
        settings=settings,
        problems=problems,
        coordinator=coordinator,
        offered_key=offered_key,
        replace_file=lambda path, content: replace_file(path, content, mode=0o644),
        run_command=run_command,
    )


if __name__ == "__main__":
    sys.exit(main())
