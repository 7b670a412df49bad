"""Scenes of what the simulation has found in the real code: each was a violation once."""

from __future__ import annotations

from storage_agent.model.configuration import Arbitration
from storage_agent.model.replica import DiskState
from tests.simulation.daemon import Daemon
from tests.simulation.ending import finish
from tests.simulation.faults import POINT_KINDS
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
    must,
    pair,
    steps,
    strike_at,
)


def both_granted(seed: int) -> Simulation:
    """Arbitration by a coordinator: both hosts are asked after the link was cut, and each agent
    grants itself the promotion."""
    simulation = pair(seed, None, Arbitration.COORDINATOR)
    cut(simulation)
    done(simulation, "alpha", PROMOTE, "one")
    done(simulation, "beta", PROMOTE, "other")
    return simulation


def decided_long_ago(seed: int) -> Simulation:
    """A promotion is decided, the daemon is killed; the peer comes back and is promoted; the link
    is cut; the daemon starts and goes on with what was decided."""
    simulation = pair(seed, "alpha")
    alpha, beta = simulation.machines["alpha"], simulation.machines["beta"]
    alpha.power_off()
    simulation.wait_for(lambda: not beta.node.session)
    strike_at(simulation, "beta", "perform grant-promotion", POINT_KINDS[0])
    ask(simulation, "beta", PROMOTE, "long-ago", peer_is_off="alpha")
    simulation.wait_for(lambda: beta.daemon is None)
    simulation.forget_restarts()
    simulation.boot(alpha)
    simulation.wait_for(lambda: alpha.daemon is not None and alpha.node.unbroken)
    simulation.wait_for(lambda: alpha.daemon is not None and not alpha.daemon.active)
    must(simulation, done(simulation, "alpha", PROMOTE, "again"))
    cut(simulation)
    simulation.restart_later(beta)
    course = simulation.courses["long-ago"]
    simulation.wait_for(lambda: course.record is not None)
    return simulation


def killed_before_epoch(seed: int) -> Simulation:
    """The daemon is killed between the journal's record and the epoch's own file."""
    simulation = pair(seed, None)
    alpha = simulation.machines["alpha"]

    def strike(daemon: Daemon, name: str, before: bool) -> str:
        is_there = name == "replace" and b'"planned"' in alpha.files.get("operation-op", b"")
        if not is_there or daemon.machine is not alpha:
            return ""
        simulation.faults.crash_at = lambda d, n, b: ""
        return POINT_KINDS[0]

    simulation.faults.crash_at = strike
    course = ask(simulation, "alpha", PROMOTE, "op")
    simulation.wait_for(lambda: course.record is not None)
    finish(simulation)
    return simulation


def torn_record(seed: int) -> Simulation:
    """The power goes in the middle of a record; the host comes back and tells how it ended."""
    simulation = pair(seed, None)
    strike_at(simulation, "alpha", "perform mount", POINT_KINDS[1])
    course = ask(simulation, "alpha", PROMOTE, "op")
    alpha = simulation.machines["alpha"]
    simulation.wait_for(lambda: not alpha.powered)
    alpha.files["operation-op"] += b'{"phase": "do'
    simulation.boot(alpha)
    simulation.wait_for(lambda: course.record is not None)
    finish(simulation)
    return simulation


def inconsistent_primary(seed: int) -> Simulation:
    """alpha, Primary, loses its disk and gets it back; the link is cut when the resync has ended
    for alpha and not for beta, which knows it as Inconsistent and asks for no declaration."""
    simulation = pair(seed, "alpha")
    alpha, beta = simulation.machines["alpha"], simulation.machines["beta"]
    alpha.lose_disk()
    steps(simulation, 600)
    alpha.repair_array()
    alpha.assemble()
    alpha.kernel("adjust", alpha.adjust)
    simulation.wait_for(
        lambda: beta.node.s.conn == "SyncSource" and alpha.node.s.disk is DiskState.UP_TO_DATE
    )
    cut(simulation)
    done(simulation, "beta", PROMOTE, "unasked")
    return simulation


def diskless_peer(seed: int) -> Simulation:
    """beta went on alone, then lost its disk and is connected again: alpha is asked."""
    simulation = pair(seed, "beta")
    beta = simulation.machines["beta"]
    cut(simulation)
    steps(simulation, 60)
    must(simulation, done(simulation, "beta", DEMOTE, "aside", **going_down("beta")))
    beta.lose_disk()
    for host in simulation.link.is_cut:
        simulation.link.is_cut[host] = False
    simulation.wait_for(lambda: beta.node.s.conn == "Connected")
    done(simulation, "alpha", PROMOTE, "older")
    return simulation


def failover_resumed(seed: int) -> Simulation:
    """alpha loses its power, beta is promoted on a person's word; its daemon is killed once it is
    Primary."""
    simulation = pair(seed, "alpha")
    simulation.machines["alpha"].power_off()
    beta = simulation.machines["beta"]
    simulation.wait_for(lambda: not beta.node.session)
    strike_at(simulation, "beta", "perform mount", POINT_KINDS[0])
    course = ask(simulation, "beta", PROMOTE, "over", peer_is_off="alpha")
    simulation.wait_for(lambda: course.record is not None)
    must(simulation, course)
    return simulation


def old_disk_back(seed: int) -> Simulation:
    """alpha, Primary, loses its disk while beta has everything; beta's new generation does not get
    through any more. alpha's array is repaired, and alpha is asked to assemble."""
    simulation = pair(seed, "alpha")
    alpha = simulation.machines["alpha"]
    simulation.wait_for(lambda: any(r.net == "ok" for r in alpha.node.requests))
    alpha.lose_disk()
    cut(simulation)
    alpha.repair_array()
    alpha.assemble()
    done(simulation, "alpha", ASSEMBLE, "again")
    must(simulation, done(simulation, "alpha", DEMOTE, "aside", **going_down("alpha")))
    return simulation


def parted_unheard(seed: int) -> Simulation:
    """beta is disconnected by hand. alpha, Primary, lets it go and serves on; that it has is lost
    on the way, and beta stays UpToDate. alpha dies, and beta is granted the volume."""
    simulation = pair(seed, "alpha", Arbitration.COORDINATOR)
    alpha, beta = simulation.machines["alpha"], simulation.machines["beta"]
    beta.kernel("disconnect", lambda: beta.node.link.disconnect(beta.node))
    simulation.wait_for(lambda: not alpha.node.session)
    cut(simulation)
    steps(simulation, 200)
    alpha.power_off()
    beta.kernel("adjust", beta.adjust)
    steps(simulation, 20)
    grant(simulation, beta, 9, "over")
    done(simulation, "beta", PROMOTE, "over", epoch=9)
    return simulation


def newer_copy_lost(seed: int) -> Simulation:
    """alpha, Primary, is cut off and frozen; beta is granted the volume and writes, is demoted and
    loses its disk. Then the link comes back."""
    simulation = pair(seed, "alpha", Arbitration.COORDINATOR)
    beta = simulation.machines["beta"]
    cut(simulation)
    grant(simulation, beta, 9, "over")
    must(simulation, done(simulation, "beta", PROMOTE, "over", epoch=9))
    steps(simulation, 100)
    must(simulation, done(simulation, "beta", DEMOTE, "aside", **going_down("beta")))
    beta.lose_disk()
    steps(simulation, 60)
    for host in simulation.link.is_cut:
        simulation.link.is_cut[host] = False
    steps(simulation, 100)
    simulation.checks.mounted(simulation.machines["alpha"])
    return simulation


def turned_away_without_disk(seed: int) -> Simulation:
    """beta is away while alpha goes on, and alpha loses its disk. beta's older copy connects to it
    and is turned away, as each try ends; then alpha dies."""
    simulation = pair(seed, "alpha")
    alpha, beta = simulation.machines["alpha"], simulation.machines["beta"]
    beta.power_off()
    simulation.wait_for(lambda: not alpha.node.session)
    steps(simulation, 60)
    alpha.lose_disk()
    simulation.boot(beta)
    simulation.wait_for(lambda: beta.node.s.pdsk is DiskState.DISKLESS)
    simulation.wait_for(lambda: beta.daemon is not None and not beta.daemon.active)
    alpha.power_off()
    simulation.wait_for(lambda: not beta.node.session)
    done(simulation, "beta", PROMOTE, "stale", peer_is_off="alpha")
    return simulation
