"""One schedule: a pair at the start, a time of troubles, then healing, then a correct admin."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from storage_agent.coordinator.deciding.arbiter import State
from storage_agent.engine.epoch import EpochStore
from storage_agent.model.configuration import (
    AgentConfig,
    Arbitration,
    ArrayConfig,
    FilesystemConfig,
    HostConfig,
    NfsConfig,
    ReplicaConfig,
    VolumeConfig,
)
from storage_agent.model.nfs import ServerState
from storage_agent.model.operation import (
    Epoch,
    Marker,
    OperationRequest,
)
from storage_agent.model.replica import Role
from tests.simulation import ending
from tests.simulation.checkers import Checks, Violation
from tests.simulation.client import Client
from tests.simulation.control import COORDINATOR, KEY, ControlMachine
from tests.simulation.daemon import Course, Daemon
from tests.simulation.disk import Disk
from tests.simulation.faults import Faults
from tests.simulation.link import Link
from tests.simulation.machine import HOSTS, Machine, is_whole
from tests.simulation.states import CONNECTED, CONNECTING, UP_TO_DATE
from tests.simulation.world import World

CHAOS_STEPS = (250, 700)
SETTLE_STEPS = 6000
FIRST_EPOCH = 5
LYING_SHARE = 0.03


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one schedule has shown. expected: violations of a schedule whose admin lies."""

    seed: int
    steps: int
    counts: Counter[str]
    faults: Counter[str]
    checks: Counter[str]
    known: Counter[str]
    violations: tuple[Violation, ...]
    expected: tuple[Violation, ...]
    trace: tuple[str, ...]


def volume_config(arbitration: Arbitration) -> VolumeConfig:
    return VolumeConfig(
        name="data",
        mount_point="/srv/data",
        arbitration=arbitration,
        array=ArrayConfig(
            level="raid10",
            disks={host: tuple(f"{host}-{i}" for i in range(4)) for host in HOSTS},
            uuid=dict.fromkeys(HOSTS, "8:8:8:8"),
        ),
        replica=ReplicaConfig(minor=0, port=7789),
        filesystem=FilesystemConfig(type="ext4", uuid="u", options=()),
        nfs=NfsConfig(
            address="10.9.0.10/24",
            interface="eth2",
            link="macvlan",
            clients=("10.9.0.0/24",),
            options=("rw",),
            threads=8,
        ),
        services=(),
    )


class Simulation:
    """The pair, wired together. Deterministic from the seed."""

    def __init__(self, seed: int, *, keep_trace: bool = False, quiet: bool = False) -> None:
        self.world = World(seed, keep_trace=keep_trace)
        rng = self.world.rng
        self.has_coordinator = rng.random() < 0.4
        self.is_lying = rng.random() < LYING_SHARE and not quiet
        self.courses: dict[str, Course] = {}
        # (host, operation id) whose journal a fault has taken its end, or all.
        self.harmed: set[tuple[str, str]] = set()
        self.touches: Counter[str] = Counter()
        # Whether the two agents compare what they have configured, and what differs then.
        self.has_secret = seed % 4 == 0 and not quiet
        self.differing: dict[str, tuple[str, str]] = {}
        identifier = self.world.new_uuid()
        self.machines = {
            host: Machine(self.world, host, Disk(identifier), stonith=self.has_coordinator)
            for host in HOSTS
        }
        self.link = Link(self.world, *(m.node for m in self.machines.values()))
        self.client = Client(self.world, self.machines)
        self.checks = Checks(self)
        self.faults = Faults(self)
        # A second one comes by a fault.
        self.controls = [ControlMachine(self, "control", {})]
        self._restarts: list[tuple[float, Machine, int]] = []
        arbitration = Arbitration.COORDINATOR if self.has_coordinator else Arbitration.NONE
        self.volume = volume_config(arbitration)
        for machine in self.machines.values():
            machine.node.promoted = self.checks.promoted

    @property
    def control(self) -> ControlMachine:
        return self.controls[0]

    def config(self, host: str) -> AgentConfig:
        hosts = {h: HostConfig(name=h, address=f"10.8.0.{i}") for i, h in enumerate(HOSTS, 1)}
        return AgentConfig(host=host, hosts=hosts, volumes={"data": self.volume})

    def other(self, machine: Machine) -> Machine:
        return self.machines["beta" if machine.name == "alpha" else "alpha"]

    def course(self, request: OperationRequest, machine: Machine) -> Course:
        course = self.courses.get(request.operation_id)
        if course is None:
            course = Course(
                request=request,
                host=machine.name,
                begun_s=self.world.now_s,
                was_whole=is_whole(machine),
                boot=machine.boot,
            )
            self.courses[request.operation_id] = course
        return course

    # --- the start ------------------------------------------------------------------------------

    def begin(self, primary: str | None) -> None:
        """Both up, connected and in sync, served by `primary` (None: by nobody)."""
        marker = Marker(
            epoch=FIRST_EPOCH,
            counter=7,
            operation_id="before",
            host=primary or "alpha",
            boot_id=self.machines[primary].boot_id if primary else "before",
            wall_s=0.0,
        )
        for machine in self.machines.values():
            machine.disk.durable = {"marker": marker, "client": True, "canary": ""}
            machine.assemble()
            machine.node.up = True
            machine.node.attach(machine.disk)
            machine.node.change(conn=CONNECTING)
            machine.server = ServerState.STANDBY
        while not self.in_sync():
            self.link.step()
        for machine in self.machines.values():
            daemon = Daemon(machine, self)
            epochs = EpochStore(_Plain(machine))
            first = Epoch(number=FIRST_EPOCH, operation_id="before", coordinator=COORDINATOR)
            epochs.write("data", first)
            epochs.note_marker("data", marker)
            daemon.settle()
        guarded = tuple(host for host in HOSTS if self.machines[host].node.stonith)
        adopted = State(epoch=FIRST_EPOCH, coordinator=COORDINATOR, owner=primary, guarded=guarded)
        self.control.record.begin({KEY: adopted})
        self.control.record.vouch([KEY])
        if primary is not None:
            self._serve(self.machines[primary])

    def in_sync(self) -> bool:
        return all(
            m.node.s.conn == CONNECTED and m.node.s.disk is UP_TO_DATE and m.node.unbroken
            for m in self.machines.values()
        )

    def _serve(self, machine: Machine) -> None:
        self.other(machine).node.change(peer=Role.PRIMARY)
        machine.node.change(role=Role.PRIMARY)
        machine.mounted = True
        machine.node.openers = 1
        machine.server, machine.server_number = ServerState.SERVING, 1
        machine.in_grace = True

    # --- lives ----------------------------------------------------------------------------------

    def restart_later(self, machine: Machine, at_most_s: float = 10.0) -> None:
        """systemd starts a killed daemon again."""
        at_s = self.world.now_s + self.world.random() * at_most_s
        self._restarts.append((at_s, machine, machine.boot))

    def forget_restarts(self) -> None:
        """Nobody starts the killed daemons until somebody says so."""
        self._restarts.clear()

    def boot(self, machine: Machine) -> None:
        machine.power_on()
        self.checks.restarted(machine)
        self.restart_later(machine)

    def _restart_due(self) -> None:
        for entry in list(self._restarts):
            at_s, machine, boot = entry
            if at_s > self.world.now_s:
                continue
            self._restarts.remove(entry)
            if machine.powered and machine.boot == boot and machine.daemon is None:
                self.world.log(machine.name, "daemon starts")
                Daemon(machine, self)

    # --- the loop -------------------------------------------------------------------------------

    def step(self) -> bool:
        """One thing happens. False: nothing can, now."""
        world = self.world
        world.steps += 1
        if self._restarts:
            self._restart_due()
        chance = world.random()
        world.now_s += 0.05 * world.random()
        done = tasks_rest = link_rests = False
        if chance < 0.62:
            done = world.run_some_task()
            tasks_rest = not done
        elif chance < 0.84:
            done = self.link.step()
            link_rests = not done
        elif chance < 0.93:
            done = self.client.step()
        elif chance < 0.97:
            done = self._observe()
        else:
            done = self._control()
        if not done:
            done = self._anything(tasks_rest=tasks_rest, link_rests=link_rests)
        self.checks.always()
        return done

    def _observe(self) -> bool:
        for machine in self.machines.values():
            if machine.daemon is not None and machine.daemon.events:
                machine.daemon.take_event()
                return True
            if machine.daemon is not None and machine.powered and machine.daemon.tick():
                return True
        return self._turn()

    def _turn(self) -> bool:
        daemons = (m.daemon for m in self.machines.values() if m.powered)
        return any(daemon.turn() for daemon in daemons if daemon is not None)

    def _control(self) -> bool:
        return any(control.step() for control in self.controls)

    def _anything(self, *, tasks_rest: bool, link_rests: bool) -> bool:
        """Whatever can, or else time passes. The two that were just found at rest still are."""
        if not link_rests and self.link.step():
            return True
        if not tasks_rest and self.world.run_some_task():
            return True
        if self.client.step():
            return True
        if self._control():
            return True
        if self._turn():
            return True
        later = self.world.later_s()
        awake = (
            m for m in self.machines.values() if m.powered and not self.world.is_frozen(m.name)
        )
        later += [m.daemon.wake_s() for m in awake if m.daemon is not None]
        later += [s for s, m, boot in self._restarts if m.powered and m.boot == boot]
        wake_s = (control.wake_s() for control in self.controls)
        later += [s for s in wake_s if s is not None and s > self.world.now_s]
        later = [moment_s for moment_s in later if moment_s < math.inf]
        if not later:
            return False
        self.world.now_s = max(self.world.now_s, min(later)) + 0.001
        return True

    def chaos(self) -> None:
        rng = self.world.rng
        steps = rng.randrange(*CHAOS_STEPS)
        fault_rate, request_rate = rng.choice((0.0, 0.01, 0.02, 0.04)), 0.012
        next_request = 0
        for i in range(steps):
            self.step()
            if self.world.random() < fault_rate:
                self.faults.something()
            if i >= next_request and self.world.random() < request_rate:
                self.faults.request()

    def wait_for(self, condition: Callable[[], bool]) -> bool:
        for _ in range(SETTLE_STEPS):
            if condition() or not self.step():
                break
        return condition()

    def is_quiet(self) -> bool:
        if any(m.daemon is None or m.daemon.active for m in self.machines.values()):
            return False
        if self.link.has_work() or any(control.has_work() for control in self.controls):
            return False
        return not any(t.is_ready(self.world.now_s) or t.wake_s for t in self.world.tasks)

    # --- the whole ----------------------------------------------------------------------------

    def run(self) -> None:
        """From the start to the end."""
        kind = "coordinator" if self.has_coordinator else "none"
        self.world.log("START", f"seed {self.world.seed}, arbitration {kind}")
        self.begin(self.world.rng.choice(("alpha", "alpha", "beta", None)))
        self.chaos()
        ending.heal(self)
        ending.promote(self)
        ending.finish(self)

    def outcome(self) -> Outcome:
        violations = tuple(self.checks.violations)
        return Outcome(
            seed=self.world.seed,
            steps=self.world.steps,
            counts=self.world.counts,
            faults=self.faults.counts,
            checks=self.checks.asked(),
            known=self.checks.known,
            violations=() if self.is_lying else violations,
            expected=violations if self.is_lying else (),
            trace=tuple(self.world.trace),
        )


class _Plain:
    """The state folder without a daemon, for the start."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def read(self, name: str) -> bytes | None:
        return self._machine.files.get(name)

    def replace(self, name: str, content: bytes) -> None:
        self._machine.files[name] = content

    def append(self, name: str, content: bytes) -> None:
        self._machine.files[name] = self._machine.files.get(name, b"") + content

    def names(self, prefix: str) -> tuple[str, ...]:
        return tuple(sorted(n for n in self._machine.files if n.startswith(prefix)))

    def remove(self, name: str) -> None:
        self._machine.files.pop(name, None)

    def require_writable(self) -> None: ...


def run_schedule(seed: int, *, keep_trace: bool = False) -> Outcome:
    """The whole course for one seed."""
    simulation = Simulation(seed, keep_trace=keep_trace)
    simulation.run()
    outcome = simulation.outcome()
    # A greenlet that waits holds all it knows, beyond the reach of the garbage collector.
    simulation.world.end()
    return outcome
