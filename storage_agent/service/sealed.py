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
        self._config: AgentConfig | None = None
        self._digests: dict[str, str] = {}

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
        if self._config is not config:
            self._config, self._digests = config, {}
        if volume.name not in self._digests:
            alone = dataclasses.replace(config, volumes={volume.name: volume})
            self._digests[volume.name] = digest(alone)
        return self._digests[volume.name]
