"""Scenes of what a host does not know any more: journals that lost their end or are gone,
and a fence agent that breaks instead of answering."""

from __future__ import annotations

import tempfile
from pathlib import Path

from storage_agent.coordinator.commands import Ended
from storage_agent.coordinator.fencing import require_off
from storage_agent.coordinator.settings import FenceSettings, HostSettings
from storage_agent.model.errors import OperationFailed
from storage_agent.model.replica import Role
from tests.simulation.machine import Machine
from tests.simulation.schedule import Simulation
from tests.simulation.situation import DEMOTE, PROMOTE, ask, cut, done, must, pair, steps

OLD = "operation-old"


def _restart(simulation: Simulation, machine: Machine) -> None:
    """The daemon is killed, and starts on what is in the state folder by then."""
    assert machine.daemon is not None
    machine.daemon.kill()
    simulation.restart_later(machine)


def _serves_after(simulation: Simulation, machine: Machine) -> None:
    simulation.wait_for(lambda: machine.daemon is not None and machine.daemon.started)
    steps(simulation, 300)
    is_primary = machine.node.s.role is Role.PRIMARY and machine.mounted
    simulation.checks.expect("I8", is_primary, "what had ended long ago took the service down")


def truncated_below_newer(seed: int) -> Simulation:
    """An old demote has ended, a newer promote serves; the demote's journal loses its end."""
    simulation = pair(seed, "alpha")
    alpha = simulation.machines["alpha"]
    must(simulation, done(simulation, "alpha", DEMOTE, "old", stop_serving="alpha/data"))
    must(simulation, done(simulation, "alpha", PROMOTE, "new"))
    lines = alpha.files[OLD].splitlines(keepends=True)
    alpha.files[OLD] = b"".join(lines[: 1 + seed % (len(lines) - 1)])
    _restart(simulation, alpha)
    _serves_after(simulation, alpha)
    return simulation


def truncated_newest(seed: int) -> Simulation:
    """A demote is the newest and has ended; a person brings the service back by hand; its journal
    loses its end."""
    simulation = pair(seed, "alpha")
    alpha = simulation.machines["alpha"]
    course = done(simulation, "alpha", DEMOTE, "old", stop_serving="alpha/data")
    must(simulation, course)
    lines = alpha.files[OLD].splitlines(keepends=True)
    alpha.files[OLD] = b"".join(lines[: 1 + seed % (len(lines) - 1)])
    _restart(simulation, alpha)
    simulation.wait_for(lambda: alpha.daemon is not None and alpha.daemon.started)
    steps(simulation, 300)
    simulation.checks.expect("I8", not course.resumed, "what had ended was taken up again")
    return simulation


def forgotten_and_asked(seed: int) -> Simulation:
    """A promote, then a demote; the promote's journal is gone, and it comes once more."""
    simulation = pair(seed, None)
    alpha = simulation.machines["alpha"]
    must(simulation, done(simulation, "alpha", PROMOTE, "old"))
    must(simulation, done(simulation, "alpha", DEMOTE, "down", stop_serving="alpha/data"))
    del alpha.files[OLD]
    if seed % 2:
        _restart(simulation, alpha)
    ask(simulation, "alpha", PROMOTE, "old")
    steps(simulation, 300)
    return simulation


def replayed_below_epoch(seed: int) -> Simulation:
    """The same with an epoch, whose file comes back from a backup; the id is one of those that are
    too many to be kept."""
    simulation = pair(seed, None)
    alpha = simulation.machines["alpha"]
    before = alpha.files["epoch-data"]
    must(simulation, done(simulation, "alpha", PROMOTE, "old", epoch=9))
    must(simulation, done(simulation, "alpha", DEMOTE, "down", stop_serving="alpha/data"))
    del alpha.files[OLD]
    alpha.files["epoch-data"] = before
    assert alpha.daemon is not None
    accounts = alpha.daemon.engine._journal.accounts
    accounts.knows = lambda volume, account, operation_id: False  # type: ignore[method-assign]
    ask(simulation, "alpha", PROMOTE, "old", epoch=9)
    steps(simulation, 300)
    return simulation


class _Clock:
    now_s = 0.0

    def monotonic(self) -> float:
        return self.now_s

    def wall(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


def broken_fence(seed: int) -> Simulation:
    """The link is cut, alpha writes on; beta takes over once a fence agent has said that alpha is
    off. It has a syntax error."""
    simulation = pair(seed, "alpha")
    cut(simulation)
    with tempfile.NamedTemporaryFile("w") as options:
        options.write("ip=192.0.2.9\n")
        options.flush()
        Path(options.name).chmod(0o600)
        fence = FenceSettings(agent="fence_ipmilan", options=options.name)
        alpha = HostSettings(name="alpha", address="192.0.2.1", port=22, fence=fence)
        ended = Ended(exit_status=2 * (seed % 2), text="Syntax error: end of file unexpected")

        def run(_argv: tuple[str, ...], stdin: bytes, _timeout_s: float) -> Ended:
            return Ended(exit_status=0) if b"action=off" in stdin else ended

        try:
            require_off(alpha, run, _Clock(), 20)
        except OperationFailed:
            return simulation
    ask(simulation, "beta", PROMOTE, "over", peer_is_off="alpha")
    steps(simulation, 400)
    return simulation
