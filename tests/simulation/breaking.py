"""Scenes in which a step fails, the daemon is killed or the host restarts."""

from __future__ import annotations

from collections.abc import Iterator

from storage_agent.model.nfs import ServerState
from storage_agent.model.plan import OperationKind, StepKind
from storage_agent.model.replica import Role
from tests.simulation.daemon import Daemon
from tests.simulation.ending import finish, heal
from tests.simulation.faults import POINT_KINDS
from tests.simulation.machine import Machine, is_whole
from tests.simulation.schedule import Simulation
from tests.simulation.situation import (
    DEMOTE,
    PROMOTE,
    ask,
    done,
    must,
    pair,
    steps,
)


def failing_steps(seed: int) -> Iterator[Simulation]:
    """Each step of promote and demote fails or does nothing, once; all works afterwards."""
    for kind, primary in ((PROMOTE, None), (DEMOTE, "alpha")):
        for step in _steps_of(kind):
            for fault in ("fails", "does nothing"):
                yield _failing_step(seed, kind, primary, step, fault)


def _steps_of(kind: OperationKind) -> tuple[StepKind, ...]:
    if kind is DEMOTE:
        return (StepKind.LINK_DOWN, StepKind.STOP_SERVER, StepKind.UNMOUNT, StepKind.SECONDARY)
    return (
        StepKind.PRIMARY,
        StepKind.MOUNT,
        StepKind.WRITE_MARKER,
        StepKind.START_SERVER,
        StepKind.LINK_UP,
        StepKind.PROVE_EXPORT,
    )


def _failing_step(
    seed: int, kind: OperationKind, primary: str | None, step: StepKind, fault: str
) -> Simulation:
    simulation = pair(seed, primary)
    broken = {step}

    def once(daemon: Daemon, asked: StepKind) -> str:
        if asked not in broken:
            return ""
        if fault == "fails":
            broken.clear()
        return fault

    simulation.faults.at_step = once  # type: ignore[method-assign, assignment]
    course = done(simulation, "alpha", kind, "op")
    broken.clear()
    alpha = simulation.machines["alpha"]
    whole = course.record is not None and is_whole(alpha)
    simulation.checks.expect("I10", whole, f"{kind}, {step} {fault}: in between")
    simulation.checks.expect("I14", course.record is not None, f"{kind}, {step} {fault}: no end")
    finish(simulation)
    return simulation


def killed_then_failing(seed: int) -> Simulation:
    """The daemon is killed after the mount; the resumed promote meets a step that fails."""
    simulation = pair(seed, None)

    def strike(daemon: Daemon, name: str, before: bool) -> str:
        if name != "perform mount" or before:
            return ""
        simulation.faults.crash_at = lambda d, n, b: ""
        return POINT_KINDS[0]

    def fail(daemon: Daemon, asked: StepKind) -> str:
        return "fails" if asked is StepKind.LINK_UP else ""

    simulation.faults.crash_at = strike
    simulation.faults.at_step = fail  # type: ignore[method-assign, assignment]
    course = ask(simulation, "alpha", PROMOTE, "op")
    simulation.wait_for(lambda: course.record is not None)
    alpha = simulation.machines["alpha"]
    simulation.checks.expect("I10", is_whole(alpha), "resumed, failed, and it is in between")
    finish(simulation)
    return simulation


def cut_power_at_mount(simulation: Simulation) -> Machine:
    """Of alpha, in the middle of a promote; it comes back."""

    def strike(daemon: Daemon, name: str, before: bool) -> str:
        if name != "perform mount" or daemon.machine.name != "alpha":
            return ""
        simulation.faults.crash_at = lambda d, n, b: ""
        return POINT_KINDS[1]

    simulation.faults.crash_at = strike
    ask(simulation, "alpha", PROMOTE, "op")
    alpha = simulation.machines["alpha"]
    simulation.wait_for(lambda: not alpha.powered)
    simulation.boot(alpha)
    return alpha


def power_cut_in_promote(seed: int) -> Simulation:
    """The power goes in the middle, with a new epoch; the host comes back."""
    simulation = pair(seed, None)
    cut_power_at_mount(simulation)
    course = simulation.courses["op"]
    simulation.wait_for(lambda: course.record is not None)
    heal(simulation)
    finish(simulation)
    return simulation


def restarted_and_brought_up(seed: int) -> Simulation:
    """As before, and a person brings array and replica up before the agent starts."""
    simulation = pair(seed, None)
    alpha = cut_power_at_mount(simulation)
    alpha.assemble()
    alpha.server = ServerState.STANDBY
    alpha.kernel("adjust", alpha.adjust)
    course = simulation.courses["op"]
    simulation.wait_for(lambda: course.record is not None)
    return simulation


def end_not_recorded(seed: int) -> Simulation:
    """The state folder cannot be written when a demote ends. Once it can, a promote overtakes it,
    and the daemon is killed."""
    simulation = pair(seed, "alpha")
    alpha = simulation.machines["alpha"]
    demote = ask(simulation, "alpha", DEMOTE, "first", stop_serving="alpha/data")
    simulation.wait_for(lambda: StepKind.SECONDARY in demote.performed)
    alpha.state_fails_until_s = simulation.world.now_s + 3600
    simulation.wait_for(lambda: demote.record is not None)
    alpha.state_fails_until_s = 0.0
    must(simulation, done(simulation, "alpha", PROMOTE, "second"))
    assert alpha.daemon is not None
    alpha.daemon.kill()
    simulation.restart_later(alpha)
    steps(simulation, 300)
    is_primary = alpha.node.s.role is Role.PRIMARY
    simulation.checks.expect("I8", is_primary, "a demote that had ended was taken up again")
    return simulation


def stale_member(seed: int) -> Simulation:
    """A member was away while the array ran, is back, and the host restarts."""
    simulation = pair(seed, None)
    alpha = simulation.machines["alpha"]
    alpha.lose_member(0)
    alpha.members[0].attached = True
    alpha.power_off()
    simulation.boot(alpha)
    simulation.wait_for(lambda: alpha.daemon is not None and alpha.daemon.started)
    steps(simulation, 300)
    return simulation


def plain_reboot(seed: int) -> Simulation:
    """The host restarts, and everything comes up by itself."""
    simulation = pair(seed, None)
    alpha = simulation.machines["alpha"]
    alpha.power_off()
    simulation.boot(alpha)
    simulation.wait_for(lambda: alpha.node.up and alpha.node.backing is not None)
    steps(simulation, 200)
    finish(simulation)
    return simulation


def random_schedules(seed: int) -> Simulation:
    """One schedule as scripts/simulate runs it."""
    simulation = Simulation(seed)
    simulation.run()
    return simulation
