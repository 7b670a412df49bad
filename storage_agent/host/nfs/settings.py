"""What the supervisor is told about its volume, as a file in /run.

A copy and not agent.toml itself: a server that starts again after a crash must not depend on
whether somebody is editing the configuration just then.
"""

from __future__ import annotations

import ipaddress
import json
import re
from dataclasses import dataclass
from pathlib import Path

from storage_agent.host.nfs.adapter import RUN_FOLDER
from storage_agent.model.configuration import VolumeConfig
from storage_agent.model.errors import ConfigurationError, Missing
from storage_agent.model.wire import WireError, from_wire, to_wire

LINK_KINDS = ("macvlan", "ipvlan")
# Kernel net/core/dev.c dev_valid_name, and nothing that `ip -batch` would split.
_INTERFACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,14}")
_VOLUME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_CLIENT = re.compile(r"[A-Za-z0-9@*?.:/_\[\]-]{1,255}")
_OPTION = re.compile(r"[A-Za-z0-9_=:./+-]{1,255}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """hosts: that may serve it.  minor: of its DRBD device; None without a replica.  address: with
    prefix length.  filesystem_uuid: the pinned fsid; None until created."""

    volume: str
    hosts: tuple[str, ...]
    minor: int | None
    mount_point: str
    filesystem_uuid: str | None
    address: str
    interface: str
    link: str
    clients: tuple[str, ...]
    options: tuple[str, ...]
    threads: int

    def service_address(self) -> str:
        """Without the prefix length."""
        return self.address.partition("/")[0]


def settings_of(volume: VolumeConfig) -> ServerSettings:
    """Raises ConfigurationError where the volume cannot have a server as configured."""
    if volume.nfs is None:
        raise ConfigurationError(
            f"volume {volume.name} has no [nfs] part", remedy="add one, or serve it otherwise"
        )
    return _checked(
        ServerSettings(
            volume=volume.name,
            hosts=tuple(volume.array.disks),
            minor=volume.replica.minor if volume.replica else None,
            mount_point=volume.mount_point,
            filesystem_uuid=volume.filesystem.uuid,
            address=volume.nfs.address,
            interface=volume.nfs.interface,
            link=volume.nfs.link,
            clients=volume.nfs.clients,
            options=volume.nfs.options,
            threads=volume.nfs.threads,
        )
    )


def settings_path(volume: str, root: Path = Path("/")) -> Path:
    return root / RUN_FOLDER / f"{volume}.json"


def render_settings(settings: ServerSettings) -> bytes:
    return json.dumps(to_wire(settings), indent=1).encode() + b"\n"


def parse_settings(content: bytes, name: str) -> ServerSettings:
    """name: the file's, for the message. Raises ConfigurationError."""
    try:
        return _checked(from_wire(ServerSettings, json.loads(content)))
    except (WireError, ValueError) as exc:
        raise ConfigurationError(
            f"{name}: {exc}", remedy="storage-agentd writes it: systemctl restart storage-agentd"
        ) from exc


def read_settings(volume: str, root: Path = Path("/")) -> ServerSettings:
    """Raises Missing, ConfigurationError."""
    path = settings_path(volume, root)
    try:
        return parse_settings(path.read_bytes(), str(path))
    except FileNotFoundError:
        raise Missing(
            f"{path} does not exist: nobody has prepared the NFS server of {volume}",
            remedy=f"storage-agent promote {volume}",
            code="NFS_NOT_PREPARED",
        ) from None


def _checked(settings: ServerSettings) -> ServerSettings:
    """All that reaches a batch file, an etab or a path."""
    texts = (
        (_VOLUME, "volume", (settings.volume,)),
        (_INTERFACE, "interface", (settings.interface,)),
        (_CLIENT, "clients", settings.clients),
        (_OPTION, "options", settings.options),
    )
    for pattern, what, values in texts:
        for value in values:
            if not pattern.fullmatch(value):
                raise _wrong(settings, f"{what}: {value!r} is not allowed")
    if settings.link not in LINK_KINDS:
        raise _wrong(settings, f"link: {settings.link!r} is not one of {', '.join(LINK_KINDS)}")
    if any(option.partition("=")[0] == "fsid" for option in settings.options):
        raise _wrong(settings, "options: fsid is always the filesystem's UUID")
    if not settings.clients or settings.threads < 1:
        raise _wrong(settings, "clients and threads must not be empty")
    try:
        ipaddress.IPv4Interface(settings.address)
    except ValueError:
        raise _wrong(
            settings, f"address: {settings.address!r} is not an IPv4 ADDRESS/PREFIX"
        ) from None
    return settings


def _wrong(settings: ServerSettings, problem: str) -> ConfigurationError:
    return ConfigurationError(
        f"NFS server of {settings.volume}: {problem}", remedy="storage-agent config check"
    )
