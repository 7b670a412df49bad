"""What both hosts of a pair say of one volume, side by side, and where they contradict each other.

Pure. Unknown means no: a host that did not answer is not primary, not secondary and not in sync.
"""

from __future__ import annotations

from dataclasses import dataclass

from storage_agent.coordinator.deciding.arbiter import State
from storage_agent.coordinator.settings import VolumeSettings
from storage_agent.model.answers import StatusAnswer, Verdict
from storage_agent.model.errors import AgentError
from storage_agent.model.finding import Finding, blocker
from storage_agent.model.guards import waits_for_word
from storage_agent.model.nfs import NfsView, ServerState
from storage_agent.model.operation import OperationRecord
from storage_agent.model.replica import ConnectionState, Replica, Role
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
        """None where it is not known, also in part."""
        found = self.snapshot.decidable().replica if self.snapshot else None
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
    def is_guarded(self) -> bool:
        """It writes nothing without its peer before it is told to."""
        seen = self.snapshot
        return seen is not None and waits_for_word(seen.replica, seen.guards)

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

    def expected_primary(self, target: str) -> str:
        """What a promotion of target names: the host that is seen to be primary; where none is,
        the one that it is taken from."""
        return target if self.of(target).is_primary else self.peer_of(target).host

    def epochs(self) -> dict[str, int | None]:
        return {view.host: view.epoch for view in self.hosts if view.error is None}

    def coordinators(self) -> dict[str, str]:
        return {view.host: view.coordinator for view in self.hosts if view.error is None}


def host_view(volume: str, host: str, answer: StatusAnswer | AgentError) -> HostView:
    """One volume's part of a host's answer."""
    if isinstance(answer, AgentError):
        return HostView(host=host, error=answer)
    if (unreadable := answer.unreadable.get(volume)) is not None:
        return HostView(host=host, error=unreadable)
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


def not_adopted(volume: VolumeSettings) -> Finding:
    return blocker(
        "NOT_ADOPTED",
        f"this coordinator has no record of {volume.key}",
        measured="no record",
        limit="adopted by this coordinator",
        remedy=f"storage-coordinator adopt {volume.key}",
    )
