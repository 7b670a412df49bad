"""What goes wrong, and people who do things from the side. Each kind is counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from storage_agent.model.operation import SHUTDOWN_ORIGIN, OperationRequest
from storage_agent.model.plan import OperationKind, StepKind
from storage_agent.model.replica import Role
from tests.simulation.control import COORDINATOR
from tests.simulation.control_faults import ANSWER_KINDS, CONTROL_POINT, WIRE_KINDS, ControlFaults
from tests.simulation.daemon import Daemon, epoch_of
from tests.simulation.differing import DIFFERING_WEIGHTS, DifferingFaults
from tests.simulation.machine import Machine
from tests.simulation.memory_faults import MEMORY_WEIGHTS, MemoryFaults
from tests.simulation.roles import set_secondary

if TYPE_CHECKING:
    from tests.simulation.schedule import Simulation

# Chance for each call of a port, in the schedules that have such faults at all.
POINT_RATE = 0.004
STEP_RATE = 0.05
LOOK_RATE = 0.004
SIGHT_RATE = 0.01
# A weight for each thing that happens by itself.
_WEIGHTS: dict[str, int] = {
    "daemon killed": 6,
    "daemon killed for long": 2,
    "power cut": 6,
    "power cut of both": 1,
    "link cut": 8,
    "link cut one way": 4,
    "link mended": 10,
    "disk lost": 4,
    "disk back": 6,
    "member lost": 3,
    "members repaired": 3,
    "host pauses": 4,
    "clock jumps": 3,
    "events lost": 3,
    "filesystem busy": 3,
    "state folder fails": 2,
    "admin adjusts": 5,
    "admin disconnects": 2,
    "admin takes it down": 2,
    "admin unmounts": 2,
    "admin detaches": 2,
    "admin demotes": 2,
    "power on": 10,
    "coordinator down": 3,
    "coordinator cut off": 3,
    "coordinator killed": 3,
    "coordinator pauses": 2,
    "control machine restarts": 2,
    "record restored": 1,
    "second coordinator": 1,
    **MEMORY_WEIGHTS,
}
POINT_KINDS = ("killed at a port call", "power cut at a port call")
STEP_KINDS = ("a step fails", "a step hangs", "a step does nothing")
OTHER_KINDS = ("look fails", "watch does not keep up")
REQUEST_KINDS = ("repeated id", "old epoch", "foreign epoch", "peer is off", "lying admin")
ALL_KINDS = (
    *(*_WEIGHTS, *DIFFERING_WEIGHTS, *POINT_KINDS, *STEP_KINDS, *OTHER_KINDS, *REQUEST_KINDS),
    *(*ANSWER_KINDS, *WIRE_KINDS, CONTROL_POINT),
)


# Done by the agent itself in memory (/run): no tool, no device.
_OWN_WORK = (StepKind.GRANT_PROMOTION, StepKind.WITHDRAW_GRANT)


class Faults(ControlFaults, MemoryFaults, DifferingFaults):
    """enabled: off while a schedule settles."""

    def __init__(self, simulation: Simulation) -> None:
        self.simulation = simulation
        self.world = simulation.world
        self.counts: Counter[str] = Counter()
        self.enabled = True
        rng = self.world.rng
        self.point_rate = POINT_RATE if rng.random() < 0.5 else 0.0
        self.step_rate = STEP_RATE if rng.random() < 0.4 else 0.0
        self.look_rate = LOOK_RATE if rng.random() < 0.3 else 0.0
        self.sight_rate = SIGHT_RATE if rng.random() < 0.2 else 0.0
        self._kinds = [*_WEIGHTS, *DIFFERING_WEIGHTS]
        self._weights = [_WEIGHTS[k] * rng.choice((0, 1, 1, 2)) for k in _WEIGHTS]
        self._weights += DIFFERING_WEIGHTS.values()
        self._weights[self._kinds.index("power on")] = 10
        self._numbers = 0
        self.crash_at: Callable[[Daemon, str, bool], str] | None = None

    def note(self, kind: str, host: str = "", text: str = "") -> None:
        self.counts[kind] += 1
        self.world.log("FAULT", f"{kind} {host} {text}".rstrip())

    # --- at the ports ---------------------------------------------------------------------------

    def at_point(self, daemon: Daemon, name: str, *, before: bool) -> None:
        """Before or after each call of a port. Raises Killed."""
        if self.crash_at is not None:
            what = self.crash_at(daemon, name, before)
            if what:
                self._strike(daemon, name, what)
            return
        if not self.enabled or not self.point_rate or self.world.random() >= self.point_rate:
            return
        self._strike(daemon, name, POINT_KINDS[self.world.random() < 0.3])

    def _strike(self, daemon: Daemon, name: str, kind: str) -> None:
        self.note(kind, daemon.machine.name, f"({name})")
        if kind == POINT_KINDS[0]:
            self.simulation.restart_later(daemon.machine)
            daemon.kill()
        else:
            daemon.machine.power_off()

    def at_step(self, daemon: Daemon, kind: StepKind) -> str:
        if not self.enabled or not self.step_rate or self.world.random() >= self.step_rate:
            return ""
        chosen = STEP_KINDS[int(self.world.random() * 3)]
        if kind in _OWN_WORK:
            return ""
        self.note(chosen, daemon.machine.name, f"({kind})")
        return chosen.removeprefix("a step ")

    def at_look(self, daemon: Daemon) -> bool:
        if not self.enabled or not self.look_rate or self.world.random() >= self.look_rate:
            return False
        self.note("look fails", daemon.machine.name)
        return True

    def at_catch_up(self, daemon: Daemon) -> bool:
        if not self.enabled or not self.sight_rate or self.world.random() >= self.sight_rate:
            return False
        self.note("watch does not keep up", daemon.machine.name)
        return True

    # --- by themselves --------------------------------------------------------------------------

    def something(self) -> None:
        kind = self.world.rng.choices(self._kinds, self._weights)[0]
        machine = self.simulation.machines[self.world.rng.choice(("alpha", "beta"))]
        if getattr(self, "_" + kind.replace(" ", "_"))(machine):
            self.note(kind, machine.name)

    def _daemon_killed(self, machine: Machine) -> bool:
        if machine.daemon is None or not machine.powered:
            return False
        self.simulation.restart_later(machine)
        machine.daemon.kill()
        return True

    def _daemon_killed_for_long(self, machine: Machine) -> bool:
        if machine.daemon is None or not machine.powered:
            return False
        self.simulation.restart_later(machine, 300.0)
        machine.daemon.kill()
        return True

    def _power_cut(self, machine: Machine) -> bool:
        if not machine.powered:
            return False
        machine.power_off()
        return True

    def _power_cut_of_both(self, machine: Machine) -> bool:
        for each in self.simulation.machines.values():
            each.power_off()
        return True

    def _power_on(self, machine: Machine) -> bool:
        if machine.powered:
            return False
        self.simulation.boot(machine)
        return True

    def _link_cut(self, machine: Machine) -> bool:
        link = self.simulation.link
        if not link.whole():
            return False
        for host in link.is_cut:
            link.is_cut[host] = True
        return True

    def _link_cut_one_way(self, machine: Machine) -> bool:
        link = self.simulation.link
        was, link.is_cut[machine.name] = link.is_cut[machine.name], True
        return not was

    def _link_mended(self, machine: Machine) -> bool:
        link = self.simulation.link
        was = link.whole()
        for host in link.is_cut:
            link.is_cut[host] = False
        return not was

    def _disk_lost(self, machine: Machine) -> bool:
        if not machine.powered or machine.running is None or not machine.array_works():
            return False
        machine.lose_disk()
        return True

    def _disk_back(self, machine: Machine) -> bool:
        """The disks answer again, and a person or the agent attaches them."""
        if machine.array_works() or all(m.attached for m in machine.members):
            return False
        machine.repair_array()
        if machine.powered and machine.node.up:
            self._side(machine, "adjust", machine.adjust)
        return True

    def _member_lost(self, machine: Machine) -> bool:
        present = [i for i, m in enumerate(machine.members) if m.attached]
        if not present:
            return False
        machine.lose_member(self.world.rng.choice(present))
        return True

    def _members_repaired(self, machine: Machine) -> bool:
        if all(m.attached for m in machine.members) and machine.array_works():
            return False
        machine.repair_array()
        return True

    def _host_pauses(self, machine: Machine) -> bool:
        if not machine.powered:
            return False
        until_s = self.world.now_s + self.world.rng.choice((5.0, 30.0, 200.0))
        self.world.frozen_hosts[machine.name] = until_s
        return True

    def _clock_jumps(self, machine: Machine) -> bool:
        machine.wall_skew_s += self.world.rng.choice((-86400.0, -100.0, 100.0, 86400.0))
        return True

    def _events_lost(self, machine: Machine) -> bool:
        if machine.daemon is None:
            return False
        machine.daemon.lose_sight()
        return True

    def _filesystem_busy(self, machine: Machine) -> bool:
        if not machine.mounted:
            return False
        machine.busy_until_s = self.world.now_s + self.world.rng.choice((1.0, 60.0, 600.0))
        return True

    def _state_folder_fails(self, machine: Machine) -> bool:
        if not machine.powered:
            return False
        until_s = self.world.now_s + self.world.rng.choice((1.0, 20.0, 200.0))
        machine.state_fails_until_s = until_s
        return True

    # --- local admins ---------------------------------------------------------------------------

    def _side(self, machine: Machine, what: str, run: Callable[[], object]) -> None:
        self.world.log(machine.name, f"admin: {what}")
        machine.kernel(f"admin {what}", run)
        self.simulation.touches[machine.name] += 1

    def _admin_adjusts(self, machine: Machine) -> bool:
        if not machine.powered or not machine.array_works():
            return False
        self._side(machine, "drbdadm adjust", machine.adjust)
        return True

    def _admin_disconnects(self, machine: Machine) -> bool:
        node = machine.node
        if not machine.powered or not node.up:
            return False
        self._side(machine, "drbdadm disconnect", lambda: node.link.disconnect(node))
        return True

    def _admin_takes_it_down(self, machine: Machine) -> bool:
        if not machine.powered or machine.node.s.role is Role.PRIMARY:
            return False
        self._side(machine, "drbdadm down", machine.down)
        return True

    def _admin_unmounts(self, machine: Machine) -> bool:
        if not machine.mounted:
            return False
        self._side(machine, "umount", machine.unmount)
        return True

    def _admin_detaches(self, machine: Machine) -> bool:
        if not machine.may_detach():
            return False
        self._side(machine, "drbdadm detach", machine.detach)
        return True

    def _admin_demotes(self, machine: Machine) -> bool:
        node = machine.node
        if not machine.powered or node.s.role is not Role.PRIMARY:
            return False
        self._side(machine, "drbdadm secondary", lambda: set_secondary(node))
        return True

    # --- requests -------------------------------------------------------------------------------

    def request(self) -> None:
        """Somebody asks a daemon for something."""
        rng = self.world.rng
        machine = self.simulation.machines[rng.choice(("alpha", "beta"))]
        daemon = machine.daemon
        if self.simulation.has_coordinator and rng.random() < 0.5:
            self.command(machine)
            return
        if daemon is None or not daemon.started:
            return
        if rng.random() < 0.15 and self._repeat(daemon):
            return
        kind = OperationKind.PROMOTE if rng.random() < 0.62 else OperationKind.DEMOTE
        if machine.node.s.role is Role.PRIMARY and rng.random() < 0.6:
            kind = OperationKind.DEMOTE
        if rng.random() < 0.06:
            kind = OperationKind.ASSEMBLE
        elif rng.random() < 0.12:
            kind = rng.choice((OperationKind.STANDALONE, OperationKind.REJOIN))
        epoch, is_stale = self._epoch(machine, kind)
        peer_is_off, is_lie = self._declaration(machine, kind)
        # Half of those who demote mean it, whoever can take over; half of these go down anyway.
        meant = rng.random() if kind is OperationKind.DEMOTE else 1.0
        self._numbers += 1
        request = OperationRequest(
            kind=kind,
            volume="data",
            operation_id=f"op-{self._numbers}",
            epoch=epoch,
            coordinator="" if epoch is None else COORDINATOR,
            peer_is_off=peer_is_off,
            stop_serving=f"{machine.name}/data" if meant < 0.5 else None,
            origin=SHUTDOWN_ORIGIN if meant < 0.25 else "simulation",
            options=self._waiting(kind),
        )
        if is_stale:
            self.note("old epoch", machine.name)
        self.world.log(machine.name, f"asked: {kind} {request.operation_id} epoch {epoch}")
        course = daemon.ask(request, is_lie=is_lie)
        course.stale = is_stale

    def _repeat(self, daemon: Daemon) -> bool:
        known = [
            c
            for c in self.simulation.courses.values()
            if c.host == daemon.machine.name and c.request.origin in ("simulation", SHUTDOWN_ORIGIN)
        ]
        if not known:
            return False
        course = self.world.rng.choice(known)
        self.note("repeated id", daemon.machine.name, course.request.operation_id)
        daemon.ask(course.request)
        return True

    def _epoch(self, machine: Machine, kind: OperationKind) -> tuple[int | None, bool]:
        rng, known = self.world.rng, epoch_of(machine)
        chance = rng.random()
        if kind is OperationKind.ASSEMBLE or chance < 0.5:
            return None, False
        if chance < 0.6:
            # Old, or the present one's for another operation.
            return known - rng.randrange(3), True
        if self.simulation.has_coordinator and rng.random() < 0.9:
            # Epochs are the coordinator's to give.
            return None, False
        if self.simulation.has_coordinator:
            self.note("foreign epoch", machine.name)
        highest = max(epoch_of(m) for m in self.simulation.machines.values())
        return highest + 1 + rng.randrange(2), False

    def _waiting(self, kind: OperationKind) -> dict[str, str]:
        """Every third promotion is asked for before the other host has let go."""
        if kind is OperationKind.ASSEMBLE:
            return {"wait_s": "5"}
        waits = kind is OperationKind.PROMOTE and self._numbers % 3 == 0
        return {"wait_s": "40"} if waits else {}

    def _declaration(self, machine: Machine, kind: OperationKind) -> tuple[str | None, bool]:
        """A correct admin says it only of a host that is off; a lying one of any."""
        other = self.simulation.other(machine)
        if kind is not OperationKind.PROMOTE:
            return None, False
        if self.simulation.is_lying and self.world.chance(0.5):
            if other.powered:
                self.note("lying admin", machine.name)
            return other.name, other.powered
        if other.powered or self.world.chance(0.2):
            return None, False
        self.note("peer is off", machine.name)
        return other.name, False


__all__ = ["ALL_KINDS", "Faults"]
