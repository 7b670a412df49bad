"""The daemon killed, and the host's power cut, before and after each record and each step of one
operation; then healed. Every point must end in a state that can be named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

from storage_agent.model.configuration import Arbitration
from storage_agent.model.operation import OperationRequest, OperationState
from storage_agent.model.plan import OperationKind
from storage_agent.model.replica import Role
from tests.simulation.checkers import Violation
from tests.simulation.control import COORDINATOR
from tests.simulation.daemon import Daemon
from tests.simulation.ending import ask_and_wait, finish, heal
from tests.simulation.faults import POINT_KINDS
from tests.simulation.machine import Machine, is_whole
from tests.simulation.schedule import Simulation
from tests.simulation.situation import grant, pair

KINDS = (
    OperationKind.PROMOTE,
    OperationKind.DEMOTE,
    OperationKind.ASSEMBLE,
    OperationKind.STANDALONE,
    OperationKind.REJOIN,
)
EPOCH = 9
# Those that begin or end with the volume served.
_FROM_SERVING = (OperationKind.DEMOTE, OperationKind.STANDALONE, OperationKind.REJOIN)
_TO_SERVING = (OperationKind.PROMOTE, OperationKind.STANDALONE, OperationKind.REJOIN)
LIMIT = 400


@dataclass(frozen=True, slots=True)
class Walk:
    """What is done on alpha. is_failover: a promote, beta having been shot while it served."""

    kind: OperationKind
    arbitration: Arbitration
    is_failover: bool = False

    def __str__(self) -> str:
        name = "failover" if self.is_failover else self.kind.value
        return f"{name} ({self.arbitration})"


WALKS = tuple(
    walk
    for arbitration in Arbitration
    for walk in (
        *(Walk(kind, arbitration) for kind in KINDS),
        Walk(OperationKind.PROMOTE, arbitration, is_failover=True),
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Crash:
    """point: number of the port call.  at: its name.  ended: the operation's state, `gone` where
    it was not yet accepted.  state: of the volume on this host afterwards."""

    walk: Walk
    how: str
    point: int
    at: str
    ended: str
    state: str
    violations: tuple[Violation, ...]


def crashes(walk: Walk, how: str, seed: int = 1) -> Iterator[Crash]:
    """Every point of the operation, until one lies behind its end."""
    for point in range(1, LIMIT):
        found = crash_at(walk, how, point, seed)
        if found is None:
            return
        yield found[1]


def crash_at(walk: Walk, how: str, point: int, seed: int) -> tuple[Simulation, Crash] | None:
    """None where the operation has ended before."""
    simulation = _begun(walk, seed)
    machine = _prepare(simulation, walk)
    assert machine.daemon is not None
    count, at = 0, ""

    def strike(daemon: Daemon, name: str, before: bool) -> str:
        nonlocal count, at
        if daemon.machine is not machine or not _of_operation(daemon):
            return ""
        count += 1
        if count != point:
            return ""
        at = f"{'before' if before else 'after'} {name}"
        return how

    simulation.faults.crash_at = strike
    course = machine.daemon.ask(_request(walk))
    simulation.wait_for(lambda: course.record is not None or bool(at))
    if not at:
        return None
    simulation.faults.crash_at = lambda daemon, name, before: ""
    heal(simulation)
    finish(simulation)
    state_after = _state(machine)
    ended = course.record.state.value if course.record else _recorded(machine)
    _check_named(simulation, machine, walk.kind, how, ended)
    if ended != "gone" or walk.kind is not OperationKind.ASSEMBLE:
        _check_next(simulation, machine)
    return simulation, Crash(
        walk=walk,
        how=how,
        point=point,
        at=at,
        ended=ended,
        state=state_after,
        violations=tuple(simulation.checks.violations),
    )


def _of_operation(daemon: Daemon) -> bool:
    task = daemon.world.current
    return task is not None and task.name.endswith(" op")


def _request(walk: Walk) -> OperationRequest:
    request = OperationRequest(kind=walk.kind, volume="data", operation_id="op", origin="crash")
    if not walk.is_failover:
        return request
    if walk.arbitration is Arbitration.NONE:
        return replace(request, peer_is_off="beta")
    return replace(request, epoch=EPOCH, coordinator=COORDINATOR)


def _begun(walk: Walk, seed: int) -> Simulation:
    primary = "alpha" if walk.kind in _FROM_SERVING else None
    return pair(seed, "beta" if walk.is_failover else primary, walk.arbitration)


def _prepare(simulation: Simulation, walk: Walk) -> Machine:
    """A pair at rest: for demote alpha serves, for rejoin alone; for assemble alpha has just lost
    its array; for a failover its peer, and it may take over."""
    kind, machine = walk.kind, simulation.machines["alpha"]
    simulation.client.is_resting = True
    simulation.wait_for(simulation.is_quiet)
    if walk.is_failover:
        simulation.machines["beta"].power_off()
        simulation.wait_for(lambda: not machine.node.session)
        if walk.arbitration is Arbitration.COORDINATOR:
            grant(simulation, machine, EPOCH, "op")
    if kind is OperationKind.REJOIN:
        node = machine.node
        task = machine.kernel("disconnect", lambda: node.link.disconnect(node))
        simulation.wait_for(lambda: task.done)
    if kind is OperationKind.ASSEMBLE:
        task = machine.kernel("down", machine.down)
        simulation.wait_for(lambda: task.done)
        machine.running = None
    return machine


def _recorded(machine: Machine) -> str:
    content = machine.files.get("operation-op", b"")
    if b"\n" not in content:
        return "gone"
    return "ended" if b'"ended"' in content else "unfinished"


def _state(machine: Machine) -> str:
    node = machine.node
    if not node.up:
        return "down"
    role = "primary" if node.s.role is Role.PRIMARY else "secondary"
    if role == "primary" and is_whole(machine):
        return "serving"
    return role if is_whole(machine) else f"{role}, in between"


def _check_named(
    simulation: Simulation, machine: Machine, kind: OperationKind, how: str, ended: str
) -> None:
    """I17: resumed to an end, serving or secondary, without a hand."""
    checks, state = simulation.checks, _state(machine)
    checks.expect("I17", ended != "unfinished", f"the operation is left {ended}")
    checks.expect("I10", "between" not in state, f"after the restart it is {state}")
    if how == POINT_KINDS[0] and ended == OperationState.SUCCEEDED:
        wanted = "serving" if kind in _TO_SERVING else "secondary"
        checks.expect("I17", state == wanted, f"{kind} succeeded and it is {state}")


def _check_next(simulation: Simulation, machine: Machine) -> None:
    """I26: the next operation works, there and back again."""
    primary = machine.node.s.role is Role.PRIMARY
    both = (OperationKind.DEMOTE, OperationKind.PROMOTE)
    for kind in both if primary else (OperationKind.PROMOTE, OperationKind.DEMOTE):
        if kind is OperationKind.PROMOTE and _someone_serves(simulation):
            continue
        course = ask_and_wait(simulation, machine, kind, f"next-{kind}")
        record = course.record if course else None
        fine = record is not None and record.state is OperationState.SUCCEEDED
        shown = record.message if record else "no answer"
        simulation.checks.expect("I26", fine, f"the next {kind}: {shown}")


def _someone_serves(simulation: Simulation) -> bool:
    return any(m.node.s.role is Role.PRIMARY for m in simulation.machines.values())


def all_crashes(seed: int = 1) -> list[Crash]:
    return [crash for walk in WALKS for how in POINT_KINDS for crash in crashes(walk, how, seed)]


def render(found: list[Crash]) -> str:
    """One line for each operation, way and place of the crash."""
    rows = Counter((c.walk, c.how, c.at, f"{c.ended} -> {c.state}") for c in found)
    order = list(dict.fromkeys((c.walk, c.how, c.at, f"{c.ended} -> {c.state}") for c in found))
    lines = [f"{'operation':<24} {'how':<25} {'point':<34} n  the operation -> the volume"]
    lines += [
        f"{op!s:<24} {how:<25} {at:<34} {rows[op, how, at, out]:<2} {out}"
        for op, how, at, out in order
    ]
    return "\n".join(lines)


def show_crash_points() -> int:
    found = all_crashes()
    print(render(found))
    broken = [(c, v) for c in found for v in c.violations]
    print("\n".join(f"VIOLATION {c.walk} {c.how} {c.at}: {v}" for c, v in broken))
    print(f"{len(found)} crash points, {len(broken)} violations")
    return 1 if broken else 0
