"""Short situations, each made for what one checker has to see. Without a seeded bug all are
clean."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

from tests.simulation.arbitrated import (
    another_operation,
    frozen_without_disk,
    granted_to_primary,
    granted_to_secondary,
    killed_while_answering,
    leftover_grant,
    never_told,
    nobody_answers,
    primary_dies,
    rebooted_with_grant,
    second_coordinator,
    short_pauses,
    thawed_by_diskless,
    told_while_serving,
    turned_away,
    twice_in_one_epoch,
)
from tests.simulation.breaking import (
    end_not_recorded,
    failing_steps,
    killed_then_failing,
    plain_reboot,
    power_cut_in_promote,
    random_schedules,
    restarted_and_brought_up,
    stale_member,
)
from tests.simulation.checkers import Violation
from tests.simulation.coordinated import (
    flooding_host,
    lying_epoch,
    old_sight,
    record_restored,
    sole_dies,
)
from tests.simulation.differing import OTHER_ADDRESS
from tests.simulation.ending import finish
from tests.simulation.ends import at_rest, crashed, hanging_step, one_left
from tests.simulation.forgetting import (
    broken_fence,
    forgotten_and_asked,
    replayed_below_epoch,
    truncated_below_newer,
    truncated_newest,
)
from tests.simulation.found import (
    both_granted,
    decided_long_ago,
    diskless_peer,
    failover_resumed,
    inconsistent_primary,
    killed_before_epoch,
    newer_copy_lost,
    old_disk_back,
    parted_unheard,
    torn_record,
    turned_away_without_disk,
)
from tests.simulation.leaving import (
    standalone_and_dead,
    standalone_by_word,
    standalone_resumed,
    standalone_unreached,
    standalone_wrong,
    there_and_back,
)
from tests.simulation.network import answered_twice, forged
from tests.simulation.schedule import Simulation
from tests.simulation.situation import (
    DEMOTE,
    PROMOTE,
    ask,
    cut,
    done,
    going_down,
    must,
    pair,
    steps,
    wait,
)


def switchover(seed: int) -> Simulation:
    """Planned, there and back, every request three times, old epochs between."""
    simulation = pair(seed, "alpha")
    epochs = iter(range(6, 20))
    for source, target in (("alpha", "beta"), ("beta", "alpha")):
        for host, kind in ((source, DEMOTE), (target, PROMOTE)):
            epoch = next(epochs)
            course = done(simulation, host, kind, f"{kind}-{host}", epoch=epoch)
            must(simulation, course)
            for _ in range(2):
                done(simulation, host, kind, f"{kind}-{host}", epoch=epoch)
            for number, old in (("old", epoch - 1), ("same", epoch)):
                other = PROMOTE if kind is DEMOTE else DEMOTE
                stale = ask(simulation, host, other, f"{number}-{kind}-{host}", epoch=old)
                stale.stale = True
                wait(simulation, stale)
            steps(simulation, 30)
    finish(simulation)
    return simulation


def together(seed: int) -> Simulation:
    """Two requests at once on one host."""
    simulation = pair(seed, "alpha")
    first = ask(simulation, "alpha", DEMOTE, "first")
    simulation.wait_for(lambda: bool(first.performed))
    second = ask(simulation, "alpha", PROMOTE, "second")
    third = ask(simulation, "alpha", DEMOTE, "third")
    for course in (first, second, third):
        wait(simulation, course)
    return simulation


def cut_and_promote(seed: int) -> Simulation:
    """The link is cut, alpha goes on; beta is asked without any declaration."""
    simulation = pair(seed, "alpha")
    cut(simulation)
    steps(simulation, 40)
    ask(simulation, "beta", PROMOTE, "wrong")
    steps(simulation, 400)
    for machine in simulation.machines.values():
        simulation.checks.content(machine, machine.name) if machine.mounted else None
    return simulation


def failover(seed: int) -> Simulation:
    """alpha loses its power, beta is promoted by a true declaration."""
    simulation = pair(seed, "alpha")
    simulation.machines["alpha"].power_off()
    node = simulation.machines["beta"].node
    simulation.wait_for(lambda: not node.session)
    must(simulation, done(simulation, "beta", PROMOTE, "over", peer_is_off="alpha"))
    steps(simulation, 60)
    finish(simulation)
    return simulation


def peer_disk_hole(seed: int) -> Simulation:
    """beta's disk fails with the link up, alpha goes on and dies, the disk comes back."""
    simulation = pair(seed, "alpha")
    _lose_disk_and_peer(simulation)
    done(simulation, "beta", PROMOTE, "stale", peer_is_off="alpha")
    return simulation


def blind_hole(seed: int) -> Simulation:
    """The same, and the agent's watch over the events is broken meanwhile."""
    simulation = pair(seed, "alpha")
    beta = simulation.machines["beta"]
    daemon = beta.daemon
    assert daemon is not None
    beta.node.watch = lambda view: None
    _lose_disk_and_peer(simulation)
    beta.node.watch = daemon.saw
    daemon.lose_sight()
    done(simulation, "beta", PROMOTE, "stale", peer_is_off="alpha")
    return simulation


def blind_restart(seed: int) -> Simulation:
    """The same, while the agent is dead; it starts when all is over."""
    simulation = pair(seed, "alpha")
    beta = simulation.machines["beta"]
    assert beta.daemon is not None
    beta.daemon.kill()
    _lose_disk_and_peer(simulation)
    simulation.restart_later(beta)
    done(simulation, "beta", PROMOTE, "stale", peer_is_off="alpha")
    return simulation


def _lose_disk_and_peer(simulation: Simulation) -> None:
    """beta's disk goes, alpha goes on and loses its power, the disk is attached again."""
    alpha, beta = simulation.machines["alpha"], simulation.machines["beta"]
    beta.lose_disk()
    steps(simulation, 80)
    alpha.power_off()
    simulation.wait_for(lambda: not beta.node.session)
    beta.repair_array()
    beta.kernel("adjust", beta.adjust)
    simulation.wait_for(lambda: beta.node.backing is not None)


def paused_primary(seed: int) -> Simulation:
    """alpha stands still with a write under way, beta is asked; then alpha goes on."""
    simulation = pair(seed, "alpha")
    alpha, beta = simulation.machines["alpha"], simulation.machines["beta"]
    simulation.wait_for(lambda: any(r.local == "ok" and not r.ok for r in alpha.node.requests))
    simulation.world.frozen_hosts["alpha"] = simulation.world.now_s + 60.0
    simulation.wait_for(lambda: not beta.node.session)
    done(simulation, "beta", PROMOTE, "wrong")
    steps(simulation, 300)
    simulation.world.frozen_hosts.clear()
    simulation.checks.content(alpha, "alpha goes on")
    return simulation


def stale_reboot(seed: int) -> Simulation:
    """beta is away while alpha goes on; alpha dies, beta boots alone."""
    simulation = pair(seed, "alpha")
    alpha, beta = simulation.machines["alpha"], simulation.machines["beta"]
    beta.power_off()
    simulation.wait_for(lambda: not alpha.node.session)
    steps(simulation, 60)
    alpha.power_off()
    simulation.boot(beta)
    simulation.wait_for(lambda: beta.node.backing is not None and beta.daemon is not None)
    simulation.wait_for(lambda: beta.daemon is not None and not beta.daemon.active)
    done(simulation, "beta", PROMOTE, "stale", peer_is_off="alpha")
    return simulation


def resync_target(seed: int) -> Simulation:
    """beta is in the middle of a resync and is asked; alpha is secondary."""
    simulation = pair(seed, "alpha")
    alpha, beta = simulation.machines["alpha"], simulation.machines["beta"]
    beta.power_off()
    simulation.wait_for(lambda: not alpha.node.session)
    steps(simulation, 1500)
    must(simulation, done(simulation, "alpha", DEMOTE, "down", **going_down("alpha")))
    simulation.boot(beta)
    simulation.wait_for(lambda: beta.node.s.conn in ("WFBitMapT", "SyncTarget"))
    simulation.wait_for(lambda: beta.daemon is not None and not beta.daemon.active)
    done(simulation, "beta", PROMOTE, "early")
    return simulation


def old_marker(seed: int) -> Simulation:
    """DRBD calls a copy UpToDate that is older than what this host has served (LINBIT/drbd#145)."""
    simulation = pair(seed, None)
    beta = simulation.machines["beta"]
    noted = json.loads(beta.files["marker-data"])
    beta.files["marker-data"] = json.dumps({**noted, "epoch": 9, "counter": 50}).encode()
    done(simulation, "beta", PROMOTE, "old")
    return simulation


def marker_gone(seed: int) -> Simulation:
    """A user has removed the agent's folder: refused on both hosts, then served on a person's word,
    which is for one host and is not asked for again."""
    simulation = pair(seed, None)
    for machine in simulation.machines.values():
        machine.disk.durable.pop("marker")
    for host in ("alpha", "beta"):
        done(simulation, host, PROMOTE, f"gone-{host}")
        done(simulation, host, PROMOTE, f"other-{host}", marker_lost="gamma/data")
    must(simulation, done(simulation, "beta", PROMOTE, "word", marker_lost="beta/data"))
    must(simulation, done(simulation, "beta", DEMOTE, "back"))
    must(simulation, done(simulation, "alpha", PROMOTE, "over"))
    return simulation


def configured_apart(seed: int) -> Simulation:
    """The hosts differ: alpha is asked to let go and beta to take over, and neither does; once they
    are alike both do. A peer whose agent is silent is not let go to either."""
    simulation = pair(seed, "alpha")
    simulation.has_secret, simulation.differing = True, OTHER_ADDRESS
    ask(simulation, "beta", PROMOTE, "apart-beta", options={"wait_s": "30"})
    done(simulation, "alpha", DEMOTE, "apart")
    must(simulation, done(simulation, "alpha", PROMOTE, "serves-on"))
    simulation.differing = {}
    beta = simulation.machines["beta"]
    assert beta.daemon is not None
    beta.daemon.kill()
    done(simulation, "alpha", DEMOTE, "silent")
    must(simulation, done(simulation, "alpha", PROMOTE, "still-serves"))
    simulation.restart_later(beta)
    simulation.wait_for(lambda: beta.daemon is not None and beta.daemon.started)
    must(simulation, done(simulation, "alpha", DEMOTE, "alike"))
    must(simulation, done(simulation, "beta", PROMOTE, "alike-beta"))
    return simulation


SCENES: dict[str, Callable[[int], Simulation | Iterator[Simulation]]] = {
    scene.__name__: scene
    for scene in (
        switchover,
        together,
        cut_and_promote,
        failover,
        failover_resumed,
        peer_disk_hole,
        blind_hole,
        blind_restart,
        paused_primary,
        stale_reboot,
        resync_target,
        old_marker,
        marker_gone,
        configured_apart,
        failing_steps,
        killed_then_failing,
        power_cut_in_promote,
        restarted_and_brought_up,
        stale_member,
        plain_reboot,
        both_granted,
        decided_long_ago,
        inconsistent_primary,
        diskless_peer,
        killed_before_epoch,
        newer_copy_lost,
        old_disk_back,
        parted_unheard,
        torn_record,
        granted_to_primary,
        granted_to_secondary,
        frozen_without_disk,
        primary_dies,
        short_pauses,
        never_told,
        told_while_serving,
        nobody_answers,
        killed_while_answering,
        rebooted_with_grant,
        second_coordinator,
        sole_dies,
        record_restored,
        old_sight,
        lying_epoch,
        flooding_host,
        turned_away,
        turned_away_without_disk,
        thawed_by_diskless,
        another_operation,
        leftover_grant,
        twice_in_one_epoch,
        standalone_and_dead,
        standalone_by_word,
        standalone_resumed,
        standalone_unreached,
        standalone_wrong,
        there_and_back,
        end_not_recorded,
        truncated_below_newer,
        truncated_newest,
        forgotten_and_asked,
        replayed_below_epoch,
        broken_fence,
        hanging_step,
        crashed,
        at_rest,
        one_left,
        forged,
        answered_twice,
        random_schedules,
    )
}


def violations(name: str, seed: int) -> Iterator[tuple[Violation, ...]]:
    """Of each of the scene's simulations; lying schedules do not count."""
    shown = SCENES[name](seed)
    for simulation in (shown,) if isinstance(shown, Simulation) else shown:
        if not simulation.is_lying:
            yield tuple(simulation.checks.violations)
