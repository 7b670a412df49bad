"""Scenes of a coordinator's answer that comes forged, or twice."""

from __future__ import annotations

from tests.simulation.arbitrated import end, looked, lost, serves
from tests.simulation.daemon import Daemon
from tests.simulation.schedule import Simulation


def forged(seed: int) -> Simulation:
    """alpha is frozen. An answer to another incident, of another boot or in no new epoch comes
    before the true one."""
    return _answered(seed, "answer forged")


def answered_twice(seed: int) -> Simulation:
    """alpha is frozen, and the network brings the coordinator's answer a second time."""
    return _answered(seed, "answer repeated")


def _answered(seed: int, fault: str) -> Simulation:
    simulation = lost(seed)

    def strike(daemon: Daemon, method: str) -> str:
        return fault if method == "incident.answer" else ""

    simulation.faults.at_request = strike  # type: ignore[method-assign]
    alpha = simulation.machines["alpha"]
    looked(simulation, alpha)
    serves(simulation, alpha)
    return end(simulation)
