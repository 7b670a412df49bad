"""Scenes of the coordinator's own memory: who may have written alone, and what it has forgotten."""

from __future__ import annotations

from storage_agent.coordinator.coordinator import INCIDENT_BURST, INCIDENT_EVERY_S
from storage_agent.coordinator.deciding.epochs import JUMP_LIMIT
from tests.simulation.arbitrated import looked, lost, paired, serves, typed
from tests.simulation.control import KEY
from tests.simulation.handler import Asked
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


def lying_epoch(seed: int) -> Simulation:
    """beta shows an epoch that nobody can have reached, whatever is typed; then it is sound again
    and takes over."""
    simulation = paired(seed)
    simulation.control.is_on = False
    beta, record = simulation.machines["beta"], simulation.control.record
    before = record.states[KEY].epoch
    beta.lied_epoch = 1 << 52
    looked(simulation, beta)
    for command in ("adopt", "switchover", "failover"):
        typed(simulation, command, "beta")
    after = record.states[KEY].epoch
    simulation.checks.expect("I6", after <= before + JUMP_LIMIT, f"the record took epoch {after}")
    beta.lied_epoch = 0
    looked(simulation, beta)
    typed(simulation, "switchover", "beta")
    simulation.checks.expect("I26", serves(simulation, beta), "beta is sound and cannot take over")
    return simulation


def flooding_host(seed: int) -> Simulation:
    """A frozen host opens one incident after the other, and each wants an epoch of its own."""
    simulation = lost(seed)
    alpha, record = simulation.machines["alpha"], simulation.control.record
    before, begun_s = record.states[KEY].epoch, simulation.world.now_s
    for number in range(50):
        alpha.asked = Asked(f"flood-{number}", alpha.boot_id, int(alpha.wall_s()))
        alpha.news()
        looked(simulation, alpha)
    took_s = simulation.world.now_s - begun_s
    used = record.states[KEY].epoch - before
    fair = INCIDENT_BURST + took_s / INCIDENT_EVERY_S + 1
    simulation.checks.expect("I6", used <= fair, f"{used} epochs in {took_s:.0f} s")
    return simulation
