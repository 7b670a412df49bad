"""From the merged tables to model.configuration, table by table. Pure."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

from storage_agent.configuration import rules
from storage_agent.configuration.conflicts import find_conflicts
from storage_agent.configuration.read import Document
from storage_agent.configuration.section import Section, nearest, one_of
from storage_agent.model.configuration import (
    COMPARE_PORT,
    AgentConfig,
    Arbitration,
    ArrayConfig,
    FilesystemConfig,
    HostConfig,
    NfsConfig,
    ReplicaConfig,
    VolumeConfig,
)

# DRBD 8.4 takes no minor above this (drbd_limits.h: DRBD_MINOR_COUNT_MAX).
MINOR_LIMIT = 255
PORTS = (1024, 65535)
THREADS_LIMIT = 256

T = TypeVar("T")


def build(document: Document, hostname: str) -> AgentConfig:
    """All volumes, also those of the other host alone. What is wrong is among the document's
    problems; the value is meaningless then. hostname: this machine's, for want of `host`."""
    top = Section(document, (), document.values)
    hosts = _hosts(top)
    host = _host(top, hosts, hostname)
    volumes = _volumes(top, hosts)
    port = top.number("compare_port", *PORTS, COMPARE_PORT)
    top.done()
    config = AgentConfig(host=host, hosts=hosts, volumes=volumes, compare_port=port)
    find_conflicts(document, config)
    return config


def local_hostname() -> str:
    """The short name. Inside a volume's NFS server it is the volume's, not the host's."""
    return os.uname().nodename.partition(".")[0]


def _host(top: Section, hosts: dict[str, HostConfig], hostname: str) -> str:
    host = top.text("host", rules.host_name, hostname)
    if host and hosts and host not in hosts:
        known = ", ".join(sorted(hosts))
        if "host" in top.names():
            top.problem(f"{host!r} is none of [hosts]{nearest(host, hosts)}", "host")
        else:
            text = f"this machine is called {host!r} and is none of them ({known})"
            top.problem(f"{text}; say which one it is: host = {sorted(hosts)[0]!r}", "hosts")
    return host


def _hosts(top: Section) -> dict[str, HostConfig]:
    section = top.table("hosts")
    found = {}
    for name in section.names():
        if wrong := rules.host_name(name):
            section.problem(wrong, name)
        host = section.table(name)
        found[name] = HostConfig(name=name, address=host.text("address", rules.host_address))
        host.done()
    if not 1 <= len(found) <= 2:
        section.problem(f"one host or two are wanted, not {len(found)}")
    return found


def _volumes(top: Section, hosts: dict[str, HostConfig]) -> dict[str, VolumeConfig]:
    section = top.optional_table("volumes")
    found = {}
    for name in section.names() if section else ():
        assert section is not None
        if wrong := rules.volume_name(name):
            section.problem(wrong, name)
        found[name] = _volume(name, section.table(name), hosts)
    return found


def _volume(name: str, section: Section, hosts: dict[str, HostConfig]) -> VolumeConfig:
    arbitration = section.text("arbitration", one_of(*Arbitration), Arbitration.NONE)
    coordinated = arbitration == Arbitration.COORDINATOR
    replica = _optional(section, "replica", _replica)
    config = VolumeConfig(
        name=name,
        mount_point=section.text("mount_point", rules.mount_point),
        arbitration=Arbitration.COORDINATOR if coordinated else Arbitration.NONE,
        array=_array(section.table("array"), hosts, is_replicated=replica is not None),
        replica=replica,
        filesystem=_filesystem(section.table("filesystem")),
        nfs=_optional(section, "nfs", _nfs),
        services=section.texts("services", rules.unit, ()),
    )
    if replica is not None and len(hosts) == 1:
        section.problem("a replica needs two hosts, and [hosts] names one", "replica")
    if coordinated and replica is None:
        section.problem("nothing to arbitrate: the volume has no replica", "arbitration")
    section.done()
    return config


def _optional(section: Section, key: str, read: Callable[[Section], T]) -> T | None:
    table = section.optional_table(key)
    return None if table is None else read(table)


def _array(section: Section, hosts: dict[str, HostConfig], *, is_replicated: bool) -> ArrayConfig:
    level = section.text("level", rules.level)
    disks_section = section.table("disks")
    disks = {}
    for host in disks_section.names():
        _require_host(disks_section, host, hosts)
        disks[host] = disks_section.texts(host, rules.serial)
        least = rules.LEVELS.get(level, 1)
        if 0 < len(disks[host]) < least:
            disks_section.problem(f"{level} needs {least} disks, not {len(disks[host])}", host)
    missing = [host for host in sorted(hosts) if host not in disks]
    if missing and (is_replicated or not disks):
        disks_section.problem(f"no disks are listed for host {missing[0]}")
    uuid = {}
    uuid_section = section.optional_table("uuid")
    for host in uuid_section.names() if uuid_section else ():
        assert uuid_section is not None
        _require_host(uuid_section, host, hosts)
        uuid[host] = uuid_section.text(host, rules.array_uuid)
    section.done()
    return ArrayConfig(level=level, disks=disks, uuid=uuid)


def _require_host(section: Section, host: str, hosts: dict[str, HostConfig]) -> None:
    if hosts and host not in hosts:
        section.problem(f"{host!r} is none of [hosts]{nearest(host, hosts)}", host)


def _replica(section: Section) -> ReplicaConfig:
    config = ReplicaConfig(
        minor=section.number("minor", 0, MINOR_LIMIT), port=section.number("port", *PORTS)
    )
    section.done()
    return config


def _filesystem(section: Section) -> FilesystemConfig:
    kind = section.text("type", one_of("ext4", "xfs"))
    config = FilesystemConfig(
        type=kind,
        uuid=section.optional_text("uuid", rules.filesystem_uuid),
        options=section.texts("options", rules.mount_option(kind), ()),
    )
    for one, other in (("suid", "nosuid"), ("dev", "nodev")):
        if one in config.options and other in config.options:
            section.problem(f"{one!r} and {other!r} contradict each other", "options")
    section.done()
    return config


def _nfs(section: Section) -> NfsConfig:
    config = NfsConfig(
        address=section.text("address", rules.service_address),
        interface=section.text("interface", rules.interface),
        link=section.text("link", one_of("macvlan", "ipvlan"), "macvlan"),
        clients=section.texts("clients", rules.client),
        options=section.texts("options", rules.export_option, ("rw", "sync")),
        threads=section.number("threads", 1, THREADS_LIMIT, 8),
    )
    for one, other in rules.EXPORT_CONTRADICTIONS:
        if one in config.options and other in config.options:
            section.problem(f"{one!r} and {other!r} contradict each other", "options")
    section.done()
    return config
