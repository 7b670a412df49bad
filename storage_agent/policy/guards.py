"""Is what the volume promises what DRBD would do? Judged by what the kernel has and by what its
handlers would be, never by what is configured. Pure."""

from __future__ import annotations

from storage_agent.model.agreement import Agreement
from storage_agent.model.configuration import AgentConfig, Arbitration, VolumeConfig
from storage_agent.model.finding import Finding
from storage_agent.model.guards import (
    FENCING,
    HANDLER,
    HELPERS,
    SAFETY,
    SAFETY_9,
    TIMEOUTS,
    Guards,
    link_addresses,
)
from storage_agent.model.observed import Unobserved
from storage_agent.model.replica import ConnectionState, Replica, Role
from storage_agent.model.snapshot import VolumeSnapshot
from storage_agent.policy.common import LOOKED_AT, blocker, warning

_WITHOUT = {
    Arbitration.NONE: "this host would freeze, or be promoted without a question",
    Arbitration.COORDINATOR: "this host would go on alone without its word, or be promoted so",
}


def wanted_options(volume: VolumeConfig, driver_version: str) -> dict[str, str]:
    """`section.option` -> value, of those that the kernel is to have."""
    is_9 = driver_version.startswith("9.")
    fencing = "net.fencing" if is_9 else "disk.fencing"
    wanted = {**SAFETY, **TIMEOUTS, fencing: FENCING[volume.arbitration]}
    return {**wanted, **SAFETY_9} if is_9 else wanted


def guard_findings(volume: VolumeConfig, snapshot: VolumeSnapshot) -> tuple[Finding, ...]:
    """Whatever of it is not in force here. Nothing is promised by a replica that is down."""
    guards, replica = snapshot.guards, snapshot.replica
    if volume.replica is None or guards is None or not isinstance(replica, Replica):
        return ()
    if isinstance(guards, Unobserved):
        return (
            blocker(
                "UNOBSERVED",
                f"DRBD's options of {volume.name} could not be looked at: what happens when the "
                "hosts lose each other is not known",
                measured=guards.reason,
                limit=LOOKED_AT,
                remedy=f"see what it says: drbdsetup show {volume.name}",
            ),
        )
    return (
        *_arbitration(volume, guards),
        *_unsafe(volume, guards, replica),
        *_slow(volume, guards),
    )


def arbitration_text(volume: VolumeConfig, snapshot: VolumeSnapshot) -> str:
    """What the kernel and the handlers would do, in a few words; empty where it is as wanted."""
    guards = snapshot.guards
    if not isinstance(guards, Guards):
        return ""
    return "; ".join(finding.measured for finding in _arbitration(volume, guards))


def not_taken(volume: VolumeConfig, snapshot: VolumeSnapshot) -> str:
    """What of the configuration the kernel or the resource file does not have yet; empty: all."""
    guards, replica = snapshot.guards, snapshot.replica
    if not isinstance(guards, Guards) or not isinstance(replica, Replica):
        reason = guards.reason if isinstance(guards, Unobserved) else "the replica is down"
        return f"DRBD's options unknown: {reason}"
    wanted = wanted_options(volume, replica.driver_version)
    if not guards.is_link_current:
        # Until it is connected anew, drbdadm finds no connection by the new addresses.
        wanted = {name: value for name, value in wanted.items() if not name.startswith("net.")}
    differing = guards.different(wanted)
    found = [f"{name} is {seen}, not {wanted}" for name, seen, wanted in differing]
    if not guards.is_file_current:
        found.append("the resource file is another one")
    handler = HANDLER[volume.arbitration]
    if guards.fence_peer != handler:
        found.append(f"fence-peer is {guards.problem or guards.fence_peer or 'none'}")
    return ", ".join(found)


def taking_findings(volume: VolumeConfig, snapshot: VolumeSnapshot) -> tuple[Finding, ...]:
    """May the kernel be told not to freeze any more? Not a Primary without its peer: somebody may
    count on it that it stands still. Nor one whose peer would still be granted the volume by a
    coordinator that cannot see this host, and remembers that it stands still."""
    guards, replica = snapshot.guards, snapshot.replica
    if not isinstance(guards, Guards) or not isinstance(replica, Replica):
        return ()
    stonith = FENCING[Arbitration.COORDINATOR]
    weakens = guards.fencing() == stonith and FENCING[volume.arbitration] != stonith
    if replica.role is not Role.PRIMARY or not weakens:
        return ()
    connected = replica.peer is not None and (replica.peer.connection is ConnectionState.CONNECTED)
    if connected and not replica.suspended:
        return _still_promised(volume, snapshot)
    return (
        blocker(
            "FREEZE_STILL_NEEDED",
            f"{volume.name} has lost its peer, which may have been promoted because this host "
            "stands still: it must not stop doing so now",
            measured=f"fencing {guards.fencing()}, not connected",
            limit="Primary and connected, or Secondary",
            remedy="bring the link to the other host back first: storage-agent status "
            f"{volume.name}",
        ),
    )


def _still_promised(volume: VolumeConfig, snapshot: VolumeSnapshot) -> tuple[Finding, ...]:
    """A coordinator goes by what the host says that would take over."""
    view, key = snapshot.agreement, f"volumes.{volume.name}.arbitration"
    remedy = f"storage-agent status {volume.name}"
    if isinstance(view, Agreement) and view.has_secret:
        if view.silence is None and key not in view.differing:
            return ()
        seen = (
            f"{view.asked}: {view.silence}" if view.silence else f"there {view.differing[key][1]}"
        )
    elif isinstance(view, Unobserved):
        seen = view.reason
    else:
        seen = "the two agents do not compare what they have configured"
        remedy = f"storage-agent pair-secret {volume.name} (it says what to type next)"
    return (
        blocker(
            "FREEZE_STILL_PROMISED",
            f"a coordinator may count on it that {snapshot.host} stands still when it loses its "
            f"peer, and the peer does not say that {volume.name} is configured otherwise",
            measured=seen,
            limit=f'arbitration = "{volume.arbitration}" on both hosts, by their agents\' word',
            remedy=f"the same agent.toml on both hosts, then: {remedy}; then: storage-agent "
            f"assemble {volume.name}",
        ),
    )


def _arbitration(volume: VolumeConfig, guards: Guards) -> tuple[Finding, ...]:
    wanted, fencing = FENCING[volume.arbitration], guards.fencing()
    handler = HANDLER[volume.arbitration]
    seen, limit, remedy = [], [], f"storage-agent assemble {volume.name}"
    if fencing not in ("", wanted):
        seen.append(f"fencing {fencing} in the kernel")
        limit.append(f"fencing {wanted}")
    if guards.problem:
        seen.append(f"the handler would not run: {guards.problem}")
        limit.append(handler)
        remedy = f"see what is wrong, and mend it: drbdadm dump {volume.name}; then: {remedy}"
    elif guards.fence_peer != handler:
        seen.append(f"handler {guards.fence_peer}")
        limit.append(handler)
    if guards.helper not in HELPERS:
        seen.append(f"the kernel calls {guards.helper or 'nobody'}")
        limit.append("/sbin/drbdadm")
        remedy = f"echo /sbin/drbdadm > /sys/module/drbd/parameters/usermode_helper; then: {remedy}"
    if not seen:
        return ()
    return (
        blocker(
            "ARBITRATION_NOT_IN_FORCE",
            f'arbitration = "{volume.arbitration}" is configured for {volume.name}, and DRBD does '
            f"not do so: when the hosts lose each other, {_WITHOUT[volume.arbitration]}",
            measured="; ".join(seen),
            limit="; ".join(limit),
            remedy=remedy,
        ),
    )


def _unsafe(volume: VolumeConfig, guards: Guards, replica: Replica) -> tuple[Finding, ...]:
    wanted = SAFETY | (SAFETY_9 if replica.driver_version.startswith("9.") else {})
    return tuple(
        blocker(
            "REPLICA_UNSAFE",
            f"DRBD's option {name} of {volume.name} does not guard the data",
            measured=f"{name} {seen} in the kernel",
            limit=f"{name} {value}",
            remedy=f"storage-agent assemble {volume.name}",
        )
        for name, seen, value in guards.different(wanted)
    )


def _slow(volume: VolumeConfig, guards: Guards) -> tuple[Finding, ...]:
    found = guards.different(TIMEOUTS)
    if not found:
        return ()
    return (
        warning(
            "REPLICA_TIMEOUT",
            f"DRBD's time-outs of {volume.name} are not those that were chosen: a dead peer is "
            "noticed late, or a slow one taken for dead",
            measured=", ".join(f"{name} {seen}" for name, seen, _ in found),
            limit=", ".join(f"{name} {value}" for name, _, value in found),
            remedy=f"storage-agent assemble {volume.name}",
        ),
    )


def place_findings(
    config: AgentConfig, volume: VolumeConfig, snapshot: VolumeSnapshot
) -> tuple[Finding, ...]:
    """Does DRBD work with the disk, the minor and the addresses that are configured? These it
    takes only anew."""
    guards, name = snapshot.guards, volume.name
    if not isinstance(guards, Guards) or volume.replica is None:
        return ()
    local, remote = link_addresses(config, volume)
    anew = (
        f"where the configuration is right: storage-agent assemble {name} (it writes it down); "
        f"then, on the secondary first: drbdadm adjust {name} (it parts from the peer for a moment)"
    )
    same_minor = f"set minor = {guards.minor} in agent.toml on both hosts"
    measured = (
        ("the minor", guards.minor, volume.replica.minor, same_minor),
        ("this host's address", guards.local, local, anew),
        ("the peer's address", guards.remote, remote, anew),
    )
    return tuple(
        warning(
            "REPLICA_ELSEWHERE",
            f"{what} of {name} in DRBD is another one than configured",
            measured=f"{seen}",
            limit=f"{wanted}",
            remedy=remedy,
        )
        for what, seen, wanted, remedy in measured
        if seen not in (None, "", wanted)
    )
