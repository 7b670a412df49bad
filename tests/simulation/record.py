"""The coordinator's durable record, in memory: coordinator/record/store.py without SQLite.

Every change is a point before and after which the process can be killed. What was committed stays;
/run, which says that nothing was lost since, goes with a restart of the machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from storage_agent.coordinator.deciding.arbiter import Decision, State
from storage_agent.coordinator.record.store import Store

if TYPE_CHECKING:
    from tests.simulation.control import ControlMachine

KEPT = 12


class SimRecord(Store):
    """states: by volume.  noted: what lies in /run, the number of the last change and the volumes
    that it vouches for."""

    def __init__(self, control: ControlMachine, states: dict[str, State]) -> None:
        self._control = control
        self.noted: tuple[int, frozenset[str]] | None = None
        self.begin(states)

    def begin(self, states: dict[str, State]) -> None:
        self.states = dict(states)
        self.changes = 0
        self.backups: list[tuple[int, dict[str, State]]] = [(0, dict(states))]

    # --- as the real one ------------------------------------------------------------------------

    def get(self, volume: str) -> State | None:
        self._look_for_loss()
        return self.states.get(volume)

    def decide(
        self, volume: str, rule: Callable[[State | None], Decision], unix_s: int
    ) -> Decision:
        self._control.point("record", before=True)
        before = self.get(volume)
        decision = rule(before)
        if decision.state != before:
            self._put(volume, decision.state)
        return decision

    def change(self, volume: str, rule: Callable[[State], State]) -> State | None:
        self._control.point("record", before=True)
        before = self.get(volume)
        if before is None:
            return None
        after = rule(before)
        if after != before:
            self._put(volume, after)
        return after

    def is_proven(self, volume: str) -> bool:
        self._look_for_loss()
        return self.noted is not None and volume in self.noted[1]

    def vouch(self, volumes: Iterable[str]) -> None:
        self._look_for_loss()
        self._remember(self.changes, frozenset(volumes))

    def _put(self, volume: str, state: State) -> None:
        self.states[volume] = state
        self.changes += 1
        changes = self.changes
        self.backups = [*self.backups, (changes, dict(self.states))][-KEPT:]
        self._control.point("record", before=False)
        self._remember(changes, frozenset())

    def _look_for_loss(self) -> None:
        if self.noted is not None and self.noted[0] > self.changes:
            self.noted = None

    def _remember(self, changes: int, vouched: frozenset[str]) -> None:
        number, volumes = self.noted or (0, frozenset())
        if vouched or volumes:
            self.noted = (max(changes, number), volumes | vouched)

    # --- what goes wrong ------------------------------------------------------------------------

    def restore(self, backup: int, *, with_run: bool) -> None:
        """Puts an old copy back. with_run: without a restart of the machine."""
        self.changes, states = self.backups[backup]
        self.states = dict(states)
        if not with_run:
            self.noted = None
