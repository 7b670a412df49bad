"""The end of a schedule: all faults heal, a correct admin asks, and what was begun has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from storage_agent.engine.journal import Journal
from storage_agent.model.errors import OperationFailed
from storage_agent.model.incident import IncidentAnswer
from storage_agent.model.nfs import ServerState
from storage_agent.model.operation import OperationRequest, OperationState
from storage_agent.model.plan import OperationKind
from storage_agent.model.replica import DiskState, Role
from tests.simulation.daemon import Course
from tests.simulation.handler import incident
from tests.simulation.machine import HOSTS, Machine
from tests.simulation.states import GONE

if TYPE_CHECKING:
    from tests.simulation.schedule import Simulation


def repair(simulation: Simulation) -> None:
    """No more faults: power, links, disks and the coordinator are back. Nobody has typed anything
    yet."""
    simulation.world.log("HEAL", "power, link and disks are back")
    simulation.faults.enabled = False
    simulation.world.frozen_hosts.clear()
    simulation.differing = {}
    for host in simulation.link.is_cut:
        simulation.link.is_cut[host] = False
    for control in simulation.controls:
        control.down_until_s = 0.0
        control.cut.clear()
    for machine in simulation.machines.values():
        machine.repair_array()
        machine.busy_until_s = machine.state_fails_until_s = 0.0
        if not machine.powered:
            simulation.boot(machine)
        elif machine.daemon is None:
            simulation.restart_later(machine)
    settle(simulation)


def heal(simulation: Simulation) -> None:
    """Everything works again, and a person brings up what was taken down."""
    repair(simulation)
    _reboot_denied(simulation)
    for machine in simulation.machines.values():
        if machine.node.up or machine.running is not None:
            machine.assemble()
            if not machine.node.split_brain:
                machine.kernel("admin adjust", machine.adjust)
    settle(simulation)


def _reboot_denied(simulation: Simulation) -> None:
    """What status says is to be done there (INCIDENT_DENIED)."""
    for machine in simulation.machines.values():
        found = incident(machine)
        denied = found is not None and found.answer is IncidentAnswer.DENY
        if denied and machine.node.s.susp:
            machine.power_off()
            simulation.boot(machine)
    settle(simulation)


def settle(simulation: Simulation) -> None:
    """Until nothing moves any more. The client rests from here on."""
    simulation.client.is_resting = True
    simulation.wait_for(simulation.is_quiet)


def promote(simulation: Simulation) -> None:
    """I26: a correct admin gets a serving host, or is told what is missing."""
    for host in HOSTS:
        if not _serving(simulation):
            ask_and_wait(
                simulation, simulation.machines[host], OperationKind.PROMOTE, f"last-{host}"
            )
    _liveness(simulation)
    for machine in _serving(simulation):
        # A host that a coordinator's silence or denial has frozen keeps its clients out.
        is_used = machine.server is ServerState.SERVING or not simulation.has_coordinator
        if is_used and not machine.node.s.susp and not simulation.is_lying:
            simulation.checks.content(machine, f"at the end on {machine.name}")
    if simulation.in_sync():
        simulation.checks.same_data()


def _serving(simulation: Simulation) -> list[Machine]:
    return [m for m in simulation.machines.values() if m.node.s.role is Role.PRIMARY]


def ask_and_wait(
    simulation: Simulation, machine: Machine, kind: OperationKind, operation_id: str
) -> Course | None:
    """None where no daemon is there to be asked."""
    if machine.daemon is None or not machine.daemon.started:
        return None
    request = OperationRequest(kind=kind, volume="data", operation_id=operation_id, origin="end")
    course = machine.daemon.ask(request)
    simulation.wait_for(lambda: course.record is not None or course.error is not None)
    settle(simulation)
    return course


def _liveness(simulation: Simulation) -> None:
    checks = simulation.checks
    asked = [c for c in simulation.courses.values() if c.request.origin == "end"]
    is_served = bool(_serving(simulation)) or not asked
    for course in asked:
        record = course.record
        named = record is not None and (
            record.state is OperationState.REFUSED
            and all(f.remedy for f in record.findings)
            and bool(record.findings)
        )
        shown = record.message if record else str(course.error)
        checks.expect("I26", is_served or named, f"nobody serves, {course.host}: {shown}")
    shown = "; ".join(c.record.message for c in asked if c.record)
    could = any(_is_good(machine) for machine in simulation.machines.values())
    checks.expect("I26", is_served or not could, f"there is a good copy, nobody serves: {shown}")


def _is_good(machine: Machine) -> bool:
    """Current for certain: beside the other one's disk, as good or known to be worse. Beside a peer
    without its disk nothing is certain: what that disk holds may be newer."""
    s = machine.node.s
    return s.with_peer() and s.disk is DiskState.UP_TO_DATE and s.pdsk not in GONE


def finish(simulation: Simulation) -> None:
    """I14, I16, I17: everything has ended, and nothing holds the volume."""
    checks = simulation.checks
    for course in simulation.courses.values():
        name = course.request.operation_id
        ended = course.record is not None or course.error is not None
        checks.expect("I14", ended or _is_lost(simulation, course), f"{name} never ended")
    for machine in simulation.machines.values():
        if machine.daemon is None:
            continue
        checks.expect(
            "I17", not (bad := _unreadable(simulation, machine)), f"{machine.name}: {bad} damaged"
        )
        left = machine.daemon.engine.running()
        checks.expect("I16", not left, f"{machine.name}: {left} still holds the volume")
        checks.expect("I16", machine.grant is None, f"{machine.name}: a grant is left")
        machine.daemon.engine.record_ends()
        unfinished = machine.daemon.engine.resume()
        aside = _intact(simulation, machine, machine.daemon.store.names("damaged-"))
        checks.expect("I17", not aside, f"{machine.name}: {aside} set aside")
        checks.expect("I17", not unfinished, f"{machine.name}: {unfinished} unfinished")


def _intact(simulation: Simulation, machine: Machine, names: tuple[str, ...]) -> list[str]:
    """Without those that a fault has harmed."""
    return [n for n in names if (machine.name, n.partition("-")[2]) not in simulation.harmed]


def _unreadable(simulation: Simulation, machine: Machine) -> list[str]:
    """Journals of which a whole line is no record."""
    assert machine.daemon is not None
    journal = Journal(machine.daemon.store, machine.name)
    found = []
    for name in _intact(simulation, machine, machine.daemon.store.names("operation-")):
        try:
            journal.read(name.removeprefix("operation-"))
        except OperationFailed:
            found.append(name)
    return found


def _is_lost(simulation: Simulation, course: Course) -> bool:
    """Killed before it was accepted, or after its end was on disk."""
    name = f"operation-{course.request.operation_id}"
    content = simulation.machines[course.host].files.get(name)
    return content is None or b"\n" not in content or b'"ended"' in content
