"""Chooses the real things: SSH, SQLite, processes, the clock."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from storage_agent.coordinator.commands import Ended
from storage_agent.coordinator.coordinator import Coordinator
from storage_agent.coordinator.hooks import Hooks
from storage_agent.coordinator.reaching.fleet import Fleet
from storage_agent.coordinator.reaching.rpc import Channel
from storage_agent.coordinator.record.store import Store
from storage_agent.coordinator.settings import DEFAULT_HOOKS, HostSettings, Settings
from storage_agent.host.system.clock import SystemClock
from storage_agent.host.system.runner import Runner
from storage_agent.model.errors import AgentError, CommandFailed

EXIT_STATUSES = frozenset(range(256))


def make_coordinator(
    settings: Settings,
    *,
    on_notification: Callable[[str, str, Any], None] = lambda _host, _method, _params: None,
    on_end: Callable[[str, str], None] = lambda _host, _why: None,
    on_hook_failure: Callable[[str], None] = lambda _text: None,
) -> Coordinator:
    """Raises AgentError: our SSH key or the record cannot be used."""
    from storage_agent.coordinator.reaching import ssh

    # Before hundreds of connections say the same.
    ssh.load_key(settings.key_file)
    folder = Path(settings.state_folder)
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as exc:
        raise AgentError(f"{folder}: {exc.strerror}", remedy="run it as root (sudo)") from exc

    def connect(host: HostSettings) -> Channel:
        return ssh.connect(host, settings)

    clock = SystemClock()
    fleet = Fleet(settings, connect, clock, on_notification=on_notification, on_end=on_end)
    hooks = Hooks(
        Path(settings.hooks),
        run_command,
        settings.deadlines.hook_s,
        on_hook_failure,
        seen=folder / "hooks-seen",
        is_wanted=settings.hooks != DEFAULT_HOOKS,
    )
    return Coordinator(settings, fleet, Store(folder), clock, lambda: os.urandom(8).hex(), hooks)


def run_command(argv: tuple[str, ...], stdin: bytes, timeout_s: float) -> Ended:
    """Implements commands.RunCommand."""
    try:
        done = Runner().run(argv, timeout_s=timeout_s, stdin=stdin, ok=EXIT_STATUSES)
        return Ended(exit_status=done.exit_status, text=done.stderr, out=done.stdout)
    except CommandFailed as exc:
        return Ended(exit_status=exc.tool_exit_status, text=exc.stderr, out=exc.stdout)
