"""What `doctor` looks at: facts about the host itself, apart from any volume's state."""

from __future__ import annotations

from dataclasses import dataclass, field

from storage_agent.model.agreement import Agreement
from storage_agent.model.finding import Finding
from storage_agent.model.observed import Unobserved
from storage_agent.model.sshd import SshdView

CONFIGURATION_FOLDER = "/etc/storage-agent"
STATE_FOLDER = "/var/lib/storage-agent"

TOOL_PACKAGES = {
    "mdadm": "mdadm",
    "drbdadm": "drbd-utils",
    "drbdsetup": "drbd-utils",
    "drbdmeta": "drbd-utils",
    "blkid": "util-linux",
    "wipefs": "util-linux",
    "nsenter": "util-linux",
    "unshare": "util-linux",
    "mount": "mount",
    "umount": "mount",
    "mkfs.ext4": "e2fsprogs",
    "mkfs.xfs": "xfsprogs",
    "modprobe": "kmod",
    "modinfo": "kmod",
    "ip": "iproute2",
    "nft": "nftables",
    "udevadm": "udev",
    "systemctl": "systemd",
    "systemd-inhibit": "systemd",
    "rpc.nfsd": "nfs-kernel-server",
    "rpc.mountd": "nfs-kernel-server",
    "exportfs": "nfs-kernel-server",
    "nfsdcld": "nfs-kernel-server",
    "mount.nfs4": "nfs-common",
}
"""Host tool -> Debian package that brings it."""

KERNEL_MODULES = (
    "drbd", "nfsd", "nfs", "macvlan", "ipvlan", "ext4", "xfs", "raid1", "raid10", "raid456",
)  # fmt: skip

CLUSTER_MANAGERS = ("pacemaker", "corosync", "drbd-reactor", "linstor-satellite")

# drbd-utils' own, of one resource: each brings it up, takes it down or changes its role.
DRBD_UNITS = (
    "drbd@{}.target",
    "drbd@{}.service",
    "drbd-promote@{}.service",
    "drbd-wait-promotable@{}.service",
    "drbd-services@{}.target",
    "drbd-demote-or-escalate@{}.service",
    "drbd-reconfigure-suspend-or-error@{}.service",
)

UNITS = (
    "drbd.service",
    "drbd-graceful-shutdown.service",
    "nfs-server.service",
    "storage-agentd.service",
    "storage-agent.socket",
    "systemd-logind.service",
    *(f"{name}.service" for name in CLUSTER_MANAGERS),
)


def escaped(text: str) -> str:
    """As systemd.unit(5) has a string within a unit's name."""
    allowed = set(":_.0123456789") | {chr(c) for c in (*range(65, 91), *range(97, 123))}
    parts = []
    for place, char in enumerate(text):
        if char == "/":
            parts.append("-")
        elif char in allowed and not (place == 0 and char == "."):
            parts.append(char)
        else:
            parts += (f"\\x{byte:02x}" for byte in char.encode())
    return "".join(parts)


def automount_unit(mount_point: str) -> str:
    """`srv-data.automount` of `/srv/data`."""
    return f"{escaped(mount_point.strip('/'))}.automount"


def drbd_units(resource: str) -> tuple[str, ...]:
    """Of a name with a dash also as it would have to be written."""
    names = dict.fromkeys((resource, escaped(resource)))
    return tuple(unit.format(name) for name in names for unit in DRBD_UNITS)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitFact:
    """systemd's LoadState, ActiveState, UnitFileState and DropInPaths."""

    name: str
    load: str
    active: str
    enabled: str
    drop_ins: tuple[str, ...] = ()

    def may_run(self) -> bool:
        """It runs now, or will after the next boot."""
        return self.load == "loaded" and (
            self.active in ("active", "activating") or self.enabled.startswith("enabled")
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FstabLine:
    """options: as a tuple. line: from 1, for messages."""

    line: int
    source: str
    mount_point: str
    options: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class HostExport:
    """An entry of /etc/exports or exports.d: what the host's own NFS server would export.
    options: of all its clients."""

    file: str
    line: int
    path: str
    options: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class StateFolder:
    """source: device of the filesystem it lies on. mode: permission bits."""

    mode: int
    owner_uid: int
    source: str
    read_only: bool
    free_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorFacts:
    """modules: those that are loaded, built in or can be loaded.  drbd_version: of the module.
    export_clients: addresses that use the host's own NFS server now.
    mdadm_lines: AUTO and ARRAY lines of mdadm.conf and mdadm.conf.d.  replica_settings: by
    resource, `section.option` -> value, as drbdadm reads its files; absent options are absent.
    metadata: by volume, whether DRBD's metadata lie on its array; only of running arrays that DRBD
    does not hold.  keys: what is wrong with the file of coordinators' keys.  agreements: what the
    peer's agent has said, of each volume that is compared; none where root did not ask.  sshd: None
    where no coordinator is to log in, or there is none.
    """

    host: str
    is_root: bool
    has_configuration: bool
    tools: frozenset[str]
    modules: frozenset[str]
    drbd_version: str | None
    units: dict[str, UnitFact] | Unobserved
    fstab: tuple[FstabLine, ...] | Unobserved
    exports: tuple[HostExport, ...] | Unobserved
    export_clients: tuple[str, ...] | Unobserved
    mdadm_lines: tuple[str, ...] | Unobserved
    is_clock_synchronised: bool | Unobserved
    state_folder: StateFolder | Unobserved | None
    replica_settings: dict[str, dict[str, str] | Unobserved]
    metadata: dict[str, bool] = field(default_factory=dict)
    keys: tuple[Finding, ...] = ()
    agreements: dict[str, Agreement | Unobserved] = field(default_factory=dict)
    sshd: SshdView | Unobserved | None = None
