"""Are both hosts configured alike? Asked before the one that serves lets go: afterwards nobody
would serve, or another address."""

from __future__ import annotations

from storage_agent.coordinator.coordinator import Coordinator
from storage_agent.coordinator.views import VolumeView
from storage_agent.model.agreement import differences
from storage_agent.model.errors import AgentError
from storage_agent.model.finding import Finding, blocker

NAMED = 5


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
    if not found:
        return ()
    named = [
        f"{key}: {one.host} {ours}, {two.host} {others}" for key, (ours, others) in found.items()
    ]
    more = f"; and {len(named) - NAMED} more" if len(named) > NAMED else ""
    return (
        blocker(
            "CONFIG_DISAGREES",
            f"{one.host} and {two.host} have {volume.name} configured differently: "
            f"{next(iter(found))}",
            measured="; ".join(named[:NAMED]) + more,
            limit="the same on both hosts before one lets go",
            remedy="make them the same in agent.toml on both hosts, then there: storage-agent "
            "config check, and: systemctl reload storage-agentd",
        ),
    )
