"""The effective configuration in the words of the files, defaults included. Pure but for load."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from storage_agent.configuration.load import DEFAULT_PATHS, load_document
from storage_agent.configuration.positions import dotted
from storage_agent.configuration.read import Document, Paths
from storage_agent.model.configuration import AgentConfig, VolumeConfig

DEFAULT = "default"


def show(paths: Paths = DEFAULT_PATHS, *, origin: bool = False, hostname: str | None = None) -> str:
    """TOML that could be loaded again; with `origin`, `# FILE:LINE` behind each value, or
    `# default`. Raises ConfigurationError."""
    document, config = load_document(paths, hostname=hostname)
    lines = _render((), to_tables(config), document if origin else None)
    return "\n".join(lines).lstrip("\n") + "\n"


def effective(
    paths: Paths = DEFAULT_PATHS, *, hostname: str | None = None
) -> tuple[dict[str, Any], dict[str, str]]:
    """The tables, and `FILE:LINE` or `default` by dotted key (`volumes.data.nfs.threads`).
    Raises ConfigurationError."""
    document, config = load_document(paths, hostname=hostname)
    tables = to_tables(config)
    origins = {dotted(path): _origin(document, path) for path in _leaves((), tables)}
    return tables, origins


def to_tables(config: AgentConfig) -> dict[str, Any]:
    """In the shape of the files."""
    return {
        "host": config.host,
        "compare_port": config.compare_port,
        "hosts": {name: {"address": host.address} for name, host in config.hosts.items()},
        "volumes": {name: _volume(volume) for name, volume in config.volumes.items()},
    }


def render_toml(tables: Mapping[str, Any]) -> str:
    """Strings, numbers, lists of strings and tables of those."""
    return "\n".join(_render((), tables, None)).lstrip("\n") + "\n"


def _volume(volume: VolumeConfig) -> dict[str, Any]:
    tables: dict[str, Any] = {
        "mount_point": volume.mount_point,
        "arbitration": volume.arbitration.value,
        "services": list(volume.services),
        "array": {
            "level": volume.array.level,
            "disks": {host: list(serials) for host, serials in volume.array.disks.items()},
        },
    }
    if volume.array.uuid:
        tables["array"]["uuid"] = dict(volume.array.uuid)
    if volume.replica:
        tables["replica"] = {"minor": volume.replica.minor, "port": volume.replica.port}
    filesystem = volume.filesystem
    tables["filesystem"] = {"type": filesystem.type}
    if filesystem.uuid:
        tables["filesystem"]["uuid"] = filesystem.uuid
    tables["filesystem"]["options"] = list(filesystem.options)
    if volume.nfs:
        tables["nfs"] = {
            "address": volume.nfs.address,
            "interface": volume.nfs.interface,
            "link": volume.nfs.link,
            "clients": list(volume.nfs.clients),
            "options": list(volume.nfs.options),
            "threads": volume.nfs.threads,
        }
    return tables


def _render(
    path: tuple[str, ...], table: Mapping[str, Any], document: Document | None
) -> Iterator[str]:
    """Values first, then the tables below."""
    values = {key: value for key, value in table.items() if not isinstance(value, Mapping)}
    if path and values:
        yield ""
        yield f"[{dotted(path)}]"
    for key, value in values.items():
        comment = f"  # {_origin(document, (*path, key))}" if document else ""
        yield f"{key} = {json.dumps(value, ensure_ascii=False)}{comment}"
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _render((*path, key), value, document)


def _leaves(path: tuple[str, ...], table: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _leaves((*path, key), value)
        else:
            yield (*path, key)


def _origin(document: Document, path: tuple[str, ...]) -> str:
    return str(document.origins[path]) if path in document.origins else DEFAULT
