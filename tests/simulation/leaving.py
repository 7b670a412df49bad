"""Scenes of going on alone and coming back."""

from __future__ import annotations

from storage_agent.model.configuration import Arbitration
from storage_agent.model.replica import Role
from tests.simulation.ending import finish
from tests.simulation.faults import POINT_KINDS
from tests.simulation.schedule import Simulation
from tests.simulation.situation import (
    DEMOTE,
    PROMOTE,
    REJOIN,
    STANDALONE,
    cut,
    done,
    must,
    pair,
    steps,
    strike_at,
)
from tests.simulation.states import STANDALONE as ALONE


def standalone_and_dead(seed: int) -> Simulation:
    """alpha goes on alone and dies: beta, outdated in order, must not serve what it has."""
    simulation = pair(seed, "alpha")
    alpha, beta = simulation.machines["alpha"], simulation.machines["beta"]
    must(simulation, done(simulation, "alpha", STANDALONE, "alone"))
    steps(simulation, 80)
    alpha.power_off()
    done(simulation, "beta", PROMOTE, "stale", peer_is_off="alpha")
    simulation.boot(alpha)
    simulation.wait_for(lambda: beta.node.s.conn != ALONE and simulation.in_sync())
    must(simulation, done(simulation, "beta", PROMOTE, "good"))
    finish(simulation)
    return simulation


def standalone_unreached(seed: int) -> Simulation:
    """The link is cut first, so beta is not told; then it comes back and is caught up."""
    simulation = pair(seed, "alpha")
    cut(simulation)
    must(simulation, done(simulation, "alpha", STANDALONE, "alone"))
    steps(simulation, 80)
    for host in simulation.link.is_cut:
        simulation.link.is_cut[host] = False
    _back_and_over(simulation)
    return simulation


def standalone_by_word(seed: int) -> Simulation:
    """beta stands still and cannot be told; the coordinator's `continue` marks it as outdated on
    alpha, and nowhere else. Refused where alpha freezes first."""
    simulation = pair(seed, "alpha", Arbitration.COORDINATOR)
    simulation.control.is_on = True
    simulation.world.frozen_hosts["beta"] = simulation.world.now_s + 600.0
    done(simulation, "alpha", STANDALONE, "alone")
    return simulation


def standalone_resumed(seed: int) -> Simulation:
    """beta is off and a person has said so: alpha shows it as outdated. The daemon is killed while
    it leaves, and tells after its next start what it has done."""
    simulation = pair(seed, None)
    alpha, beta = simulation.machines["alpha"], simulation.machines["beta"]
    beta.power_off()
    simulation.wait_for(lambda: not alpha.node.session)
    must(simulation, done(simulation, "alpha", PROMOTE, "over", peer_is_off="beta"))
    strike_at(simulation, "alpha", "perform disconnect", POINT_KINDS[0])
    must(simulation, done(simulation, "alpha", STANDALONE, "alone"))
    return simulation


def standalone_wrong(seed: int) -> Simulation:
    """Asked on the host that does not serve."""
    simulation = pair(seed, "alpha")
    done(simulation, "beta", STANDALONE, "wrong")
    return simulation


def there_and_back(seed: int) -> Simulation:
    """Alone, together again, and then the other side serves: with everything that was written."""
    simulation = pair(seed, "alpha")
    course = done(simulation, "alpha", STANDALONE, "alone")
    must(simulation, course)
    alone = simulation.machines["alpha"].node.s.conn == ALONE
    simulation.checks.expect("I17", alone, "standalone has succeeded and is still connected")
    steps(simulation, 80)
    _back_and_over(simulation)
    return simulation


def _back_and_over(simulation: Simulation) -> None:
    must(simulation, done(simulation, "alpha", REJOIN, "back"))
    simulation.client.is_resting = True
    simulation.wait_for(simulation.in_sync)
    must(simulation, done(simulation, "alpha", DEMOTE, "down"))
    beta = simulation.machines["beta"].node
    simulation.wait_for(lambda: beta.s.peer is Role.SECONDARY)
    must(simulation, done(simulation, "beta", PROMOTE, "over"))
    simulation.client.is_resting = False
    steps(simulation, 60)
    finish(simulation)
