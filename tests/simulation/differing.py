"""Two hosts that are configured differently, and what each finds when it asks the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from storage_agent.host.pair.exchange import TIMEOUT_S
from storage_agent.model.agreement import Agreement, Silence
from storage_agent.model.finding import blockers
from storage_agent.model.operation import OperationRequest
from storage_agent.model.plan import OperationKind
from tests.simulation.machine import Machine

if TYPE_CHECKING:
    from tests.simulation.schedule import Simulation

DIFFERING_WEIGHTS = {"configured apart": 2, "configured alike": 2}
OTHER_ADDRESS = {"volumes.data.nfs.address": ('"10.9.0.10/24"', '"10.9.0.77/24"')}


def agreement(simulation: Simulation, machine: Machine) -> Agreement | None:
    """As host/pair/compare.py: of the other host's daemon, over the link; silence takes time."""
    if not simulation.has_secret:
        return None
    world, other = simulation.world, simulation.other(machine)
    is_reached = simulation.link.whole() and other.powered and not world.is_frozen(other.name)
    if not is_reached:
        world.sleep(TIMEOUT_S)
        return Agreement(has_secret=True, silence=Silence.UNREACHABLE)
    if other.daemon is None:
        return Agreement(has_secret=True, silence=Silence.REFUSED)
    found = blockers(other.daemon.engine.obstacles(simulation.volume))
    refusal = found[0].summary if found else ""
    return Agreement(has_secret=True, differing=dict(simulation.differing), refusal=refusal)


def is_meant(request: OperationRequest, host: str) -> bool:
    """Nobody has to take over, by a person's word or because the host goes down."""
    is_move = request.kind is OperationKind.DEMOTE and request.stop_serving != f"{host}/data"
    return not is_move


class DifferingFaults:
    """While nothing is under way: an operation goes by what it found when it was decided."""

    simulation: Simulation

    def _configured_apart(self, machine: Machine) -> bool:
        return self._configure(OTHER_ADDRESS)

    def _configured_alike(self, machine: Machine) -> bool:
        return self._configure({})

    def _configure(self, differing: dict[str, tuple[str, str]]) -> bool:
        simulation = self.simulation
        daemons = [machine.daemon for machine in simulation.machines.values()]
        if any(daemon is None or daemon.active for daemon in daemons):
            return False
        is_new = simulation.has_secret and simulation.differing != differing
        if is_new:
            simulation.differing = differing
        return is_new
