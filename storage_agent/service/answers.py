"""What the daemon tells about itself: the shapes of its larger answers and notifications."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from storage_agent.model.configuration import AgentConfig
from storage_agent.model.errors import ConfigurationError
from storage_agent.model.operation import OperationRecord
from storage_agent.model.snapshot import HostSnapshot, VolumeSnapshot
from storage_agent.service.changes import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """The configuration as it was read. problem: why it is not what the admin wrote; nothing may
    be changed then.  note: why it is empty."""

    config: AgentConfig
    digest: str
    problem: ConfigurationError | None = None
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """An error as part of a healthy answer."""

    code: str
    message: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """readiness: policy.readiness.Readiness by volume.  age_s: of the oldest part of the
    snapshot that is not stuck.  epochs: by volume; None where the file is missing or damaged.
    problems: of the agent itself."""

    host: str
    agent_version: str
    config_digest: str
    age_s: float
    snapshot: HostSnapshot
    readiness: dict[str, Any]
    epochs: dict[str, int | None]
    operations: tuple[OperationRecord, ...]
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """Parameters of the notification `changed`."""

    volume: str
    snapshot: VolumeSnapshot
    events: tuple[Event, ...]
