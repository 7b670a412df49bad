"""What of the configuration does not fit the host, by its whole key: `config check`. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from storage_agent.model.configuration import AgentConfig
from storage_agent.model.surroundings import NetworkView, Surroundings
from storage_agent.policy.network import network_collisions
from storage_agent.policy.surroundings import Collision, collisions


def host_collisions(
    config: AgentConfig, around: Surroundings, network: NetworkView | None
) -> Iterator[Collision]:
    """What could not be seen is left out: that is create's to refuse, and no mistake in a file."""
    for volume in config.volumes.values():
        is_made = config.host in volume.array.uuid
        for found in collisions(config, volume, around, is_made=is_made):
            if found.finding.code != "SURROUNDINGS_UNSEEN":
                yield dataclasses.replace(found, key=("volumes", volume.name, *found.key))
    if network is not None:
        yield from network_collisions(config, network)
