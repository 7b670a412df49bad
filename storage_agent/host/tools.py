"""The adapters of one host, for those that do its steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from storage_agent.host.block.devices import Block
from storage_agent.host.drbd.adapter import Drbd
from storage_agent.host.drbd.guards import GuardReader
from storage_agent.host.filesystem.adapter import Filesystem
from storage_agent.host.md.adapter import MdRaid
from storage_agent.host.md.seen import SeenRecords
from storage_agent.host.nfs.adapter import NfsObserver
from storage_agent.host.system.runner import Runner
from storage_agent.host.system.services import Services
from storage_agent.model.configuration import VolumeConfig
from storage_agent.model.observed import Unobserved
from storage_agent.model.operation import Marker, OperationRequest

# Does one step; the number is how long it may take, in seconds. Raises AgentError.
Act = Callable[[VolumeConfig, OperationRequest, float], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """The adapters of one host."""

    runner: Runner
    block: Block
    md: MdRaid
    drbd: Drbd
    guards: GuardReader
    filesystem: Filesystem
    services: Services
    nfs: NfsObserver
    seen: SeenRecords
    root: Path
    markers: dict[str, Marker | Unobserved | None]
