"""What this host durably knows of the volumes that it has begun to make."""

from __future__ import annotations

import dataclasses
import json

from storage_agent.model.configuration import AgentConfig, VolumeConfig
from storage_agent.model.creation import Creation
from storage_agent.model.errors import OperationFailed
from storage_agent.model.operation import OperationRequest
from storage_agent.model.ports import Store
from storage_agent.model.wire import WireError, from_wire, to_wire

_PREFIX = "creation-"


class Creations:
    """File `creation-VOLUME`, from before the first step of `create` to its success."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def read(self, volume: str) -> Creation | None:
        """None where none is unfinished. Raises OperationFailed where the file is damaged."""
        content = self._store.read(_PREFIX + volume)
        if content is None:
            return None
        try:
            return from_wire(Creation, json.loads(content))
        except (WireError, ValueError) as exc:
            raise OperationFailed(
                f"what is known of the unfinished create of {volume} is damaged: {exc}",
                remedy=f"nothing of {volume} is touched: look at /var/lib/storage-agent/"
                f"{_PREFIX}{volume}, and see its disks: lsblk -o NAME,SERIAL,FSTYPE",
                code="CREATION_DAMAGED",
            ) from exc

    def begin(self, config: AgentConfig, volume: VolumeConfig, request: OperationRequest) -> None:
        """Durable on return. Going on with one changes nothing of what it is."""
        if self.read(volume.name) is not None:
            return
        creation = Creation(
            operation_id=request.operation_id,
            role=request.options.get("role", ""),
            array_uuid=volume.array.uuid[config.host],
            filesystem_uuid=volume.filesystem.uuid or "",
            serials=volume.array.disks.get(config.host, ()),
        )
        self._store.replace(_PREFIX + volume.name, json.dumps(to_wire(creation)).encode())

    def end(self, volume: str) -> None:
        """With what the host has noted of its files, which are the volume's now (or gone).
        Durable on return."""
        self._store.remove(_PREFIX + volume)
        self._store.remove(f"made-{volume}")

    def unfinished(self) -> tuple[str, ...]:
        """Names of the volumes, also of those that are not configured any more."""
        return tuple(name.removeprefix(_PREFIX) for name in self._store.names(_PREFIX))


def as_begun(config: AgentConfig, volume: VolumeConfig, creation: Creation) -> VolumeConfig:
    """The volume as it was when `create` began, whatever is configured by now: for taking back
    exactly that."""
    array = dataclasses.replace(
        volume.array,
        disks=volume.array.disks | {config.host: creation.serials},
        uuid=volume.array.uuid | {config.host: creation.array_uuid},
    )
    filesystem = dataclasses.replace(volume.filesystem, uuid=creation.filesystem_uuid)
    return dataclasses.replace(volume, array=array, filesystem=filesystem)
