"""Are both hosts configured alike? Asked before the one that serves lets go: afterwards nobody
would serve, or another address."""

from __future__ import annotations

from storage_agent.coordinator.coordinator import Coordinator
from storage_agent.coordinator.views import VolumeView
from storage_agent.model.agreement import differences, disagreement
from storage_agent.model.errors import AgentError
from storage_agent.model.finding import Finding, blocker


def agreement_findings(coordinator: Coordinator, view: VolumeView) -> tuple[Finding, ...]:
    """None where both say the same of all volumes; else both are asked for this one."""
    one, two = view.hosts
    if one.config_digest and one.config_digest == two.config_digest:
        return ()
    volume = view.volume
    try:
        mine, theirs = (coordinator.fleet.config(host.host) for host in view.hosts)
    except AgentError as exc:
        return (
            blocker(
                "CONFIG_NOT_COMPARED",
                f"whether both hosts have {volume.name} configured alike cannot be compared: "
                f"{exc.message}",
                measured=f"{one.host}: {one.config_digest or 'no digest'}, "
                f"{two.host}: {two.config_digest or 'no digest'}",
                limit="both configurations read",
                remedy="on both hosts: storage-agent config show",
            ),
        )
    found = differences(mine, theirs, volume.name)
    return (disagreement(volume.name, one.host, two.host, found),) if found else ()
