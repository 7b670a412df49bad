"""Scenes of the coordinator's own memory: who may have written alone, and what it has forgotten."""

from __future__ import annotations

from tests.simulation.arbitrated import looked, lost, serves, typed
from tests.simulation.schedule import Simulation
from tests.simulation.situation import steps


def _alone(seed: int) -> Simulation:
    """The link is cut; alpha was told to go on, and acknowledges what beta does not get."""
    simulation = lost(seed)
    alpha = simulation.machines["alpha"]
    looked(simulation, alpha)
    serves(simulation, alpha)
    steps(simulation, 100)
    return simulation


def sole_dies(seed: int) -> Simulation:
    """alpha dies, and a person wants beta to take over."""
    simulation = _alone(seed)
    simulation.machines["alpha"].power_off()
    typed(simulation, "failover", "beta")
    return simulation


def record_restored(seed: int) -> Simulation:
    """The same, and the record is put back from before alpha was told."""
    simulation = _alone(seed)
    control = simulation.control
    control.was_restored = True
    control.record.restore(0, with_run=False)
    control.kill()
    simulation.machines["alpha"].power_off()
    control.begin(automatic=False)
    typed(simulation, "failover", "beta")
    return simulation


def old_sight(seed: int) -> Simulation:
    """The same, and alpha's agent still shows what it saw before the link was cut."""
    simulation = lost(seed)
    alpha = simulation.machines["alpha"]
    assert alpha.daemon is not None
    before = alpha.daemon.sight
    looked(simulation, alpha)
    serves(simulation, alpha)
    alpha.daemon.sight, alpha.daemon.shows_old = before, 1.0
    for _ in range(3):
        looked(simulation, alpha)
    steps(simulation, 100)
    alpha.power_off()
    typed(simulation, "failover", "beta")
    return simulation
