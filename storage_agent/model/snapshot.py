"""What one host shows at one moment. Never edited: observe again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from storage_agent.model.agreement import Agreement
from storage_agent.model.array import ArrayState, ArrayView
from storage_agent.model.filesystem import Content, FilesystemView, Holder
from storage_agent.model.finding import Finding
from storage_agent.model.guards import Guards
from storage_agent.model.incident import Incident
from storage_agent.model.nfs import NfsView
from storage_agent.model.observed import Unobserved
from storage_agent.model.operation import Marker
from storage_agent.model.replica import Replica


class Facet(StrEnum):
    """The parts of a volume that can be observed one by one.

    CONTENT reads the start of the array past the page cache, also under a secondary;
    IDENTITY fills the filesystem's uuid and type, which costs a process and a read of the device;
    MARKER the currency marker, as the step read-marker found it or as it lies on the mount.
    GUARDS is what DRBD is told to do when the hosts lose each other, which no event tells of.
    USE costs a walk over all processes, and some seconds of watching what is written.
    AGREEMENT asks the peer's agent, which costs seconds where that is silent.
    RECORDS is what the agent itself has durably written down, not the host: the engine looks, and
    tries to write.
    """

    ARRAY = "array"
    REPLICA = "replica"
    FILESYSTEM = "filesystem"
    IDENTITY = "identity"
    MARKER = "marker"
    NFS = "nfs"
    SERVICES = "services"
    USE = "use"
    CONTENT = "content"
    INCIDENT = "incident"
    GUARDS = "guards"
    AGREEMENT = "agreement"
    RECORDS = "records"


CHEAP_FACETS = frozenset(Facet) - {
    Facet.IDENTITY,
    Facet.MARKER,
    Facet.USE,
    Facet.CONTENT,
    Facet.AGREEMENT,
    Facet.RECORDS,
}
# By which it is judged all the time whether a promotion would succeed; RECORDS comes to it.
JUDGED_FACETS = CHEAP_FACETS | {Facet.AGREEMENT, Facet.CONTENT}


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """What this daemon has seen of the disk's attachment, for a copy that lost its peer.

    in_sync_until_loss: since some moment of this boot both copies were seen UpToDate, connected
    and fully in sync, and every state since was that, or the peer's disk failing while connected,
    or only the loss of the connection. Only then does this copy hold every write that was
    acknowledged until the connection was lost.  connected: it was not lost since.
    broken_by: what ended it, or what was never seen.
    """

    in_sync_until_loss: bool
    connected: bool = False
    broken_by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceView:
    """A systemd unit. active: ActiveState; sub: SubState; enabled: UnitFileState."""

    unit: str
    active: str
    sub: str
    enabled: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UseView:
    """Who works with the volume's device on this host. written_bytes: by this host, within the
    `watched_s` seconds of the look; None where there is no such device."""

    holders: tuple[Holder, ...]
    written_bytes: int | None
    watched_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeSnapshot:
    """None: does not exist here or is not configured. Unobserved: could not be looked at.

    records: what of the agent's own durable knowledge would refuse a promotion; None where the
    engine was not asked.
    """

    volume: str
    host: str
    boot_id: str
    taken_monotonic_s: float
    taken_wall_s: float
    array: ArrayView | Unobserved | None
    replica: Replica | Unobserved | None
    filesystem: FilesystemView | Unobserved | None
    nfs: NfsView | Unobserved | None
    services: tuple[ServiceView, ...] | Unobserved
    attachment: Attachment | None = None
    marker: Marker | Unobserved | None = None
    use: UseView | Unobserved | None = None
    content: Content | Unobserved | None = None
    incident: Incident | Unobserved | None = None
    guards: Guards | Unobserved | None = None
    agreement: Agreement | Unobserved | None = None
    records: tuple[Finding, ...] | Unobserved | None = None

    def decidable(self) -> VolumeSnapshot:
        """For decisions: what is read in part only is as good as not looked at."""
        replica, view = self.replica, self.array
        why = replica.why_undecidable() if isinstance(replica, Replica) else ""
        seen = replace(self, replica=Unobserved(reason=why)) if why else self
        array = view.array if isinstance(view, ArrayView) else None
        if array is None or array.state is not ArrayState.UNKNOWN:
            return seen
        reason = f"md says of {array.name} (array_state) what is not known here"
        return replace(seen, array=Unobserved(reason=reason))


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSnapshot:
    """Everything this host shows. problems: what could not be looked at, and why."""

    host: str
    boot_id: str
    taken_monotonic_s: float
    taken_wall_s: float
    volumes: dict[str, VolumeSnapshot]
    drbd_version: str | None
    problems: tuple[str, ...] = ()
