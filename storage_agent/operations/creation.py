"""Gives a volume that is to be created its identity."""

from __future__ import annotations

import dataclasses
import uuid

from storage_agent.model.configuration import AgentConfig, VolumeConfig

_NAMESPACE = uuid.UUID("6f0e6a5c-3a53-4d0c-8d2c-6c1f2ab31f0e")


def with_identity(config: AgentConfig, volume: VolumeConfig) -> VolumeConfig:
    """The volume with array and filesystem UUIDs, the same on both hosts.

    They follow from the volume's name, the hosts and all disk serials, so that `create` on
    either host, and run again after an interruption, means the same volume; a set of disks that
    differs by one disk is another volume. UUIDs that are configured already stay.
    """
    disks = sorted(volume.array.disks.items())
    seed = f"{volume.name} {sorted(config.hosts)} {disks}"
    arrays = {
        host: volume.array.uuid.get(host) or _md_form(uuid.uuid5(_NAMESPACE, f"{seed} md {host}"))
        for host, _ in disks
    }
    filesystem = volume.filesystem.uuid or str(uuid.uuid5(_NAMESPACE, f"{seed} filesystem"))
    return dataclasses.replace(
        volume,
        array=dataclasses.replace(volume.array, uuid=arrays),
        filesystem=dataclasses.replace(volume.filesystem, uuid=filesystem),
    )


def _md_form(value: uuid.UUID) -> str:
    text = value.hex
    return ":".join(text[i : i + 8] for i in range(0, 32, 8))
