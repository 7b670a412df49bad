"""Puts the policies together for one request: what speaks against it."""

from __future__ import annotations

import dataclasses

from storage_agent.model.configuration import AgentConfig, VolumeConfig
from storage_agent.model.creation import Creation
from storage_agent.model.finding import Finding
from storage_agent.model.operation import OperationRequest
from storage_agent.model.plan import OperationKind
from storage_agent.model.ports import HostPort
from storage_agent.model.snapshot import Facet, VolumeSnapshot
from storage_agent.policy.agreement import needs_agreement
from storage_agent.policy.arbitration import opening_findings
from storage_agent.policy.array.assembly import assembly_findings, degraded_start_findings
from storage_agent.policy.common import unobserved, wrong_primary
from storage_agent.policy.creating.abandon import Begun, abandon_findings, unfinished_findings
from storage_agent.policy.creating.creation import creation_findings
from storage_agent.policy.creating.remake import remake_findings
from storage_agent.policy.demotion import demotion_findings, leaving_findings
from storage_agent.policy.legible import named
from storage_agent.policy.liveguard import needs_use, service_findings
from storage_agent.policy.mount_point import mount_point_findings
from storage_agent.policy.promotion import promotion_findings
from storage_agent.policy.standalone import (
    rejoin_findings,
    split_brain_findings,
    standalone_findings,
)

_WANTS_A_WHOLE_VOLUME = frozenset(
    {
        OperationKind.ASSEMBLE,
        OperationKind.ASSEMBLE_DEGRADED,
        OperationKind.REMAKE,
        OperationKind.STANDALONE,
        OperationKind.REJOIN,
        OperationKind.SPLIT_BRAIN,
    }
)


def findings_for(
    config: AgentConfig,
    volume: VolumeConfig,
    snapshot: VolumeSnapshot,
    request: OperationRequest,
    host: HostPort,
    *,
    is_granted: bool,
    creation: Creation | None,
) -> tuple[Finding, ...]:
    """Blockers refuse the request, warnings go with its answer. is_granted: the coordinator has
    said that the peer will not write, to exactly this request.  creation: of the volume, where one
    has begun on this host and did not come to its end.

    What costs too much for every look is looked at here: for `create` the disks themselves.
    """
    other = config.peer_of(config.host)
    peer = other.name if other else ""
    seen = snapshot.decidable()
    found = _of_its_kind(
        config, volume, seen, request, host, peer, is_granted=is_granted, creation=creation
    )
    return named(snapshot, (*found, *wrong_primary(volume, seen, request, peer)))


def _of_its_kind(
    config: AgentConfig,
    volume: VolumeConfig,
    snapshot: VolumeSnapshot,
    request: OperationRequest,
    host: HostPort,
    peer: str,
    *,
    is_granted: bool,
    creation: Creation | None,
) -> tuple[Finding, ...]:
    if creation is not None and request.kind is OperationKind.CREATE:
        # Its device is this operation's own, and udev looks at it as it comes up.
        snapshot = dataclasses.replace(snapshot, use=None)
    else:
        snapshot = _looked_closely(volume, snapshot, request, host)
    begun = None
    if creation is not None and request.kind in (OperationKind.CREATE, OperationKind.ABANDON):
        role = request.options.get("role", "")
        made = host.made(volume)
        begun = Begun(creation=creation, made=made, snapshot=snapshot, role=role)
    elif creation is not None and request.kind in _WANTS_A_WHOLE_VOLUME:
        return unfinished_findings(volume, creation)
    if request.kind is OperationKind.ABANDON:
        used = _used(volume, snapshot, begun)
        return (*unobserved(snapshot), *used, *abandon_findings(volume, snapshot, begun))
    if request.kind is OperationKind.ASSEMBLE:
        return assembly_findings(volume, snapshot)
    if request.kind is OperationKind.ASSEMBLE_DEGRADED:
        return degraded_start_findings(volume, snapshot)
    if request.kind is OperationKind.REMAKE:
        return remake_findings(volume, snapshot, peer)
    if request.kind is OperationKind.DEMOTE:
        return demotion_findings(volume, snapshot, request, peer)
    if request.kind is OperationKind.LEAVE:
        return leaving_findings(volume, snapshot, request, peer)
    if request.kind is OperationKind.PROMOTE:
        return promotion_findings(volume, snapshot, request, peer, is_granted=is_granted)
    if request.kind is OperationKind.OPEN_LINK:
        return opening_findings(volume, snapshot)
    if request.kind is OperationKind.CLOSE_LINK:
        return ()
    if request.kind is OperationKind.STANDALONE:
        return standalone_findings(volume, snapshot, peer)
    if request.kind is OperationKind.REJOIN:
        return rejoin_findings(volume, snapshot, peer)
    if request.kind is OperationKind.SPLIT_BRAIN:
        return split_brain_findings(volume, snapshot, request, peer)
    disks = host.disks(volume.array.disks.get(config.host, ()))
    surroundings = host.surroundings()
    return (
        *_used(volume, snapshot, begun),
        *(f for f in mount_point_findings(volume, snapshot) if f.measured != "missing"),
        *creation_findings(
            config, volume, disks, surroundings, begun, request.options.get("role", "")
        ),
    )


def _used(
    volume: VolumeConfig, snapshot: VolumeSnapshot, begun: Begun | None
) -> tuple[Finding, ...]:
    """An interrupted `create --first` may have left the role behind; that is no use."""
    used = service_findings(volume, snapshot)
    return used if begun is None else tuple(f for f in used if f.code != "VOLUME_PRIMARY")


def _looked_closely(
    volume: VolumeConfig, snapshot: VolumeSnapshot, request: OperationRequest, host: HostPort
) -> VolumeSnapshot:
    """With what only this decision needs."""
    if needs_agreement(snapshot, request):
        agreement = host.observe(volume, frozenset({Facet.AGREEMENT})).agreement
        snapshot = dataclasses.replace(snapshot, agreement=agreement)
    if needs_use(volume, snapshot, request):
        use = host.observe(volume, frozenset({Facet.USE})).use
        return dataclasses.replace(snapshot, use=use)
    if request.kind is OperationKind.PROMOTE:
        content = host.observe(volume, frozenset({Facet.CONTENT})).content
        return dataclasses.replace(snapshot, content=content)
    return snapshot
