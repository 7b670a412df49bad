"""A coordinator that answers incidents and grants promotions, as small as it can be and right.

It sees a host only through that host's agent (Arbitration, Engine.plan), one call at a time. What
it has said is durable before it is said: one word an epoch, and `alone`, the one host that may
have written without the other since both were last in sync. That is cleared by this host's own
view only: the other one's may be older than the word. A grant that was sent stands until its
operation has an end, however long that takes: it might still be on its way.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from storage_agent.model.errors import AgentError, Refused
from storage_agent.model.finding import blockers
from storage_agent.model.incident import Incident, IncidentAnswer
from storage_agent.model.operation import OperationRequest
from storage_agent.model.plan import OperationKind
from tests.simulation.daemon import Daemon, epoch_of
from tests.simulation.machine import Machine

if TYPE_CHECKING:
    from tests.simulation.schedule import Simulation

# The claim by which it has adopted the volume.
COORDINATOR = "claim-1"
PERIOD_S = 0.5
SILENT_S = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What one call has shown of a host."""

    at_s: float
    epoch: int
    is_promotable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """A promotion that was granted and whose end is not known."""

    host: str
    epoch: int
    operation_id: str


class Coordinator:
    """prefers: what an incident is answered with where both are possible; None: by chance."""

    def __init__(self, simulation: Simulation) -> None:
        self.simulation = simulation
        self.world = simulation.world
        self.is_on = True
        self.prefers: IncidentAnswer | None = None
        self.down_until_s = 0.0
        self.cut: set[str] = set()
        self.epoch = 0
        self.alone: str | None = None
        self.granted: Word | None = None
        self.said: dict[tuple[str, str], tuple[IncidentAnswer, int]] = {}
        self.seen: dict[str, Sight] = {}
        self._next_s: dict[str, float] = {}
        self._numbers = 0
        self._begun_s = self.world.now_s

    # --- who is called when ---------------------------------------------------------------------

    def step(self) -> bool:
        """Calls one host that may want something. False: none does, or it is not yet time."""
        if not self._is_there() or self.world.now_s < self.down_until_s:
            return False
        if not (self.has_work() or self.alone is not None or self._misses_somebody()):
            return False
        for machine in self.simulation.machines.values():
            daemon = self._reach(machine)
            due = self.world.now_s >= self._next_s.get(machine.name, 0.0)
            if daemon is not None and due:
                self._next_s[machine.name] = self.world.now_s + PERIOD_S
                daemon._spawn("coordinator", lambda d=daemon: self._call(d))
                return True
        return False

    def wake_s(self) -> float | None:
        """When it has something to do next, as far as time alone decides."""
        if not self._is_there() or not (self.has_work() or self._misses_somebody()):
            return None
        return max(min(self._next_s.values(), default=0.0), self.down_until_s)

    def _reach(self, machine: Machine) -> Daemon | None:
        daemon = machine.daemon
        hidden = machine.name in self.cut or self.world.is_frozen(machine.name)
        return None if daemon is None or not daemon.started or hidden else daemon

    def _is_there(self) -> bool:
        return self.is_on and self.simulation.has_coordinator

    def has_work(self) -> bool:
        """Somebody asks, or something that was said has no end yet."""
        machines = self.simulation.machines.values()
        asks = any(m.asked is not None and m.answered_epoch() is None for m in machines)
        return self._is_there() and (asks or self.granted is not None)

    def _misses_somebody(self) -> bool:
        return any(self._reach(m) is None for m in self.simulation.machines.values())

    # --- one call -------------------------------------------------------------------------------

    def _call(self, daemon: Daemon) -> None:
        machine, volume = daemon.machine, self.simulation.volume
        arbitration = daemon.engine.arbitration
        try:
            found = arbitration.incident(volume)
            wanted = OperationRequest(
                kind=OperationKind.PROMOTE, volume="data", operation_id="look", origin="coordinator"
            )
            _, findings = daemon.engine.plan(wanted)
        except AgentError:
            return
        codes = {finding.code for finding in blockers(findings)}
        self.seen[machine.name] = Sight(
            at_s=self.world.now_s,
            epoch=max(epoch_of(machine), 0),
            is_promotable=codes == {"PROMOTION_NOT_GRANTED"},
        )
        self._settle(machine)
        if found is not None and found.answer is IncidentAnswer.NONE:
            self._answer(daemon, found)
        elif self._may_fail_over(machine) or self._is_granted(machine):
            self._grant(daemon)

    def _settle(self, machine: Machine) -> None:
        word = self.granted
        if word is not None and word.host == machine.name:
            course = self.simulation.courses.get(word.operation_id)
            if course is not None and course.record is not None:
                self.granted = None
        view = machine.node.view()
        if self.granted is None and self.alone == machine.name and view and view.in_sync():
            self.alone = None

    def _fresh_epoch(self) -> int:
        """Durable before anybody hears of it."""
        self.epoch = max(self.epoch, *(s.epoch for s in self.seen.values())) + 1
        return self.epoch

    # --- incidents ------------------------------------------------------------------------------

    def _answer(self, daemon: Daemon, found: Incident) -> None:
        name = daemon.machine.name
        key = (name, f"{found.boot_id} {found.incident}")
        if key not in self.said:
            self.said[key] = self._decide(daemon.machine)
        answer, epoch = self.said[key]
        self.world.log("COORD", f"{found.incident} on {name}: {answer}, epoch {epoch}")
        self._send(daemon, dataclasses.replace(found, answer=answer, epoch=epoch))

    def _decide(self, machine: Machine) -> tuple[IncidentAnswer, int]:
        other = self.simulation.other(machine).name
        epoch = self._fresh_epoch()
        if self.alone == other:
            return IncidentAnswer.DENY, epoch
        if self.alone is None and self._prefers_promotion(other):
            self._promise(other, epoch)
            return IncidentAnswer.DENY, epoch
        self.alone = machine.name
        return IncidentAnswer.CONTINUE, epoch

    def _prefers_promotion(self, other: str) -> bool:
        sight = self.seen.get(other)
        if sight is None or self.world.now_s - sight.at_s > 5.0 or not sight.is_promotable:
            return False
        if self.prefers is not None:
            return self.prefers is IncidentAnswer.DENY
        return self.world.chance(0.5)

    def _send(self, daemon: Daemon, asked: Incident) -> None:
        arbitration, volume = daemon.engine.arbitration, self.simulation.volume
        kind = self.simulation.faults.at_answer(daemon)
        if kind == "answer delayed":
            self.world.sleep(self.world.rng.choice((1.0, 20.0, 200.0)))
        if kind == "answer forged":
            self._forge(daemon, asked)
        try:
            first = arbitration.answer(volume, asked, COORDINATOR)
            if kind == "answer repeated":
                again = arbitration.answer(volume, asked, COORDINATOR)
                same = (again.answer, again.epoch) == (first.answer, first.epoch)
                self.simulation.checks.expect("I8", same, f"{asked} was answered with {again}")
        except AgentError as exc:
            self.world.log("COORD", f"not taken by {daemon.machine.name}: {exc.code}")

    def _forge(self, daemon: Daemon, asked: Incident) -> None:
        """I7: another nonce, another boot, an epoch that was used: refused, nothing changed."""
        machine = daemon.machine
        before = machine.answered
        forged = self.world.rng.choice(
            (
                dataclasses.replace(asked, incident="nonce-0", answer=IncidentAnswer.CONTINUE),
                dataclasses.replace(asked, boot_id="boot-0", answer=IncidentAnswer.CONTINUE),
                dataclasses.replace(asked, epoch=0, answer=IncidentAnswer.CONTINUE),
            )
        )
        try:
            daemon.engine.arbitration.answer(self.simulation.volume, forged, COORDINATOR)
            taken = True
        except Refused:
            taken = False
        except AgentError:
            return
        # Another call may have brought the true answer meanwhile.
        unchanged = not taken and machine.answered in (before, asked)
        self.simulation.checks.expect("I7", unchanged, f"{machine.name} took {forged}")

    # --- promotions -----------------------------------------------------------------------------

    def _promise(self, host: str, epoch: int) -> None:
        self._numbers += 1
        self.alone = host
        self.granted = Word(host=host, epoch=epoch, operation_id=f"granted-{self._numbers}")

    def _is_granted(self, machine: Machine) -> bool:
        return self.granted is not None and self.granted.host == machine.name

    def _may_fail_over(self, machine: Machine) -> bool:
        """The other host is silent for long, and this one could take over."""
        if self.granted is not None or self.alone not in (None, machine.name):
            return False
        other = self.simulation.other(machine)
        silent = self.seen.get(other.name)
        silent_s = self.world.now_s - (silent.at_s if silent else self._begun_s)
        if self._reach(other) is not None or silent_s < SILENT_S:
            return False
        if not self.seen[machine.name].is_promotable:
            return False
        self._promise(machine.name, self._fresh_epoch())
        return True

    def _grant(self, daemon: Daemon) -> None:
        word = self.granted
        assert word is not None
        course = self.simulation.courses.get(word.operation_id)
        if course is not None and course.record is None and course.error is None:
            return
        self.world.log("COORD", f"grants {word.operation_id} to {word.host}, epoch {word.epoch}")
        try:
            daemon.engine.arbitration.grant(
                self.simulation.volume, word.epoch, word.operation_id, COORDINATOR
            )
        except Refused:
            # Something newer has happened there, and epochs only grow: it can never be used.
            self.granted = None
            return
        except AgentError:
            return
        request = OperationRequest(
            kind=OperationKind.PROMOTE,
            volume="data",
            operation_id=word.operation_id,
            epoch=word.epoch,
            coordinator=COORDINATOR,
            origin="coordinator",
        )
        course = daemon.ask(request)
        course.error = None
