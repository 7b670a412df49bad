"""What goes wrong with the coordinator, its record and its requests, and what people type there."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from tests.simulation.control import COMMANDS, KEY, ControlMachine
from tests.simulation.daemon import Daemon
from tests.simulation.machine import Machine
from tests.simulation.world import World

if TYPE_CHECKING:
    from tests.simulation.schedule import Simulation

ANSWER_RATE = 0.4
WIRE_RATE = 0.08
CONTROL_RATE = 0.02
ANSWER_KINDS = ("answer delayed", "answer repeated", "answer forged")
WIRE_KINDS = ("request late", "request lost", "answer lost")
CONTROL_POINT = "coordinator killed at a port call"


class ControlFaults(ABC):
    """The part of Faults that hits control machines."""

    simulation: Simulation
    world: World
    enabled: bool
    point_rate: float

    @abstractmethod
    def note(self, kind: str, host: str = "", text: str = "") -> None: ...

    # --- on the wire ----------------------------------------------------------------------------

    def at_request(self, daemon: Daemon, method: str) -> str:
        """What becomes of a coordinator's request on its way."""
        is_answer = method == "incident.answer"
        rate, kinds = (ANSWER_RATE, ANSWER_KINDS) if is_answer else (WIRE_RATE, WIRE_KINDS)
        if not self.enabled or self.world.random() >= rate:
            return ""
        kind = self.world.rng.choice(kinds)
        self.note(kind, daemon.machine.name, method)
        return kind

    def at_control_point(self, control: ControlMachine, name: str, *, before: bool) -> None:
        """Raises Killed."""
        if not self.enabled or not self.point_rate or self.world.random() >= CONTROL_RATE:
            return
        self.note(CONTROL_POINT, control.name, f"({'before' if before else 'after'} {name})")
        control.kill()

    # --- by themselves --------------------------------------------------------------------------

    def _some_control(self) -> ControlMachine | None:
        if not self.simulation.has_coordinator:
            return None
        return self.world.rng.choice(self.simulation.controls)

    def _coordinator_down(self, machine: Machine) -> bool:
        control = self._some_control()
        if control is None:
            return False
        control.kill(down_s=self.world.rng.choice((5.0, 60.0, 700.0)))
        return True

    def _coordinator_killed(self, machine: Machine) -> bool:
        control = self._some_control()
        if control is None or not control.is_started:
            return False
        control.kill()
        return True

    def _coordinator_cut_off(self, machine: Machine) -> bool:
        """It cannot reach this host, or can again."""
        control = self._some_control()
        if control is None:
            return False
        control.cut ^= {machine.name}
        return True

    def _coordinator_pauses(self, machine: Machine) -> bool:
        control = self._some_control()
        if control is None:
            return False
        until_s = self.world.now_s + self.world.rng.choice((5.0, 30.0, 200.0))
        self.world.frozen_hosts[control.name] = until_s
        return True

    def _control_machine_restarts(self, machine: Machine) -> bool:
        control = self._some_control()
        if control is None:
            return False
        control.record.noted = None
        control.kill()
        return True

    def _record_restored(self, machine: Machine) -> bool:
        """From a backup, with the machine or without."""
        control = self._some_control()
        if control is None:
            return False
        control.restore(with_run=self.world.chance(0.5))
        return True

    def _second_coordinator(self, machine: Machine) -> bool:
        """From an old backup of the first one, or new."""
        controls = self.simulation.controls
        if not self.simulation.has_coordinator or len(controls) > 1:
            return False
        backups = controls[0].record.backups
        states = self.world.rng.choice(backups)[1] if self.world.chance(0.7) else {}
        second = ControlMachine(self.simulation, "control-2", dict(states))
        second.was_restored = True
        controls.append(second)
        return True

    # --- a person -------------------------------------------------------------------------------

    def command(self, machine: Machine) -> None:
        """A person at a control machine. That the record is the newest is said only where it is."""
        control = self._some_control()
        if control is None or not control.is_started or self.world.is_frozen(control.name):
            return
        what = self.world.rng.choices(COMMANDS, (4, 4, 2, 1))[0]
        if what == "failover":
            machine = self._misses_primary() or machine
        if what == "trust-record" and (control.was_restored or self._knows_another(control)):
            what = "adopt"
        control.command(what, machine.name)

    def _misses_primary(self) -> Machine | None:
        """Where a person would bring a volume up whose primary is dead, frozen or out of reach."""
        machines = self.simulation.machines.values()
        gone = [m for m in machines if not m.powered or m.node.s.susp or m.daemon is None]
        return self.simulation.other(gone[0]) if gone else None

    def _knows_another(self, control: ControlMachine) -> bool:
        return any(other.record.states.get(KEY) for other in self.simulation.controls[1:])
