"""What a single value may be. A rule returns what is wrong with it, or nothing.

Values end up in argv lists, export tables and DRBD's configuration: every rule names what is
allowed, none names what is not.
"""

from __future__ import annotations

import ipaddress
import re

from storage_agent.configuration.section import Rule, matching, nearest

# Redundancy is what the array is for: with raid0 or linear, one dead disk is a dead host.
LEVELS = {"raid1": 2, "raid10": 2, "raid5": 3, "raid6": 4}
STATE_FOLDERS = ("/var/lib/storage-agent", "/var/lib/nfs")
SYSTEM_FOLDERS = (
    *("/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/proc"),
    *("/root", "/run", "/sbin", "/sys", "/tmp", "/usr"),
)
FOREIGN_UNITS = {
    "nfs-server.service": "the volume has an NFS server of its own: use [volumes.NAME.nfs]",
    "nfs-kernel-server.service": "the volume has an NFS server of its own: use [volumes.NAME.nfs]",
    "drbd.service": "the agent brings DRBD up itself",
}
# Not here: what gives up acknowledged writes (nobarrier, data=writeback) or the journal (noload).
COMMON_MOUNT_OPTIONS = frozenset(
    {
        *("noatime", "relatime", "strictatime", "nodiratime", "lazytime"),
        *("nodev", "dev", "nosuid", "suid", "noexec", "discard", "nodiscard"),
    }
)
EXT4_OPTIONS = frozenset(
    {
        *("acl", "noacl", "user_xattr", "usrquota", "grpquota", "prjquota", "commit=", "stripe="),
        *("errors=remount-ro", "errors=panic", "data=ordered", "data=journal"),
    }
)
XFS_OPTIONS = frozenset(
    {
        *("uquota", "gquota", "pquota", "uqnoenforce", "gqnoenforce", "pqnoenforce", "inode32"),
        *("inode64", "largeio", "nolargeio", "swalloc", "logbufs=", "logbsize=", "allocsize="),
        *("sunit=", "swidth="),
    }
)
MOUNT_OPTIONS = {
    "ext4": COMMON_MOUNT_OPTIONS | EXT4_OPTIONS,
    "xfs": COMMON_MOUNT_OPTIONS | XFS_OPTIONS,
}
# sec=sys only: nothing here brings Kerberos into the server's namespace.
EXPORT_OPTIONS = frozenset(
    {
        *("rw", "ro", "sync", "wdelay", "no_wdelay", "root_squash", "no_root_squash", "all_squash"),
        *("no_all_squash", "secure", "insecure", "sec=sys", "anonuid=", "anongid="),
    }
)
EXPORT_CONTRADICTIONS = (
    ("rw", "ro"),
    ("wdelay", "no_wdelay"),
    ("root_squash", "no_root_squash"),
    ("all_squash", "no_all_squash"),
    ("secure", "insecure"),
)

# `all` is drbdadm's word for every resource.
_VOLUME_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")
_HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_MOUNT_POINT = re.compile(r"(/[A-Za-z0-9_][A-Za-z0-9_.-]*)+")
_UNIT = re.compile(r"[A-Za-z0-9:_.@\\-]{1,240}\.(service|socket|target|timer|path)")

serial = matching(r"[A-Za-z0-9][A-Za-z0-9._:+-]{0,127}", "a disk's serial number")
array_uuid = matching(r"[0-9a-f]{8}(:[0-9a-f]{8}){3}", "an array's UUID as mdadm writes it")
filesystem_uuid = matching(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "a UUID in small letters")
interface = matching(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,14}", "a network interface")


def level(value: str) -> str:
    if value in ("raid0", "linear"):
        return f"{value!r} survives the loss of no disk{nearest('', LEVELS)}"
    return "" if value in LEVELS else f"{value!r} is not known{nearest(value, LEVELS)}"


def volume_name(value: str) -> str:
    if value == "all":
        return "'all' is drbdadm's word for every resource, and no name for one"
    if not _VOLUME_NAME.fullmatch(value):
        return f"{value!r} is not a volume's name: a-z, then up to 30 of a-z, 0-9 and '-'"
    return ""


def host_name(value: str) -> str:
    if not _HOST_NAME.fullmatch(value):
        return f"{value!r} is not a host's short name (no dots: DRBD compares it with `uname -n`)"
    return ""


def mount_point(value: str) -> str:
    if not _MOUNT_POINT.fullmatch(value) or len(value) > 200:
        return f"{value!r} is not an absolute path without '.', '..', blanks or a slash at its end"
    for folder in SYSTEM_FOLDERS:
        if value == folder or value.startswith(folder + "/"):
            return f"{value} lies in {folder}, which belongs to the system"
    for folder in STATE_FOLDERS:
        if f"{value}/".startswith(f"{folder}/") or f"{folder}/".startswith(f"{value}/"):
            return f"{value} would hide or hold {folder}, which must stay on the host's own disk"
    return ""


def unit(value: str) -> str:
    if not _UNIT.fullmatch(value):
        return f"{value!r} is not a systemd unit's full name, like 'minio.service'"
    if value in FOREIGN_UNITS:
        return f"{value}: {FOREIGN_UNITS[value]}"
    if value.startswith("storage-agent"):
        return f"{value} is the agent's own"
    return ""


def _is_among(value: str, allowed: frozenset[str]) -> bool:
    """Allowed are whole options, and those with `=` at their end with any size behind it."""
    key, equals, size = value.partition("=")
    is_sized = key + equals in allowed and re.fullmatch(r"[0-9]{1,9}[kmg]?", size) is not None
    return is_sized or (value in allowed and not value.endswith("="))


def mount_option(kind: str) -> Rule:
    """For a filesystem of this type."""
    # Of an unknown type only the type is told.
    allowed = MOUNT_OPTIONS.get(kind, EXT4_OPTIONS | MOUNT_OPTIONS["xfs"])

    def rule(value: str) -> str:
        if _is_among(value, allowed):
            return ""
        return f"{value!r} is not a mount option allowed here{nearest(value, allowed)}"

    return rule


def export_option(value: str) -> str:
    if value == "async":
        return "'async' answers before data is on disk: a failover would lose acknowledged writes"
    if value.startswith("fsid=") or value == "no_subtree_check":
        return f"{value!r} is set by the agent, the same on both hosts"
    if _is_among(value, EXPORT_OPTIONS):
        return ""
    return f"{value!r} is not an export option allowed here{nearest(value, EXPORT_OPTIONS)}"


def host_address(value: str) -> str:
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        return f"{value!r} is not an IP address"
    if address.is_unspecified or address.is_multicast or address.is_loopback:
        return f"{value} is not an address that another host could reach"
    # `fe80::1%eth0` would need its interface on the other host too.
    return f"{value} is link-local" if address.is_link_local else ""


def service_address(value: str) -> str:
    """`10.9.0.10/24`; IPv4, because it is announced and probed by ARP."""
    try:
        address = ipaddress.IPv4Interface(value)
    except ValueError:
        return f"{value!r} is not an IPv4 address with its prefix length, like '10.9.0.10/24'"
    network = address.network
    if "/" not in value or network.prefixlen == 0:
        return f"{value!r} lacks its prefix length, like '{address.ip}/24'"
    if address.is_unspecified or address.is_multicast or address.is_loopback:
        return f"{value} is not an address that a client could reach"
    is_edge = address.ip in (network.network_address, network.broadcast_address)
    if network.prefixlen < 31 and is_edge:
        return f"{value} is the address of the network itself or its broadcast address"
    return "" if str(address) == value else f"{value!r} is written {str(address)!r}"


def client(value: str) -> str:
    """An IPv4 address or network. No names: the server's namespace has no resolver."""
    try:
        network = ipaddress.IPv4Network(value)
    except ValueError as exc:
        if "host bits set" in str(exc):
            right = ipaddress.IPv4Network(value, strict=False)
            return f"{value} is a host in a network: write {right}, or the address without '/'"
        return f"{value!r} is not an IPv4 address or network, like '10.9.0.0/24'"
    is_plain = value in (str(network), str(network.network_address))
    return "" if is_plain else f"{value!r} is written {str(network)!r}"
