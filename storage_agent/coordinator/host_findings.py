"""What is wrong with a volume by what its hosts say of themselves, where `contradictions.py` has
what does not fit together: frozen, without a fallback, served by nobody, split in two. Pure."""

from __future__ import annotations

import dataclasses
import time

from storage_agent.coordinator.deciding.arbiter import GrantKind, cannot_go_on
from storage_agent.coordinator.views import SEAL_CODES, HostView, VolumeView
from storage_agent.model.finding import Finding, Severity, blocker, warning
from storage_agent.model.operation import Marker
from storage_agent.model.replica import Role
from storage_agent.model.split_brain import changed_text, side_text

# Of an agent: that nobody could take over from it.
_WITHOUT_FALLBACK = frozenset({"NO_FALLBACK", "STANDING_ALONE", "SPLIT_BRAIN", "OWN_COPY_OLD"})
# What both hosts of a pair must have been told.
_OF_BOTH = frozenset({"ARBITRATION_NOT_IN_FORCE", "REPLICA_UNSAFE", "REPLICA_ELSEWHERE"})
_HERE = "on the coordinator's machine: "


def host_findings(view: VolumeView) -> tuple[Finding, ...]:
    """With the host's name in front, and remedies for whoever sits at this machine."""
    found = [*_split_brain(view), *_nobody(view)]
    for host in view.hosts:
        found += _own(view, host)
    primary = view.primary()
    has_said_so = any(finding.code in _WITHOUT_FALLBACK for finding in found)
    if primary is not None and primary.is_serving and not has_said_so:
        found += _no_fallback(view, primary)
    return tuple(found)


def _own(view: VolumeView, host: HostView) -> list[Finding]:
    """What the primary's agent says against it; of a secondary only what is wrong with what DRBD
    was told. A split brain is told of both sides at once."""
    given = host.verdict.findings if host.verdict else ()
    told = SEAL_CODES | {"SPLIT_BRAIN"}
    return [
        _from_here(view, host, finding)
        for finding in given
        if finding.severity is not Severity.NOTE
        and finding.code not in told
        and (host.is_primary or finding.code in _OF_BOTH)
    ]


def _from_here(view: VolumeView, host: HostView, finding: Finding) -> Finding:
    remedy = finding.remedy
    if finding.code == "INCIDENT_OPEN":
        grant = view.state.grant if view.state else None
        if grant is not None and grant.kind is GrantKind.CONTINUE and grant.is_withdrawn:
            peer = view.peer_of(host.host).host
            return view.volume.named_in(cannot_go_on(host.host), peer)
        remedy = (
            "does the service run that answers it: systemctl status storage-coordinator; or bring "
            "the link between the hosts back"
        )
    elif remedy.startswith(_HERE):
        remedy = remedy.removeprefix(_HERE)
    elif not remedy.startswith("on "):
        remedy = f"on {host.host}: {remedy}"
    return dataclasses.replace(finding, summary=f"{host.host}: {finding.summary}", remedy=remedy)


def _no_fallback(view: VolumeView, primary: HostView) -> list[Finding]:
    """Where the primary itself has not said so (yet)."""
    peer, name = view.peer_of(primary.host), view.volume.name
    if all(host.is_in_sync for host in view.hosts):
        return []
    if not primary.is_in_sync and primary.replica is not None and primary.replica.peer_has_all():
        # Its own copy is the bad one, which it says itself.
        return []
    return [
        warning(
            "NO_FALLBACK",
            f"if {primary.host} fails now, {peer.host} is not seen to be able to take {name} over",
            measured=", ".join(
                f"{host.host}: {'in sync' if host.is_in_sync else 'not seen in sync'}"
                for host in view.hosts
            ),
            limit="both hosts show both copies in sync",
            remedy=f"storage-coordinator ping {peer.host}"
            if peer.error is not None
            else f"on {peer.host}: storage-agent status {name}",
        )
    ]


def _nobody(view: VolumeView) -> list[Finding]:
    """One host does not answer, and the other one waits."""
    for silent in view.hosts:
        other = view.peer_of(silent.host)
        if silent.error is None or other.role != Role.SECONDARY or other.is_connected is not False:
            continue
        return [
            blocker(
                "NO_PRIMARY",
                f"{silent.host} does not answer, and nobody else is seen to serve "
                f"{view.volume.name}",
                measured=f"{silent.host}: {silent.error.code}, {other.host}: {other.role}",
                limit="one Primary",
                remedy=f"see why: storage-coordinator ping {silent.host}; if it is dead, what "
                f"would be lost: storage-coordinator failover {view.volume.key} --to {other.host} "
                "--dry-run",
            )
        ]
    return []


def _split_brain(view: VolumeView) -> list[Finding]:
    """Both sides at once, which neither host can tell: each counts its own writes alone."""
    if not any(host.replica is not None and host.replica.split_brain for host in view.hosts):
        return []
    name = view.volume.name
    wrote = ", ".join(f"{host.host} has written {_written(host)}" for host in view.hosts)
    return [
        blocker(
            "SPLIT_BRAIN",
            f"both copies of {name} were changed apart from each other, one must be given up: "
            f"since then {wrote}",
            measured="; ".join(f"{host.host}: {_side(host)}" for host in view.hosts),
            limit="one history of the data",
            remedy="copy away what must be kept of the side that is given up; then there: "
            f"storage-agent split-brain {name} --discard; on the other: "
            f"storage-agent split-brain {name} --keep",
        )
    ]


def _written(host: HostView) -> str:
    return changed_text(host.replica) if host.replica else "unknown how much"


def _side(host: HostView) -> str:
    if host.replica is None:
        why = host.error.message if host.error else "its replica is not seen"
        return f"unknown: {why}"
    marker = host.snapshot.marker if host.snapshot else None
    served = "last served: not known there"
    if isinstance(marker, Marker):
        when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(marker.wall_s))
        served = (
            f"last served on {marker.host}, epoch {marker.epoch} count {marker.counter}, {when}"
        )
    return f"{side_text(host.replica)}, {served}"
