"""Where the two hosts of a volume, or they and our record, do not agree. Pure."""

from __future__ import annotations

import dataclasses

from storage_agent.coordinator.deciding.arbiter import GrantKind, claim_refusal, coordinator_refusal
from storage_agent.coordinator.deciding.epochs import believed, implausible
from storage_agent.coordinator.settings import VolumeSettings
from storage_agent.coordinator.views import SEAL_CODES, HostView, VolumeView, not_adopted
from storage_agent.model.finding import Finding, blocker, warning
from storage_agent.model.incident import REBOOT_FROZEN
from storage_agent.model.replica import DiskState, Role


def contradictions(view: VolumeView) -> tuple[Finding, ...]:
    """Everything in which the two hosts, or they and our record, do not agree, and what keeps
    that from being told."""
    return (
        *_unknown_hosts(view),
        *disagreements(view),
        *_unfinished(view),
        *seal_findings(view),
    )


def disagreements(view: VolumeView) -> tuple[Finding, ...]:
    """In what the two hosts, as far as they answer, contradict each other or our record."""
    return (
        *_roles(view),
        *_views_of_each_other(view),
        *_epochs(view),
        *_configurations(view),
    )


def _unknown_hosts(view: VolumeView) -> list[Finding]:
    found = []
    for host in view.hosts:
        if host.error is not None:
            found.append(
                warning(
                    host.error.code,
                    host.error.message,
                    measured=f"{host.host}: no answer",
                    limit="an answer of both hosts",
                    remedy=host.error.remedy or f"storage-coordinator ping {host.host}",
                )
            )
        elif host.snapshot is None:
            found.append(
                blocker(
                    "VOLUME_MISSING",
                    f"{host.host} does not know the volume {view.volume.name}",
                    measured=f"no volume {view.volume.name} on {host.host}",
                    limit="configured on both hosts",
                    remedy=f"on {host.host}: storage-agent config show",
                )
            )
    return found


def _roles(view: VolumeView) -> list[Finding]:
    name, (one, two) = view.volume.name, view.hosts
    if one.is_primary and two.is_primary:
        if one.is_frozen != two.is_frozen:
            frozen, writes = (one, two) if one.is_frozen else (two, one)
            return [
                warning(
                    "OLD_PRIMARY_FROZEN",
                    f"{frozen.host} was primary for {name} and is frozen; {writes.host} serves",
                    measured=f"{frozen.host}: Primary, writes frozen; {writes.host}: Primary",
                    limit="one primary",
                    remedy=f"on {frozen.host}: {REBOOT_FROZEN} (demote cannot unmount what is "
                    f"frozen); it comes back as secondary and resyncs from {writes.host}",
                )
            ]
        return [
            blocker(
                "BOTH_PRIMARY",
                f"both hosts are primary for {name}: their data may differ",
                measured=f"{one.host} Primary, {two.host} Primary",
                limit="one primary",
                remedy="stop the clients, then compare both copies before one is given up: on both "
                f"hosts: storage-agent split-brain {name}",
            )
        ]
    if all(host.role == Role.SECONDARY for host in view.hosts):
        return [_no_primary(view)]
    return []


def _no_primary(view: VolumeView) -> Finding:
    key, owner = view.volume.key, view.state.owner if view.state else None
    remedy = f"storage-coordinator switchover {key} --to {owner or view.hosts[0].host}"
    if not all(host.is_connected for host in view.hosts):
        remedy = (
            f"see why the two are not connected: on both: storage-agent status {view.volume.name}"
        )
    elif not all(host.is_in_sync for host in view.hosts):
        remedy = f"wait for the resync: storage-coordinator status {key}; then: {remedy}"
    return blocker(
        "NO_PRIMARY",
        f"nobody serves {view.volume.name}",
        measured=", ".join(f"{host.host}: {host.role}" for host in view.hosts),
        limit="one Primary",
        remedy=remedy,
    )


def _views_of_each_other(view: VolumeView) -> list[Finding]:
    found = []
    for host in view.hosts:
        other = view.peer_of(host.host)
        peer = host.replica.peer if host.replica else None
        if peer is None or other.replica is None:
            continue
        # Also of a peer that is not there DRBD keeps what it knows for certain.
        if peer.disk is not DiskState.DUNKNOWN and peer.disk is not other.replica.disk:
            found.append(
                warning(
                    "DISK_VIEWS_DIFFER",
                    f"{host.host} takes the copy of {other.host} for {peer.disk}, which calls it "
                    f"{other.replica.disk}",
                    measured=f"on {host.host}: {peer.disk}; on {other.host}: {other.replica.disk}",
                    limit="the same on both",
                    remedy=f"ask again: storage-coordinator status {view.volume.key}; if it stays, "
                    f"believe the worse one, and on {other.host}: storage-agent status "
                    f"{view.volume.name}",
                )
            )
        if not host.is_connected:
            continue
        if peer.role is not Role.UNKNOWN and peer.role != other.role:
            found.append(
                warning(
                    "VIEWS_DIFFER",
                    f"{host.host} sees {other.host} as {peer.role}, which calls itself "
                    f"{other.role}",
                    measured=f"{host.host} sees {peer.role}, {other.host} is {other.role}",
                    limit="the same role",
                    remedy="the two were not asked at the same moment, ask again: "
                    f"storage-coordinator status {view.volume.key}",
                )
            )
        if other.is_connected is False:
            found.append(
                warning(
                    "ONE_WAY_LINK",
                    f"{host.host} is connected to {other.host}, which is not to it",
                    measured=f"{host.host}: connected, {other.host}: not connected",
                    limit="both or neither",
                    remedy=f"ask again: storage-coordinator status {view.volume.key}; if it stays, "
                    "look at the replication network",
                )
            )
    return found


def _epochs(view: VolumeView) -> list[Finding]:
    found = []
    known = {host: number for host, number in view.epochs().items() if number is not None}
    for host in view.hosts:
        if host.error is None and host.snapshot is not None and host.epoch is None:
            found.append(epoch_missing(view, host))
    record = view.state.epoch if view.state else None
    if odd := implausible(view.volume.name, view.volume.key, record, known):
        # What else the numbers say means nothing then.
        found.append(odd)
        known = {}
    claiming = claim_refusal(view.state) if view.state else None
    is_moving = any(host.operation for host in view.hosts) or bool(_unfinished(view) or claiming)
    if len(set(known.values())) > 1 and not is_moving:
        low, high = sorted(known, key=lambda host: known[host])
        found.append(
            warning(
                "EPOCHS_DIFFER",
                f"{low} has not heard of the last change of ownership of {view.volume.name}, which "
                f"{high} has",
                measured=f"epoch {known[low]} on {low}, {known[high]} on {high}",
                limit="the same epoch on both",
                remedy=f"storage-coordinator adopt {view.volume.key}",
            )
        )
    if view.state is None:
        found.append(not_adopted(view.volume))
        return found
    for host_name, number in known.items():
        if number > view.state.epoch:
            found.append(
                blocker(
                    "EPOCH_AHEAD",
                    f"{host_name} has seen a newer epoch than this coordinator has given: "
                    "another coordinator or an admin has acted, or our record is an old backup",
                    measured=f"epoch {number} on {host_name}",
                    limit=f"at most epoch {view.state.epoch}",
                    remedy=f"look at both hosts, then: storage-coordinator adopt {view.volume.key}",
                )
            )
    if claiming is not None:
        found.append(view.volume.named_in(claiming))
    for host in view.hosts:
        refusal = coordinator_refusal(view.state, {host.host: host.coordinator})
        if host.snapshot is None or refusal is None:
            continue
        # Which host has not accepted the claim that is on its way says nothing more.
        if claiming is None or refusal.code != claiming.code:
            found.append(view.volume.named_in(refusal))
    return found


def is_behind(view: VolumeView) -> bool:
    """Whether one host has missed a change of ownership that is over, with both copies in sync and
    nothing in the way of telling it."""
    codes = {finding.code for finding in _epochs(view)}
    is_settled = view.state is not None and view.state.sole is None
    return codes == {"EPOCHS_DIFFER"} and is_settled and all(h.is_in_sync for h in view.hosts)


def epoch_missing(view: VolumeView, host: HostView) -> Finding:
    """The number to give back: at least what the other host and our record know."""
    highest, _ = believed(view.state.epoch if view.state else None, view.epochs())
    return blocker(
        "EPOCH_MISSING",
        f"{host.host} has no usable epoch of {view.volume.name}",
        measured="missing or damaged",
        limit="an epoch that can be read",
        remedy=f"on {host.host}, as root: storage-agent epoch restore {view.volume.name} "
        f"{highest or 'NUMBER'}; then: storage-coordinator adopt {view.volume.key}",
    )


def seal_findings(view: VolumeView) -> list[Finding]:
    """What each host says of its seal; of one that says nothing, that it has none."""
    if view.state is None:
        return []
    found = []
    for host in view.hosts:
        given = host.verdict.findings if host.verdict else ()
        said = [finding for finding in given if finding.code in SEAL_CODES]
        if host.snapshot is not None and host.seal is None and not said:
            said = [_unsealed(view.volume)]
        found += [
            dataclasses.replace(
                finding,
                summary=f"{host.host}: {finding.summary}",
                remedy=f"storage-coordinator go-live {view.volume.key}",
            )
            for finding in said
        ]
    return found


def _unsealed(volume: VolumeSettings) -> Finding:
    return warning(
        "UNSEALED",
        f"{volume.name} was never proved ready to go live",
        measured="no seal",
        limit="sealed by a go-live",
        remedy=f"storage-coordinator go-live {volume.key}",
    )


def _configurations(view: VolumeView) -> list[Finding]:
    one, two = view.hosts
    if one.error is not None or two.error is not None:
        return []
    found = []
    if one.agent_version != two.agent_version:
        found.append(
            warning(
                "VERSION_DIFFERS",
                f"{one.host} and {two.host} do not run the same version of storage-agent",
                measured=f"{one.agent_version} and {two.agent_version}",
                limit="the same version",
                remedy="install the newer one on both",
            )
        )
    if one.config_digest == two.config_digest:
        return found
    return [
        *found,
        warning(
            "CONFIG_DIFFERS",
            f"the configurations of {one.host} and {two.host} are not the same",
            measured=f"{one.config_digest} and {two.config_digest}",
            limit="the same digest",
            remedy="on both: storage-agent config show; then make them the same",
        ),
    ]


def _unfinished(view: VolumeView) -> list[Finding]:
    grant = view.state.grant if view.state else None
    if grant is None or grant.is_done or grant.kind not in (GrantKind.MOVE, GrantKind.PROMOTE):
        return []
    begun = verb = "switchover" if grant.kind is GrantKind.MOVE else "failover"
    if all(host.is_in_sync for host in view.hosts):
        # Nobody has to be replaced any more: it ends what was begun, and moves as usual.
        verb = "switchover"
    return [
        warning(
            "MOVE_UNFINISHED",
            f"the {begun} of {view.volume.key} to {grant.host} was begun and not ended here",
            measured=f"epoch {grant.epoch}, operation {grant.operation_id}",
            limit="its end is recorded",
            remedy=f"storage-coordinator {verb} {view.volume.key} --to {grant.host}",
        )
    ]
