"""A simulated host's clock and disk of state, as the agent's ports."""

from __future__ import annotations

from typing import TYPE_CHECKING

from storage_agent.model.errors import (
    OperationFailed,
)
from tests.simulation.machine import Machine
from tests.simulation.world import Killed

if TYPE_CHECKING:
    from tests.simulation.daemon import Daemon


class SimClock:
    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def monotonic(self) -> float:
        return self._machine.world.now_s

    def wall(self) -> float:
        return self._machine.wall_s()

    def sleep(self, seconds: float) -> None:
        """A loaded machine oversleeps; that also keeps a schedule short."""
        world = self._machine.world
        world.sleep(seconds * (1 + world.random() * 30) if seconds < 5 else seconds)


class SimStore:
    """The state folder: durable on return; a power cut in the middle tears the last line."""

    def __init__(self, machine: Machine, daemon: Daemon) -> None:
        self._machine = machine
        self._daemon = daemon

    def read(self, name: str) -> bytes | None:
        if name in self._machine.unsynced:
            return self._machine.unsynced[name]
        return self._machine.files.get(name)

    def replace(self, name: str, content: bytes) -> None:
        self._daemon.point("replace", before=True)
        self._check()
        self._machine.files[name] = content
        self._daemon.wrote(name)
        self._daemon.point("replace", before=False)

    def append(self, name: str, content: bytes) -> None:
        before = self._machine.files.get(name, b"")
        try:
            self._daemon.point("journal", before=True)
        except Killed:
            if not self._machine.powered and self._daemon.world.chance(0.5):
                cut = self._daemon.world.rng.randrange(len(content))
                self._machine.files[name] = before + content[:cut]
            raise
        if self._machine.state_fails():
            # The disk is full: a part of the record may be there.
            cut = self._daemon.world.rng.choice((0, len(content) // 2))
            self._machine.files[name] = before + content[:cut]
        self._check()
        self._machine.files[name] = before + content
        self._daemon.point("journal", before=False)

    def names(self, prefix: str) -> tuple[str, ...]:
        return tuple(sorted(name for name in self._machine.files if name.startswith(prefix)))

    def remove(self, name: str) -> None:
        self._check()
        self._machine.files.pop(name, None)

    def require_writable(self) -> None:
        self._check()

    def _check(self) -> None:
        if self._machine.state_fails():
            raise OperationFailed("No space left on device", code="STATE_FOLDER")
