"""What a step is, and the commands that several of them share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from storage_agent.model.configuration import VolumeConfig
from storage_agent.model.plan import StepKind
from storage_agent.model.snapshot import Facet
from storage_agent.operations.goals import Goal


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """goal None: the step proves itself while it is done, and is done each time it is reached."""

    title: Callable[[VolumeConfig], str]
    commands: Callable[[VolumeConfig, str], tuple[str, ...]]
    check: str
    goal: Goal | None
    facets: frozenset[Facet]
    undo: StepKind | None
    timeout_s: float


def drbdadm(verb: str) -> Callable[[VolumeConfig, str], tuple[str, ...]]:
    return lambda volume, host: (f"drbdadm {verb} {volume.name}",)


def members(volume: VolumeConfig, host: str) -> str:
    return " ".join(f"SERIAL={serial}" for serial in volume.array.disks.get(host, ()))
