"""What both hosts of a pair say of one volume, side by side, and where they contradict each other.

Pure. Unknown means no: a host that did not answer is not primary, not secondary and not in sync.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from storage_agent.coordinator.arbiter import GrantKind, State, coordinator_refusal
from storage_agent.coordinator.settings import VolumeSettings
from storage_agent.model.answers import StatusAnswer, Verdict
from storage_agent.model.errors import AgentError
from storage_agent.model.finding import Finding, blocker, warning
from storage_agent.model.nfs import NfsView, ServerState
from storage_agent.model.operation import OperationRecord
from storage_agent.model.replica import ConnectionState, DiskState, Replica, Role
from storage_agent.model.seal import Seal
from storage_agent.model.snapshot import VolumeSnapshot

UNKNOWN = "unknown"
# What an agent says of its seal (policy/seal.py there).
SEAL_CODES = frozenset({"UNSEALED", "SEAL_BROKEN", "SEAL_UNCHECKED"})


@dataclass(frozen=True, slots=True, kw_only=True)
class HostView:
    """One host's answer. error: why there is none; everything else is empty then.
    role: `Primary`, `Secondary`, or `unknown`.  coordinator: whom it listens to."""

    host: str
    error: AgentError | None
    snapshot: VolumeSnapshot | None = None
    verdict: Verdict | None = None
    epoch: int | None = None
    coordinator: str = ""
    now_s: float = 0.0
    agent_version: str = ""
    config_digest: str = ""
    seal: Seal | None = None
    operation: OperationRecord | None = None

    @property
    def replica(self) -> Replica | None:
        found = self.snapshot.replica if self.snapshot else None
        return found if isinstance(found, Replica) else None

    @property
    def role(self) -> str:
        return str(self.replica.role) if self.replica else UNKNOWN

    @property
    def is_primary(self) -> bool:
        return self.role == Role.PRIMARY

    @property
    def is_serving(self) -> bool:
        """Primary, and not frozen; with an NFS server, clients reach it."""
        if not self.is_primary or self.is_frozen:
            return False
        nfs = self.snapshot.nfs if self.snapshot else None
        return not isinstance(nfs, NfsView) or nfs.state is ServerState.SERVING

    @property
    def is_frozen(self) -> bool:
        return self.replica is not None and bool(self.replica.suspended)

    @property
    def is_in_sync(self) -> bool:
        return self.replica is not None and self.replica.in_sync()

    @property
    def is_connected(self) -> bool | None:
        """To its peer; None where it is not known."""
        if self.replica is None:
            return None
        peer = self.replica.peer
        return peer is not None and peer.connection is ConnectionState.CONNECTED


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeView:
    """state: our own record; None for a volume that was never adopted."""

    volume: VolumeSettings
    hosts: tuple[HostView, HostView]
    state: State | None

    def of(self, host: str) -> HostView:
        return self.hosts[0] if self.hosts[0].host == host else self.hosts[1]

    def peer_of(self, host: str) -> HostView:
        return self.hosts[1] if self.hosts[0].host == host else self.hosts[0]

    @property
    def is_sealed(self) -> bool:
        """Both hosts have the seal of a go-live, and show what was sealed."""
        return all(
            host.seal is not None
            and host.verdict is not None
            and not any(finding.code in SEAL_CODES for finding in host.verdict.findings)
            for host in self.hosts
        )

    @property
    def is_safe(self) -> bool:
        """One host serves it, and the other one has a copy that could take over."""
        primary = self.primary()
        return primary is not None and primary.is_serving and all(h.is_in_sync for h in self.hosts)

    def primary(self) -> HostView | None:
        """The one host that is primary; None for none, two, or where it cannot be known."""
        found = [view for view in self.hosts if view.is_primary]
        return found[0] if len(found) == 1 else None

    def epochs(self) -> dict[str, int | None]:
        return {view.host: view.epoch for view in self.hosts if view.error is None}

    def coordinators(self) -> dict[str, str]:
        return {view.host: view.coordinator for view in self.hosts if view.error is None}


def host_view(volume: str, host: str, answer: StatusAnswer | AgentError) -> HostView:
    """One volume's part of a host's answer."""
    if isinstance(answer, AgentError):
        return HostView(host=host, error=answer)
    snapshot = answer.snapshot.volumes.get(volume)
    running = [o for o in answer.operations if o.request.volume == volume]
    return HostView(
        host=host,
        error=None,
        snapshot=snapshot,
        verdict=answer.readiness.get(volume),
        epoch=answer.epochs.get(volume),
        coordinator=answer.coordinators.get(volume, ""),
        now_s=answer.snapshot.taken_monotonic_s + answer.age_s,
        agent_version=answer.agent_version,
        config_digest=answer.config_digest,
        seal=answer.seals.get(volume),
        operation=running[0] if running else None,
    )


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
                    remedy=host.error.remedy,
                )
            )
        elif host.snapshot is None:
            found.append(
                blocker(
                    "VOLUME_MISSING",
                    f"{host.host} does not know the volume {view.volume.name}",
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
                    remedy=f"on {frozen.host}: storage-agent demote {name}, or restart it",
                )
            ]
        return [
            blocker(
                "BOTH_PRIMARY",
                f"both hosts are primary for {name}: their data may differ",
                measured=f"{one.host} Primary, {two.host} Primary",
                limit="one primary",
                remedy="stop clients, then compare both copies before one is given up",
            )
        ]
    if all(host.role == Role.SECONDARY for host in view.hosts):
        owner = view.state.owner if view.state else None
        target = owner or view.hosts[0].host
        return [
            blocker(
                "NO_PRIMARY",
                f"nobody serves {name}",
                remedy=f"storage-coordinator switchover {view.volume.key} --to {target}",
            )
        ]
    return []


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
                    remedy="the two were not asked at the same moment: ask again",
                )
            )
        if other.is_connected is False:
            found.append(
                warning(
                    "ONE_WAY_LINK",
                    f"{host.host} is connected to {other.host}, which is not to it",
                    remedy="ask again; if it stays, look at the replication network",
                )
            )
    return found


def _epochs(view: VolumeView) -> list[Finding]:
    found = []
    known = {host: number for host, number in view.epochs().items() if number is not None}
    for host in view.hosts:
        if host.error is None and host.snapshot is not None and host.epoch is None:
            found.append(
                blocker(
                    "EPOCH_MISSING",
                    f"{host.host} has no usable epoch of {view.volume.name}",
                    remedy=f"on {host.host}: storage-agent epoch restore {view.volume.name} NUMBER",
                )
            )
    is_moving = any(host.operation for host in view.hosts) or bool(_unfinished(view))
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
    for host in view.hosts:
        refusal = coordinator_refusal(view.state, {host.host: host.coordinator})
        if host.snapshot is not None and refusal is not None:
            found.append(refusal)
    return found


def not_adopted(volume: VolumeSettings) -> Finding:
    return blocker(
        "NOT_ADOPTED",
        f"this coordinator has no record of {volume.key}",
        remedy=f"storage-coordinator adopt {volume.key}",
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
            said = [warning("UNSEALED", f"{view.volume.name} was never proved ready to go live")]
        found += [
            dataclasses.replace(
                finding,
                summary=f"{host.host}: {finding.summary}",
                remedy=f"storage-coordinator go-live {view.volume.key}",
            )
            for finding in said
        ]
    return found


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
    command = "switchover" if grant.kind is GrantKind.MOVE else "failover"
    return [
        warning(
            "MOVE_UNFINISHED",
            f"the {command} of {view.volume.key} to {grant.host} was begun and not ended here",
            measured=f"epoch {grant.epoch}, operation {grant.operation_id}",
            remedy=f"storage-coordinator {command} {view.volume.key} --to {grant.host}",
        )
    ]
