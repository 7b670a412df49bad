"""Are both hosts configured alike? Asked before the one that serves lets go: afterwards nobody
would serve, or another address. Pure."""

from __future__ import annotations

import dataclasses

from storage_agent.model.agreement import (
    Agreement,
    Silence,
    copy_secret,
    disagreement,
    secret_path,
)
from storage_agent.model.configuration import Arbitration, VolumeConfig
from storage_agent.model.finding import Finding, Severity
from storage_agent.model.observed import Unobserved
from storage_agent.model.operation import SHUTDOWN_ORIGIN, OperationRequest
from storage_agent.model.plan import OperationKind
from storage_agent.model.replica import ConnectionState, Replica, Role
from storage_agent.model.snapshot import VolumeSnapshot
from storage_agent.policy.common import blocker, warning


def needs_agreement(snapshot: VolumeSnapshot, request: OperationRequest) -> bool:
    """Whether the decision asks the peer's agent anew: where one of the two takes over from the
    other. A host that goes down waits for nobody, and lets go in any case."""
    replica = snapshot.replica
    if not isinstance(replica, Replica) or not _is_connected(replica):
        return False
    if request.kind is OperationKind.ASSEMBLE:
        # It may have to tell the kernel not to freeze any more: policy/guards.py.
        return replica.role is Role.PRIMARY
    if request.kind is OperationKind.DEMOTE:
        return replica.role is Role.PRIMARY and request.origin != SHUTDOWN_ORIGIN
    # A primary that is promoted again takes over from nobody.
    return request.kind is OperationKind.PROMOTE and replica.role is not Role.PRIMARY


def agreement_findings(
    volume: VolumeConfig, snapshot: VolumeSnapshot, peer: str, *, lets_go: bool
) -> tuple[Finding, ...]:
    """peer: the other host's name.  lets_go: this host would give the role away; then it is a
    blocker that the peer does not answer, which without its daemon could not take over either."""
    view, replica = snapshot.agreement, snapshot.replica
    if isinstance(view, Agreement) and not view.has_secret:
        return (_no_secret(volume, peer),)
    if view is None or not isinstance(replica, Replica) or not _is_connected(replica):
        # It matters where one takes over from the other, not where one of them is gone.
        return ()
    if isinstance(view, Unobserved):
        look = f"see what keeps the agent from asking: storage-agent status {volume.name}"
        return (_not_compared(volume, peer, view.reason, look, lets_go=lets_go),)
    found = judged(volume, snapshot.host, peer, view, lets_go=lets_go)
    if lets_go and view.refusal and replica.peer_has_all():
        # Without all of the data it is no host to let go to anyway.
        found += (_would_refuse(volume, peer, view),)
    return found


def judged(
    volume: VolumeConfig, host: str, peer: str, view: Agreement, *, lets_go: bool = False
) -> tuple[Finding, ...]:
    """Of one comparison, wherever it was made."""
    if not view.has_secret:
        return (_no_secret(volume, peer),)
    if view.silence is not None:
        detail = f" ({view.detail})" if view.detail else ""
        seen = f"{view.asked}: {view.silence}{detail}"
        remedy = _remedy(volume, host, peer, view, view.silence)
        return (_not_compared(volume, peer, seen, remedy, lets_go=lets_go),)
    if view.differing:
        return (disagreement(volume.name, host, peer, view.differing),)
    return ()


def as_meant(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """For a demote by which a person has named what nobody shall serve: nobody has to take over."""
    return tuple(dataclasses.replace(f, severity=Severity.WARNING) for f in findings)


def _would_refuse(volume: VolumeConfig, peer: str, view: Agreement) -> Finding:
    return blocker(
        "PEER_WOULD_REFUSE",
        f"{peer} could not take {volume.name} over: once this host has let go, nobody would "
        "serve it",
        measured=f"{peer} says: {view.refusal}",
        limit=f"a promotion on {peer} that nothing is in the way of",
        remedy=f"see there what is to be mended: storage-agent status {volume.name}",
    )


def _is_connected(replica: Replica) -> bool:
    return replica.peer is not None and replica.peer.connection is ConnectionState.CONNECTED


def _no_secret(volume: VolumeConfig, peer: str) -> Finding:
    found = warning(
        "NO_PAIR_SECRET",
        f"whether {peer} has {volume.name} configured as this host has is not compared: it would "
        "be found out once nobody serves",
        measured=f"no {secret_path(volume.name)}",
        limit="the same secret on both hosts",
        remedy=f"on one of the two hosts: storage-agent pair-secret {volume.name} (it says what to "
        "type next)",
    )
    if volume.arbitration is Arbitration.COORDINATOR:
        # The coordinator compares both itself before each move.
        return dataclasses.replace(found, severity=Severity.NOTE)
    return found


def _not_compared(
    volume: VolumeConfig, peer: str, seen: str, remedy: str, *, lets_go: bool
) -> Finding:
    make = blocker if lets_go else warning
    return make(
        "CONFIG_NOT_COMPARED",
        f"whether {peer} has {volume.name} configured as this host has could not be compared",
        measured=seen,
        limit=f"an answer of {peer}'s agent",
        remedy=remedy,
    )


def _remedy(volume: VolumeConfig, host: str, peer: str, view: Agreement, silence: Silence) -> str:
    name, path = volume.name, secret_path(volume.name)
    copy = f"on {host}: {copy_secret(name, peer)}"
    return {
        Silence.SECRET_UNUSABLE: f"on {host}: chown root: {path}; chmod 600 {path}; where it is "
        f"damaged: rm {path}; storage-agent pair-secret {name}",
        Silence.REFUSED: f"on {peer}: systemctl start storage-agentd; where that runs, {peer} has "
        f"no secret yet: {copy}",
        Silence.UNREACHABLE: f"on {peer}: systemctl status storage-agentd; where that runs, a "
        f"firewall must let {host} in there, by TCP at {view.asked}",
        Silence.TURNED_AWAY: f"{peer} does not know this host's address: compare [hosts] of "
        "agent.toml on both: storage-agent config show",
        Silence.DISBELIEVED: f"the two hosts have not the same secret: {copy}",
    }[silence]
