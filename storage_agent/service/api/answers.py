"""The shapes of the daemon's answers and notifications. The classes are the contract, as in
parameters.py."""

from __future__ import annotations

from dataclasses import dataclass, field

from storage_agent.model.answers import Problem
from storage_agent.model.configuration import AgentConfig
from storage_agent.model.errors import ConfigurationError
from storage_agent.model.finding import Finding
from storage_agent.model.incident import Grant, Incident
from storage_agent.model.key import KeyRole
from storage_agent.model.observed import Unobserved
from storage_agent.model.operation import OperationRecord
from storage_agent.model.plan import Plan
from storage_agent.model.replica import Replica
from storage_agent.model.seal import Seal, SealFacts
from storage_agent.model.snapshot import HostSnapshot, VolumeSnapshot
from storage_agent.policy.readiness import Readiness
from storage_agent.service.observing.changes import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """The configuration as it was read. problem: why it is not what the admin wrote; nothing may
    be changed then.  note: why it is empty."""

    config: AgentConfig
    digest: str
    problem: ConfigurationError | None = None
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """readiness, epochs, coordinators: by volume; an epoch is null where its file is missing or
    damaged, a coordinator empty where this host listens to none.  seals: of volumes that a
    coordinator has adopted; null before their go-live.  age_s: of the oldest part of the snapshot
    that is not stuck.  problems: of the agent itself.  rates: bytes a second of what is being
    copied, by volume and by what it is (`resync to beta`), where that is known."""

    host: str
    agent_version: str
    config_digest: str
    age_s: float
    snapshot: HostSnapshot
    readiness: dict[str, Readiness]
    epochs: dict[str, int | None]
    coordinators: dict[str, str]
    seals: dict[str, Seal | None]
    operations: tuple[OperationRecord, ...]
    problems: tuple[Problem, ...] = ()
    rates: dict[str, dict[str, float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """Of the notification `changed`. events: what the difference to the snapshot before says.
    readiness: null for a volume that has just left the configuration."""

    volume: str
    snapshot: VolumeSnapshot
    readiness: Readiness | None
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pong:
    host: str
    agent_version: str
    protocol: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Welcome:
    """To the gateway's hello, before any byte of the caller."""

    role: KeyRole
    protocol: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """sessions: how many there were."""

    sessions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """digest: what `create` wants confirmed.  findings: with a blocker, it would be refused now."""

    plan: Plan
    digest: str
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeEpoch:
    volume: str
    epoch: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """replica: a look that was taken after the claim was durable."""

    volume: str
    epoch: int
    replica: Replica | Unobserved | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Operations:
    """Newest first."""

    operations: tuple[OperationRecord, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Events:
    """Newest last."""

    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Incidents:
    """The newest one of each volume, answered or not."""

    incidents: tuple[Incident, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnsweredIncident:
    incident: Incident


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    granted: Grant


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """sha256: in hex, of what the file on the volume held; it is removed."""

    volume: str
    name: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeSeal:
    """facts: what this host would be sealed with now; null where it cannot be seen."""

    volume: str
    seal: Seal | None
    facts: SealFacts | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """note: why it is empty."""

    config: AgentConfig
    digest: str
    note: str
