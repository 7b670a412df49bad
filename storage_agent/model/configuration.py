"""What an admin has configured, already checked: any value here is usable as it stands."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from storage_agent.model.errors import unknown_volume

# Where the two agents compare what they have configured: next to none of DRBD's usual ports (from
# 7788), LINSTOR's (7000 to 7999) or NFS's.
COMPARE_PORT = 8780


class Arbitration(StrEnum):
    """Who decides when the hosts lose each other (design section 6)."""

    NONE = "none"
    COORDINATOR = "coordinator"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostConfig:
    """One of the two hosts. address: of its replication link."""

    name: str
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayConfig:
    """The volume's md array on each host, by host name.

    disks: serial numbers of all members.  uuid: mdadm's `8:8:8:8` form; absent until created.
    """

    level: str
    disks: dict[str, tuple[str, ...]]
    uuid: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaConfig:
    """DRBD. The resource is called like the volume."""

    minor: int
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesystemConfig:
    """uuid: None until created. options: mount options, as configured."""

    type: str
    uuid: str | None
    options: tuple[str, ...]

    def mount_options(self) -> tuple[str, ...]:
        """With what keeps users' files from being more than files on the host itself (no
        set-user-ID programs, no devices), unless the configuration says `suid` or `dev`."""
        guards = (("nosuid", "suid"), ("nodev", "dev"))
        added = (off for off, on in guards if not {off, on} & set(self.options))
        return (*self.options, *added)


@dataclass(frozen=True, slots=True, kw_only=True)
class NfsConfig:
    """The volume's own NFS server.

    address: service address with prefix length (`10.9.0.10/24`).  interface: parent of the
    link.  link: `macvlan` or `ipvlan`.  clients: networks or hosts that may mount.
    """

    address: str
    interface: str
    link: str
    clients: tuple[str, ...]
    options: tuple[str, ...]
    threads: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeConfig:
    """The unit that is promoted. services: systemd units that run where the volume is served."""

    name: str
    mount_point: str
    arbitration: Arbitration
    array: ArrayConfig
    replica: ReplicaConfig | None
    filesystem: FilesystemConfig
    nfs: NfsConfig | None
    services: tuple[str, ...]

    def array_device(self) -> str:
        """Where the array is assembled."""
        return f"/dev/md/{self.name}"

    def device(self) -> str:
        """What carries the filesystem."""
        return f"/dev/drbd{self.replica.minor}" if self.replica else self.array_device()


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentConfig:
    """host: which of `hosts` this machine is.  compare_port: TCP, on the hosts' own addresses,
    where the two agents compare what must be configured alike."""

    host: str
    hosts: dict[str, HostConfig]
    volumes: dict[str, VolumeConfig]
    compare_port: int = COMPARE_PORT

    def peer_of(self, host: str) -> HostConfig | None:
        """The other host, or None where only one is configured."""
        others = [h for name, h in self.hosts.items() if name != host]
        return others[0] if others else None

    def require_volume(self, name: str) -> VolumeConfig:
        """Raises UsageError (UNKNOWN_VOLUME)."""
        volume = self.volumes.get(name)
        if volume is None:
            raise unknown_volume(name, self.volumes, self.host)
        return volume
