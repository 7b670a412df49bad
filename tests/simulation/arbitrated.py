"""Scenes of a pair that a coordinator arbitrates: the link goes, and somebody has to decide."""

from __future__ import annotations

import dataclasses

from storage_agent.model.configuration import Arbitration
from storage_agent.model.errors import AgentError
from storage_agent.model.incident import IncidentAnswer
from storage_agent.model.nfs import ServerState
from storage_agent.model.replica import Role
from tests.simulation.control import COORDINATOR, KEY, TRIES
from tests.simulation.ending import finish, heal
from tests.simulation.faults import POINT_KINDS
from tests.simulation.handler import incident
from tests.simulation.machine import Machine
from tests.simulation.schedule import Simulation
from tests.simulation.situation import (
    ASSEMBLE,
    DEMOTE,
    PROMOTE,
    ask,
    cut,
    done,
    going_down,
    grant,
    pair,
    steps,
    wait,
)

# Of one host, one after the other; two hundred seeds are a thousand.
PAUSES = 5


def granted_to_primary(seed: int) -> Simulation:
    """The link is cut: alpha may go on. What it acknowledges alone is there in the end."""
    simulation = lost(seed)
    alpha = simulation.machines["alpha"]
    for _ in range(TRIES):
        # Its incident may be seen a moment before its snapshot shows that it is frozen.
        if not _serves_now(alpha):
            looked(simulation, alpha)
    before = len(simulation.client.acknowledged)
    _must(simulation, serves(simulation, alpha), "alpha was granted and does not serve")
    steps(simulation, 200)
    more = len(simulation.client.acknowledged) > before
    _must(simulation, more, "alpha was granted and acknowledges nothing")
    return end(simulation)


def granted_to_secondary(seed: int) -> Simulation:
    """The link is cut: beta takes over, alpha is denied, shuts its clients out and is rebooted."""
    simulation = lost(seed)
    alpha, beta = simulation.machines["alpha"], simulation.machines["beta"]
    _must_shut_out(simulation, alpha)
    for _ in range(TRIES):
        # It is refused while the newest look at alpha is of before the cut.
        if not _serves_now(beta):
            typed(simulation, "failover", "beta")
    looked(simulation, alpha)
    _must(simulation, serves(simulation, beta), "beta was granted and does not serve")
    steps(simulation, 200)
    _must_shut_out(simulation, alpha)
    return end(simulation)


def frozen_without_disk(seed: int) -> Simulation:
    """alpha is frozen and loses its disk: it cannot be told to go on. The link comes back."""
    simulation = paired(seed)
    simulation.control.is_on = False
    alpha = simulation.machines["alpha"]
    cut(simulation)
    simulation.wait_for(lambda: alpha.asked is not None)
    alpha.lose_disk()
    steps(simulation, 20)
    _answer(simulation, alpha, IncidentAnswer.CONTINUE, 10)
    steps(simulation, 200)
    return end(simulation)


def turned_away(seed: int) -> Simulation:
    """alpha is frozen, beta is rebooted: the link comes back, alpha turns beta away and goes on by
    itself; it is cut off again before they have found together, and beta is granted."""
    simulation = paired(seed)
    simulation.control.is_on = False
    alpha, beta = simulation.machines["alpha"], simulation.machines["beta"]
    cut(simulation)
    beta.power_off()
    simulation.boot(beta)
    simulation.wait_for(lambda: beta.daemon is not None and beta.node.backing is not None)
    simulation.wait_for(lambda: beta.daemon is not None and not beta.daemon.active)
    for host in simulation.link.is_cut:
        simulation.link.is_cut[host] = False
    simulation.wait_for(lambda: not alpha.node.s.susp)
    cut(simulation)
    grant(simulation, beta, 9, "granted")
    wait(simulation, ask(simulation, "beta", PROMOTE, "granted", epoch=9))
    return end(simulation)


def thawed_by_diskless(seed: int) -> Simulation:
    """alpha is frozen, beta serves by a grant, is demoted and loses its disk. The link comes back:
    DRBD thaws alpha, which has older data and must not let its clients in."""
    simulation = paired(seed)
    simulation.control.is_on = False
    alpha, beta = simulation.machines["alpha"], simulation.machines["beta"]
    cut(simulation)
    simulation.wait_for(lambda: alpha.server is not ServerState.SERVING)
    grant(simulation, beta, 9, "granted")
    wait(simulation, ask(simulation, "beta", PROMOTE, "granted", epoch=9))
    steps(simulation, 200)
    done(simulation, "beta", DEMOTE, "aside", **going_down("beta"))
    beta.lose_disk()
    for host in simulation.link.is_cut:
        simulation.link.is_cut[host] = False
    simulation.wait_for(lambda: not alpha.node.s.susp)
    steps(simulation, 300)
    if alpha.server is ServerState.SERVING:
        simulation.checks.content(alpha, "served by alpha")
    return simulation


def primary_dies(seed: int) -> Simulation:
    """alpha loses its power: beta is granted without any incident."""
    simulation = paired(seed, automatic=True)
    alpha, beta = simulation.machines["alpha"], simulation.machines["beta"]
    alpha.power_off()
    _must(simulation, serves(simulation, beta), "alpha is gone, beta does not serve")
    steps(simulation, 200)
    return end(simulation)


def short_pauses(seed: int) -> Simulation:
    """alpha stands still, again and again, each time for less than would count as silence. Its link
    may go by that, and what it asks then is answered; nobody takes over."""
    simulation = paired(seed, automatic=True)
    world, control = simulation.world, simulation.control
    limit_s = control.coordinator.settings.deadlines.unreachable_s
    for _ in range(PAUSES):
        end_s = world.now_s + 1.0 + world.random() * (limit_s - 2.0)
        world.frozen_hosts["alpha"] = end_s
        simulation.wait_for(lambda end_s=end_s: world.now_s >= end_s)  # type: ignore[misc]
        world.frozen_hosts.clear()
        # Two at once are one, to whoever looks from outside.
        simulation.wait_for(simulation.in_sync)
        looked(simulation, simulation.machines["alpha"])
    state = control.record.states[KEY]
    taken = state.automatic_used or state.owner != "alpha"
    _must(simulation, not taken, "it was taken over from a host that paused for a moment")
    return end(simulation)


def never_told(seed: int) -> Simulation:
    """The configuration wants a coordinator, the kernel of alpha was never told. alpha is cut off
    from everybody but its clients: it writes on alone, and nobody may take over from it."""
    simulation = paired(seed, automatic=True, never_told=("alpha",))
    beta = simulation.machines["beta"]
    simulation.control.cut.add("alpha")
    cut(simulation)
    serves(simulation, beta)
    steps(simulation, 200)
    return simulation


def told_while_serving(seed: int) -> Simulation:
    """The same; this time somebody brings both up to what is configured. Then alpha is cut off."""
    simulation = paired(seed, never_told=("alpha", "beta"))
    alpha = simulation.machines["alpha"]
    for machine in simulation.machines.values():
        course = done(simulation, machine.name, ASSEMBLE, f"told-{machine.name}")
        succeeded = course.record is not None and course.record.message != "already so"
        _must(simulation, succeeded, f"{machine.name} was never told, and that is already so")
        told = machine.node.stonith
        simulation.checks.expect("I12", told, f"{machine.name} was not told, and says it was")
        looked(simulation, machine)
    simulation.control.is_on = False
    cut(simulation)
    frozen = simulation.wait_for(lambda: alpha.asked is not None)
    _must(simulation, frozen, "alpha has lost its peer and does not ask")
    return end(simulation)


def nobody_answers(seed: int) -> Simulation:
    """The coordinator is down: alpha freezes and shuts its clients out; the link comes back."""
    simulation = paired(seed)
    simulation.control.is_on = False
    alpha = simulation.machines["alpha"]
    cut(simulation)
    _must_shut_out(simulation, alpha)
    for host in simulation.link.is_cut:
        simulation.link.is_cut[host] = False
    _must(simulation, serves(simulation, alpha), "the link is back, alpha does not serve")
    return end(simulation)


def killed_while_answering(seed: int) -> Simulation:
    """alpha's agent is killed, or alpha loses its power, with the answer half taken."""
    simulation = paired(seed)
    how = POINT_KINDS[seed % 2]
    points = ("replace", "answer")

    def strike(daemon: object, name: str, before: bool) -> str:
        if name != points[seed // 2 % 2] or before is (seed // 4 % 2 == 0):
            return ""
        simulation.faults.crash_at = lambda d, n, b: ""
        return how

    simulation.faults.crash_at = strike
    cut(simulation)
    alpha = simulation.machines["alpha"]
    simulation.wait_for(lambda: alpha.daemon is None)
    if not alpha.powered:
        simulation.boot(alpha)
    steps(simulation, 300)
    return end(simulation)


def rebooted_with_grant(seed: int) -> Simulation:
    """beta was granted and loses its power before it acts; alpha stays frozen."""
    simulation = paired(seed)
    simulation.control.is_on = False
    beta = simulation.machines["beta"]
    cut(simulation)
    grant(simulation, beta, 9, "granted")
    beta.power_off()
    simulation.boot(beta)
    simulation.wait_for(lambda: beta.node.backing is not None and beta.daemon is not None)
    simulation.wait_for(lambda: beta.daemon is not None and not beta.daemon.active)
    record = done(simulation, "beta", PROMOTE, "granted", epoch=9).record
    # Its copy is unproven as well, which alone would refuse it.
    refused = record is not None and any(
        finding.code == "PROMOTION_NOT_GRANTED" for finding in record.findings
    )
    simulation.checks.expect("I4", refused, "a grant of an earlier boot counts")
    return end(simulation)


def another_operation(seed: int) -> Simulation:
    """alpha may go on. An old grant to beta is for another operation than the one that comes."""
    simulation = paired(seed)
    simulation.control.is_on = False
    alpha, beta = simulation.machines["alpha"], simulation.machines["beta"]
    grant(simulation, beta, 9, "granted")
    cut(simulation)
    _answer(simulation, alpha, IncidentAnswer.CONTINUE, 10)
    steps(simulation, 100)
    done(simulation, "beta", PROMOTE, "another")
    done(simulation, "beta", PROMOTE, "another-2", epoch=11)
    return simulation


def second_coordinator(seed: int) -> Simulation:
    """Another coordinator, to which nobody listens, gives beta the volume; alpha's own one tells
    alpha to go on. Both with an epoch that is new to whoever hears it."""
    simulation = paired(seed)
    simulation.control.is_on = False
    alpha, beta = simulation.machines["alpha"], simulation.machines["beta"]
    cut(simulation)
    grant(simulation, beta, 9, "granted", "another")
    course = ask(simulation, "beta", PROMOTE, "granted", epoch=9, coordinator="another")
    taken = _answer(simulation, alpha, IncidentAnswer.CONTINUE, 10)
    _must(simulation, taken, "alpha does not take its coordinator's word")
    wait(simulation, course)
    steps(simulation, 200)
    return simulation


def leftover_grant(seed: int) -> Simulation:
    """beta was promoted alone, and its own grant is still there when it loses alpha again: the
    coordinator has chosen alpha meanwhile."""
    simulation = paired(seed)
    simulation.control.is_on = False
    alpha, beta = simulation.machines["alpha"], simulation.machines["beta"]
    cut(simulation)
    beta.grant = (beta.boot_id, "left", beta.wall_s())
    alpha.grant = (alpha.boot_id, "left", alpha.wall_s())
    grant(simulation, beta, 9, "granted")
    wait(simulation, ask(simulation, "beta", PROMOTE, "granted", epoch=9))
    steps(simulation, 200)
    return simulation


def twice_in_one_epoch(seed: int) -> Simulation:
    """A frozen alpha gets two words of one epoch, one for each of two incidents, and forged
    ones."""
    simulation = paired(seed)
    simulation.control.is_on = False
    alpha = simulation.machines["alpha"]
    for number in range(2):
        cut(simulation)
        forged = _answer(simulation, alpha, IncidentAnswer.CONTINUE, 20, nonce="nonce-0")
        simulation.checks.expect("I7", not forged, "an answer to another incident was taken")
        taken = _answer(simulation, alpha, IncidentAnswer.CONTINUE, 9)
        steps(simulation, 100)
        fine = taken if number == 0 else not taken
        simulation.checks.expect("I7", fine, f"epoch 9, word {number + 1}: taken {taken}")
        for host in simulation.link.is_cut:
            simulation.link.is_cut[host] = False
        simulation.wait_for(simulation.in_sync)
    return end(simulation)


def paired(seed: int, *, automatic: bool = False, never_told: tuple[str, ...] = ()) -> Simulation:
    simulation = pair(seed, "alpha", Arbitration.COORDINATOR, never_told)
    simulation.control.begin(automatic=automatic)
    simulation.control.is_on = True
    # Both were looked at before anything happens, as a coordinator that watches does.
    for machine in simulation.machines.values():
        looked(simulation, machine)
    return simulation


def lost(seed: int) -> Simulation:
    """The link is cut under a write; nobody has been answered yet."""
    simulation = paired(seed)
    simulation.control.is_on = False
    cut(simulation)
    alpha = simulation.machines["alpha"]
    simulation.wait_for(lambda: alpha.asked is not None)
    return simulation


def looked(simulation: Simulation, machine: Machine) -> None:
    task = simulation.control.look(machine.name)
    simulation.wait_for(lambda: task.done)


def typed(simulation: Simulation, what: str, host: str) -> None:
    task = simulation.control.command(what, host)
    simulation.wait_for(lambda: task.done)


def serves(simulation: Simulation, machine: Machine) -> bool:
    return simulation.wait_for(lambda: _serves_now(machine))


def _serves_now(machine: Machine) -> bool:
    node, is_up = machine.node, machine.server is ServerState.SERVING
    return node.s.role is Role.PRIMARY and not node.s.susp and is_up


def _answer(
    simulation: Simulation,
    machine: Machine,
    answer: IncidentAnswer,
    epoch: int,
    nonce: str | None = None,
) -> bool:
    """Whether it was taken."""
    simulation.wait_for(lambda: machine.asked is not None and machine.answered_epoch() is None)
    daemon, found = machine.daemon, incident(machine)
    assert daemon is not None
    if found is None:
        return False
    arbitration, volume = daemon.engine.arbitration, simulation.volume
    asked = dataclasses.replace(found, answer=answer, epoch=epoch)
    asked = dataclasses.replace(asked, incident=nonce or found.incident)

    def tell() -> bool:
        try:
            arbitration.answer(volume, asked, COORDINATOR)
        except AgentError:
            return False
        return True

    task = daemon._spawn("answer", tell)
    simulation.wait_for(lambda: task.done)
    return bool(task.result)


def _must_shut_out(simulation: Simulation, machine: Machine) -> None:
    """I11: a host that is frozen or was denied lets no client in."""
    shut = simulation.wait_for(lambda: machine.server is not ServerState.SERVING)
    simulation.checks.expect("I11", shut, f"{machine.name} is frozen and keeps its link")


def _must(simulation: Simulation, fine: bool, text: str) -> None:
    simulation.checks.expect("I26", fine, text)


def end(simulation: Simulation) -> Simulation:
    simulation.control.is_on = True
    heal(simulation)
    for machine in simulation.machines.values():
        if machine.node.s.role is Role.PRIMARY and not machine.node.s.susp:
            simulation.checks.content(machine, f"in the end on {machine.name}")
    finish(simulation)
    return simulation
