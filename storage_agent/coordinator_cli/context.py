"""What a command needs of the world, so that every command also runs against fakes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

from storage_agent.cli.terminal import Screen
from storage_agent.model.errors import Refused

if TYPE_CHECKING:
    from pathlib import Path

    from storage_agent.coordinator.commands import RunCommand
    from storage_agent.coordinator.coordinator import Coordinator
    from storage_agent.coordinator.settings import HostSettings, Settings
    from storage_agent.model.clock import Clock


@dataclass(slots=True, kw_only=True)
class Context:
    """settings, coordinator: read and made when first asked for; raise AgentError.
    offered_key: type and key that a host shows.  replace_file: atomic, durable."""

    out: Screen
    err: Screen
    stdin: TextIO
    clock: Clock
    settings: Callable[[], Settings]
    problems: Callable[[], tuple[str, ...]]
    coordinator: Callable[[], Coordinator]
    offered_key: Callable[[HostSettings, float], tuple[str, bytes]]
    replace_file: Callable[[Path, bytes], None]
    run_command: RunCommand

    def confirm(self, word: str, given: str | None, *, asks: str, what: str, json: bool) -> None:
        """Wants `word` typed, or given by an option. Raises Refused (NOT_CONFIRMED)."""
        if given is None and self.out.is_terminal and self.stdin.isatty() and not json:
            self.out.ask(f"{asks} Type {word}:")
            given = self.stdin.readline().strip()
        if given != word:
            raise Refused(
                f"{what} must be confirmed; nothing was changed",
                remedy=f"make sure of it, then add: --confirm {word}",
                code="NOT_CONFIRMED",
            )
