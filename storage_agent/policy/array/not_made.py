"""Was the volume ever made on this host? Before that nothing of it can be missing."""

from __future__ import annotations

from storage_agent.model.configuration import VolumeConfig
from storage_agent.model.finding import Finding
from storage_agent.policy.common import blocker


def not_made_findings(volume: VolumeConfig, host: str) -> tuple[Finding, ...]:
    """host: this one's name."""
    if host in volume.array.uuid:
        return ()
    return (
        blocker(
            "ARRAY_NOT_CREATED",
            f"{volume.name} has no array UUID configured for {host}",
            measured=f"no array UUID of {host}",
            limit="one for each host, written by create",
            remedy=f"create it once: storage-agent create {volume.name} --first; where the "
            f"other host has it already: storage-agent create {volume.name} --join",
        ),
    )
