"""What the peer is told before it lets go: whether this host could take the volume over now."""

from __future__ import annotations

import dataclasses

from storage_agent.model.finding import blockers
from storage_agent.policy.readiness import is_primary, refusals
from storage_agent.service.agent import Agent


def refusal(agent: Agent, name: str) -> str:
    """The first thing that a promotion here would be refused for; empty: nothing. By what was seen
    last of the host, and by a look of this moment at the agent's own records, which tries to write:
    nobody else notices when they fill up. Takes as long as their disk does."""
    config, snapshot = agent.setup.config, agent.observer.snapshot.volumes.get(name)
    volume = config.volumes.get(name)
    if volume is None or snapshot is None or is_primary(volume, snapshot):
        return ""
    fresh = dataclasses.replace(snapshot, records=agent.problems.obstacles(volume))
    found = blockers(refusals(config, volume, fresh))
    return f"{found[0].code}: {found[0].summary}" if found else ""
