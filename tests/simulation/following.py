"""A tired admin: looks at both hosts, and types what is advised there, word by word, until the
volume is served and both copies are in sync, or nothing is left that was not tried.

Whoever gives advice that leads in a circle is caught here: what is typed must make something
better, or the next advice must be another.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import takewhile

from storage_agent.model.finding import Finding, Severity
from storage_agent.model.nfs import ServerState
from storage_agent.model.operation import OperationRequest
from storage_agent.model.plan import OperationKind
from storage_agent.model.replica import DiskState, Role
from storage_agent.model.snapshot import JUDGED_FACETS
from storage_agent.policy.readiness import assess
from tests.simulation.ending import repair, settle
from tests.simulation.machine import Machine
from tests.simulation.schedule import Simulation
from tests.simulation.states import State

ADVICE = re.compile(
    r"(?:on (?P<at>alpha|beta): |(?P<there>there: ))?"
    r"(?:(?P<program>storage-agent|storage-coordinator) (?P<verb>[a-z-]+)(?P<words>(?: [\w/-]+)*)"
    r"|power (?P<off>alpha|beta) off|bring (?P<on>alpha|beta) back|(?P<reboot>reboot\b))"
    r"|(?P<wait>\bwait\b)"
)
NAMED = re.compile(r"\b(alpha|beta)\b")
# What changes nothing.
LOOKS = frozenset({"status", "events", "doctor", "explain", "operation", "config", "ping"})
KINDS = {
    kind.value: kind
    for kind in (
        OperationKind.ASSEMBLE,
        OperationKind.DEMOTE,
        OperationKind.PROMOTE,
        OperationKind.REJOIN,
        OperationKind.STANDALONE,
    )
}
# With `storage-coordinator`; see control.COMMANDS.
FLEET = frozenset({"adopt", "failover", "switchover", "trust-record"})
# Which copy is to be given up is a person's to say, and no advice's.
A_PERSONS = frozenset({"SPLIT_BRAIN"})
WELL, PERSONS, CIRCLE = "served and in sync", "a person has to choose", "a circle"
WAIT_S = 60.0
WANTED = Finding(
    severity=Severity.NOTE, code="nothing", summary="", measured="", limit="", remedy=""
)
MOST_TURNS = 30


@dataclass(frozen=True, slots=True)
class Act:
    """words: after the verb. host: where; empty for the coordinator's machine, and for a wait."""

    host: str
    verb: str
    words: tuple[str, ...] = ()

    def __str__(self) -> str:
        return " ".join(part for part in (self.host, self.verb, *self.words) if part)


def acts(finding: Finding, host: str) -> Iterator[Act]:
    """What the finding, shown on this host, says is to be typed, in its order."""
    # Both hosts have a copy here.
    text = finding.remedy.partition("; where it has never had a copy")[0]
    for found in ADVICE.finditer(text):
        named = NAMED.findall(text[: found.start()])
        at = found["at"] or (named[-1] if found["there"] and named else host)
        if found["wait"]:
            yield Act("", "wait")
        elif found["off"]:
            yield Act(found["off"], "power-off")
        elif found["on"]:
            yield Act(found["on"], "power-on")
        elif found["reboot"]:
            yield Act(at, "reboot")
        elif found["verb"] not in LOOKS:
            is_fleets = found["program"] == "storage-coordinator"
            yield Act("" if is_fleets else at, found["verb"], tuple(found["words"].split()))


@dataclass(slots=True)
class Walk:
    """trail: what was shown and typed.  typed: code and verb of each, and whether anything else
    was shown after it.  left: what still stands in the end.  end: one of ENDS."""

    trail: list[str] = field(default_factory=list)
    typed: list[tuple[str, str, bool]] = field(default_factory=list)
    left: frozenset[str] = frozenset()
    end: str = CIRCLE


def walk(seed: int) -> Walk | None:
    """From where a random schedule has left a pair, with power, links and disks well again. None
    where somebody has lied in it: of the data that cost nothing can be advised."""
    simulation = Simulation(seed)
    simulation.begin(simulation.world.rng.choice(("alpha", "alpha", "beta", None)))
    simulation.chaos()
    if simulation.is_lying:
        return None
    repair(simulation)
    return follow(simulation)


def follow(simulation: Simulation) -> Walk:
    """Types the first advice that was not tried in this situation, again and again."""
    found, tried = Walk(), set[tuple[frozenset[str], Act]]()
    for turn in range(MOST_TURNS):
        shown = _shown(simulation)
        found.left = _signature(simulation, shown)
        if _serving(simulation) and simulation.in_sync():
            found.end = WELL
            break
        if any(finding.code in A_PERSONS for _, finding in shown):
            found.end = PERSONS
            break
        fresh = [
            (finding, act)
            for finding, act in _wanted(simulation, shown)
            if (found.left, act) not in tried
        ]
        if not fresh:
            break
        finding, act = fresh[0]
        tried.add((found.left, act))
        said = _type(simulation, act, turn)
        is_other = _signature(simulation, _shown(simulation)) != found.left
        found.typed.append((finding.code, act.verb, is_other))
        found.trail.append(f"{', '.join(sorted(found.left))}; {finding.code}: {act}: {said}")
    return found


def _wanted(
    simulation: Simulation, shown: list[tuple[str, Finding]]
) -> Iterator[tuple[Finding, Act]]:
    off = [machine.name for machine in simulation.machines.values() if not machine.powered]
    for host, finding in shown:
        # What follows upon what must not be done is not done either.
        for act in takewhile(lambda act: _may(simulation, act), acts(finding, host)):
            if act.verb != "power-on" or act.host in off:
                yield finding, act
    if _serving(simulation):
        yield from ((WANTED, Act(name, "power-on")) for name in off)
        return
    # What the admin is there for, where nothing is said against it.
    blocked = {host for host, finding in shown if finding.severity is Severity.BLOCKER}
    for name in simulation.machines:
        if name not in blocked:
            yield WANTED, Act(name, "promote", ("data",))


def _shown(simulation: Simulation) -> list[tuple[str, Finding]]:
    """What status says on each host, the host that serves first, blockers first."""
    found = []
    for machine in sorted(
        simulation.machines.values(), key=lambda m: m not in _serving(simulation)
    ):
        daemon = machine.daemon
        if daemon is None or not daemon.started:
            continue
        seen = daemon.host.observe(simulation.volume, JUDGED_FACETS)
        snapshot = dataclasses.replace(seen, records=daemon.engine.obstacles(simulation.volume))
        readiness = assess(simulation.config(machine.name), simulation.volume, snapshot)
        found += [(machine.name, finding) for finding in readiness.findings]
    return sorted(found, key=lambda one: one[1].severity is not Severity.BLOCKER)


def _signature(simulation: Simulation, shown: list[tuple[str, Finding]]) -> frozenset[str]:
    """By which two situations are the same to whoever looks."""
    off = (f"{m.name} is off" for m in simulation.machines.values() if not m.powered)
    serves = (f"{machine.name} serves" for machine in _serving(simulation))
    return frozenset({*(f"{host} {finding.code}" for host, finding in shown), *off, *serves})


def _serving(simulation: Simulation) -> list[Machine]:
    return [
        machine
        for machine in simulation.machines.values()
        if machine.node.s.role is Role.PRIMARY
        and not machine.node.s.susp
        and machine.server is ServerState.SERVING
        and _has_data(machine.node.s)
    ]


def _has_data(s: State) -> bool:
    """That may be served: without a disk each read and write fails, an old copy is worse."""
    return s.disk is DiskState.UP_TO_DATE or (s.with_peer() and s.pdsk is DiskState.UP_TO_DATE)


def _may(simulation: Simulation, act: Act) -> bool:
    """Nobody interrupts what is served to mend what is not."""
    serving = {machine.name for machine in _serving(simulation)}
    ends = act.verb in ("reboot", "demote") and act.host in serving
    # Only who cannot be reached is powered off, and that has been mended.
    return (
        not ends
        and act.verb != "power-off"
        and not (act.verb in ("failover", "switchover") and serving)
    )


def _type(simulation: Simulation, act: Act, turn: int) -> str:
    """What is answered."""
    machine = simulation.machines.get(act.host)
    said = "done"
    if act.verb == "wait":
        _wait(simulation)
    elif act.verb in FLEET and simulation.has_coordinator:
        words = (word for word in act.words if word in simulation.machines)
        task = simulation.control.command(act.verb, next(words, ""))
        simulation.wait_for(lambda: task.done)
    elif machine is None:
        said = "not simulated"
    elif act.verb == "power-off":
        machine.power_off()
    elif act.verb in ("reboot", "power-on"):
        machine.power_off()
        simulation.boot(machine)
    elif act.verb in KINDS and machine.daemon is not None and machine.daemon.started:
        said = _operate(simulation, machine, act, turn)
    settle(simulation)
    return said


def _operate(simulation: Simulation, machine: Machine, act: Act, turn: int) -> str:
    assert machine.daemon is not None
    options = {
        field: act.words[act.words.index(word) + 1]
        for word, field in (
            ("--peer-is-off", "peer_is_off"),
            ("--yes-stop-serving", "stop_serving"),
            ("--marker-lost", "marker_lost"),
        )
        if word in act.words[:-1]
    }
    request = OperationRequest(
        kind=KINDS[act.verb],
        volume="data",
        operation_id=f"typed-{machine.name}-{turn}",
        origin="typed",
        **options,  # type: ignore[arg-type]
    )
    course = machine.daemon.ask(request)
    simulation.wait_for(lambda: course.record is not None or course.error is not None)
    return course.record.message if course.record else str(course.error)


def _wait(simulation: Simulation) -> None:
    end_s = simulation.world.now_s + WAIT_S
    simulation.world.spawn("wait", "admin", lambda: simulation.world.sleep(WAIT_S))
    simulation.wait_for(lambda: simulation.world.now_s >= end_s)


def show_walks(count: int) -> int:
    """Exit 1 where advice led in a circle."""
    ends, typed = Counter[str](), Counter[tuple[str, str, bool]]()
    circles = 0
    for seed in range(count):
        if (found := walk(seed)) is None:
            continue
        ends[found.end] += 1
        typed.update(found.typed)
        if found.end == CIRCLE:
            circles += 1
            print(f"seed {seed}: {', '.join(sorted(found.left))}", *found.trail, sep="\n    ")
    print(f"{ends.total()} walks: " + ", ".join(f"{name} {n}" for name, n in ends.most_common()))
    print(f"{'by':<24}{'typed':<14}{'something else is shown':>24}{'the same':>10}")
    for code, verb in sorted({(code, verb) for code, verb, _ in typed}):
        print(f"{code:<24}{verb:<14}{typed[code, verb, True]:>24}{typed[code, verb, False]:>10}")
    return 1 if circles else 0
