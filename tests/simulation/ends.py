"""Scenes of how things end: an operation that hangs or was killed, and what a correct admin meets
when all is over."""

from __future__ import annotations

from collections.abc import Iterator

from storage_agent.model.configuration import Arbitration
from storage_agent.model.plan import StepKind
from tests.simulation.crash_points import Walk, crash_at
from tests.simulation.daemon import Daemon
from tests.simulation.ending import finish, promote
from tests.simulation.faults import POINT_KINDS
from tests.simulation.schedule import Simulation
from tests.simulation.situation import DEMOTE, PROMOTE, done, pair

# Of a promote: when its plan is on disk, and in the middle of its steps.
_POINTS = (8, 24)


def hanging_step(seed: int) -> Simulation:
    """The command that starts the server does not end: it is given up at its deadline."""
    simulation = pair(seed, None)

    def hang(daemon: Daemon, asked: StepKind) -> str:
        return "hangs" if asked is StepKind.START_SERVER else ""

    simulation.faults.at_step = hang  # type: ignore[method-assign, assignment]
    done(simulation, "alpha", PROMOTE, "op")
    finish(simulation)
    return simulation


def crashed(seed: int) -> Iterator[Simulation]:
    """A few of the crash points that test_crash_points.py walks without a gap."""
    for kind in (PROMOTE, DEMOTE):
        for point in _POINTS:
            found = crash_at(Walk(kind, Arbitration.COORDINATOR), POINT_KINDS[0], point, seed)
            assert found is not None
            yield found[0]


def at_rest(seed: int) -> Simulation:
    """Both copies are in sync and nobody serves: a correct admin gets a serving host."""
    simulation = pair(seed, None)
    promote(simulation)
    return simulation


def one_left(seed: int) -> Simulation:
    """alpha is off and nobody says so: the admin is told what to do."""
    simulation = pair(seed, "alpha")
    simulation.machines["alpha"].power_off()
    beta = simulation.machines["beta"]
    simulation.wait_for(lambda: not beta.node.session)
    promote(simulation)
    return simulation
