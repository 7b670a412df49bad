"""Every verdict with what is to be said of the seal."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from storage_agent.configuration.load import digest
from storage_agent.engine.seal import Seals
from storage_agent.model.configuration import AgentConfig, VolumeConfig
from storage_agent.model.snapshot import VolumeSnapshot
from storage_agent.policy.readiness import Readiness
from storage_agent.policy.seal import judged, seal_facts

Assess = Callable[[AgentConfig, VolumeConfig, VolumeSnapshot], Readiness]


class SealedVerdicts:
    """Implements Assess. Digests are kept for as long as the configuration is the same one."""

    def __init__(self, assess: Assess, seals: Seals) -> None:
        self._assess = assess
        self._seals = seals
        # The digests and what they are of, exchanged as one: several threads ask.
        self._kept: tuple[AgentConfig | None, dict[str, str]] = (None, {})

    def __call__(
        self, config: AgentConfig, volume: VolumeConfig, snapshot: VolumeSnapshot
    ) -> Readiness:
        readiness, record = self._assess(config, volume, snapshot), self._seals.record(volume.name)
        if record is None:
            return readiness
        facts = seal_facts(volume, snapshot, self.configuration(config, volume))
        return judged(readiness, volume, record, facts)

    def configuration(self, config: AgentConfig, volume: VolumeConfig) -> str:
        """Digest of what both hosts must have the same for this volume."""
        kept = self._kept
        if kept[0] is not config:
            kept = self._kept = (config, {})
        if volume.name not in kept[1]:
            alone = dataclasses.replace(config, volumes={volume.name: volume})
            kept[1][volume.name] = digest(alone)
        return kept[1][volume.name]
