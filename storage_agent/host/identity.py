"""Writes what `create` has found out or chosen: agent.d/VOLUME.toml with the UUIDs.

The only file in /etc/storage-agent that the agent writes; what the admin wrote stays the admin's.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from storage_agent.configuration import rules
from storage_agent.configuration.load import DEFAULT_PATHS
from storage_agent.configuration.section import Rule
from storage_agent.configuration.show import render_toml
from storage_agent.host.system.files import replace_file
from storage_agent.model.errors import ConfigurationError, OperationFailed, Refused

HEADER = (
    "# Written by `storage-agent create`: which array and filesystem volume {0} is.\n"
    "# The agent refuses to use any other, so do not edit this.\n\n"
)


def write_identity(
    volume: str,
    array_uuids: Mapping[str, str],
    filesystem_uuid: str | None,
    folder: Path = DEFAULT_PATHS.folder,
) -> Path:
    """Atomic and durable. Raises what identity_text raises, and OperationFailed."""
    file = folder / f"{volume}.toml"
    _replace(file, identity_text(volume, array_uuids, filesystem_uuid, folder))
    return file


def identity_text(
    volume: str, array_uuids: Mapping[str, str], filesystem_uuid: str | None, folder: Path
) -> str:
    """The whole file: what it says already (the other host's array), and this.

    Raises Refused where the file names another array or filesystem (an identity never changes
    by itself), ConfigurationError where it cannot be read.
    """
    file = folder / f"{volume}.toml"
    _require_valid(volume, array_uuids, filesystem_uuid)
    uuids, filesystem = _read(file, volume)
    for host, uuid in array_uuids.items():
        if uuids.setdefault(host, uuid) != uuid:
            raise _changed(file, f"array of {host}", uuids[host])
    if filesystem_uuid and filesystem and filesystem != filesystem_uuid:
        raise _changed(file, "filesystem", filesystem)
    tables: dict[str, Any] = {"array": {"uuid": dict(sorted(uuids.items()))}}
    if filesystem := filesystem_uuid or filesystem:
        tables["filesystem"] = {"uuid": filesystem}
    return HEADER.format(volume) + render_toml({"volumes": {volume: tables}})


def _require_valid(
    volume: str, array_uuids: Mapping[str, str], filesystem_uuid: str | None
) -> None:
    """Nothing is written that could not be loaded, and no name becomes a path elsewhere."""
    values: list[tuple[Rule, str]] = [(rules.volume_name, volume)]
    values += [(rules.host_name, host) for host in array_uuids]
    values += [(rules.array_uuid, uuid) for uuid in array_uuids.values()]
    values += [(rules.filesystem_uuid, filesystem_uuid)] if filesystem_uuid else []
    for rule, value in values:
        if wrong := rule(value):
            raise Refused(wrong, remedy="nothing was written", code="BAD_IDENTITY")


def _read(file: Path, volume: str) -> tuple[dict[str, str], str | None]:
    try:
        tables = tomllib.loads(file.read_text(encoding="utf-8"))["volumes"][volume]
        uuids = dict(tables.get("array", {}).get("uuid", {}))
        return uuids, tables.get("filesystem", {}).get("uuid")
    except FileNotFoundError:
        return {}, None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as exc:
        raise ConfigurationError(
            f"{file}:1: not what `storage-agent create` writes: {exc}",
            remedy=f"move {file} away and create or adopt the volume again",
        ) from exc


def _changed(file: Path, what: str, known: str) -> Refused:
    return Refused(
        f"{file} says that the {what} is {known}; it was not changed",
        remedy=f"if that one is gone for good, move {file} away",
        code="IDENTITY_KNOWN",
    )


def _replace(file: Path, text: str) -> None:
    try:
        file.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        replace_file(file, text.encode(), mode=0o644)
    except OSError as exc:
        raise OperationFailed(
            f"{file}: {exc.strerror or exc}",
            remedy=f"ls -ld {file.parent}; df {file.parent}",
            code="IDENTITY_NOT_WRITTEN",
        ) from exc
