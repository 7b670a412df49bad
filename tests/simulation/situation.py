"""A quiet pair, and people who ask it for something: what the scenes are made of."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable

from storage_agent.model.configuration import Arbitration
from storage_agent.model.errors import Refused
from storage_agent.model.operation import SHUTDOWN_ORIGIN, OperationRequest, OperationState
from storage_agent.model.plan import OperationKind
from tests.simulation.control import COORDINATOR, KEY
from tests.simulation.daemon import Course, Daemon
from tests.simulation.machine import Machine
from tests.simulation.schedule import Simulation, volume_config

Scene = Callable[[int], Simulation]
PROMOTE, DEMOTE, ASSEMBLE = OperationKind.PROMOTE, OperationKind.DEMOTE, OperationKind.ASSEMBLE
STANDALONE, REJOIN = OperationKind.STANDALONE, OperationKind.REJOIN


def pair(
    seed: int,
    primary: str | None,
    arbitration: Arbitration = Arbitration.NONE,
    never_told: tuple[str, ...] = (),
) -> Simulation:
    """At rest, without any fault of its own. never_told: hosts whose kernel does not freeze, though
    a coordinator is configured."""
    simulation = Simulation(seed, quiet=True)
    simulation.has_coordinator = arbitration is Arbitration.COORDINATOR
    simulation.volume = volume_config(arbitration)
    for machine in simulation.machines.values():
        machine.node.stonith = simulation.has_coordinator
    simulation.faults.enabled = False
    simulation.control.is_on = False
    simulation.begin(primary)
    steps(simulation, 60)
    for name in never_told:
        _never_told(simulation, simulation.machines[name])
    return simulation


def _never_told(simulation: Simulation, machine: Machine) -> None:
    """Brought up before the configuration was changed; its agent was started anew since."""
    machine.node.stonith = False
    states = simulation.control.record.states
    known = tuple(name for name in states[KEY].guarded if name != machine.name)
    states[KEY] = dataclasses.replace(states[KEY], guarded=known)
    assert machine.daemon is not None
    machine.daemon.sight = None


def steps(simulation: Simulation, count: int) -> None:
    for _ in range(count):
        simulation.step()


def ask(
    simulation: Simulation, host: str, kind: OperationKind, number: str, **more: object
) -> Course:
    machine = simulation.machines[host]
    simulation.wait_for(lambda: machine.daemon is not None and machine.daemon.started)
    assert machine.daemon is not None
    named = {"coordinator": COORDINATOR} if "epoch" in more else {}
    asked = {"origin": "simulation"} | named | more
    request = OperationRequest(kind=kind, volume="data", operation_id=number, **asked)  # type: ignore[arg-type]
    return machine.daemon.ask(request)


def going_down(host: str) -> dict[str, str]:
    """Of a demote that the host's own shutdown asks for, whoever can take over."""
    return {"stop_serving": f"{host}/data", "origin": SHUTDOWN_ORIGIN}


def done(
    simulation: Simulation, host: str, kind: OperationKind, number: str, **more: object
) -> Course:
    course = ask(simulation, host, kind, number, **more)
    wait(simulation, course)
    return course


def wait(simulation: Simulation, course: Course) -> None:
    simulation.wait_for(lambda: course.record is not None or course.error is not None)


def must(simulation: Simulation, course: Course) -> None:
    """I26: in this situation a correct request works."""
    record = course.record
    fine = record is not None and record.state is OperationState.SUCCEEDED
    shown = record.message if record else str(course.error)
    simulation.checks.expect("I26", fine, f"{course.request.kind} must work: {shown}")


def cut(simulation: Simulation) -> None:
    for host in simulation.link.is_cut:
        simulation.link.is_cut[host] = True
    nodes = [m.node for m in simulation.machines.values()]
    simulation.wait_for(lambda: not any(n.session for n in nodes))


def strike_at(simulation: Simulation, host: str, point: str, how: str) -> None:
    """At the next call of this port on this host, once. how: of faults.POINT_KINDS."""

    def strike(daemon: Daemon, name: str, before: bool) -> str:
        if daemon.machine.name != host or name != point:
            return ""
        simulation.faults.crash_at = lambda d, n, b: ""
        return how

    simulation.faults.crash_at = strike


def grant(
    simulation: Simulation,
    machine: Machine,
    epoch: int,
    operation_id: str,
    coordinator: str = COORDINATOR,
) -> None:
    """As the method grant.promote does it; a refusal changes nothing."""
    daemon = machine.daemon
    assert daemon is not None
    arbitration, volume = daemon.engine.arbitration, simulation.volume

    def tell() -> None:
        with contextlib.suppress(Refused):
            arbitration.grant(volume, epoch, operation_id, coordinator)

    task = daemon._spawn("grant", tell)
    simulation.wait_for(lambda: task.done)
