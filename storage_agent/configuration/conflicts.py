"""What no two volumes, hosts or disks may share. Each conflict names both places. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from storage_agent.configuration.positions import KeyPath, dotted
from storage_agent.configuration.read import Document, Problem
from storage_agent.model.configuration import AgentConfig, VolumeConfig

# (what is claimed, its value as shown, where)
Claim = tuple[str, str, KeyPath]


def find_conflicts(document: Document, config: AgentConfig) -> None:
    """Adds a problem for whatever is claimed a second time."""
    first: dict[tuple[str, str], KeyPath] = {}
    if "compare_port" in document.values:
        # Only what somebody wrote: volumes of before may have the default for their own.
        first["port", str(config.compare_port)] = ("compare_port",)
    for what, value, path in _claims(config):
        # An empty value is one that was wrong, and has been told already.
        if not value:
            continue
        earlier = first.setdefault((what, value), path)
        if earlier != path:
            _report(document, path, f"{what} {value} is taken", earlier)
    _nested_mount_points(document, config)
    _mixed_links(document, config)
    _names(document, config)


def _claims(config: AgentConfig) -> Iterator[Claim]:
    for name, host in config.hosts.items():
        yield "address", host.address, ("hosts", name, "address")
    for volume in config.volumes.values():
        yield from _volume_claims(volume)


def _volume_claims(volume: VolumeConfig) -> Iterator[Claim]:
    at: KeyPath = ("volumes", volume.name)
    yield "mount point", volume.mount_point, (*at, "mount_point")
    for number, unit in _once(volume.services):
        yield "unit", unit, (*at, "services", number)
    # A serial names one disk in the world, so also not on the other host: there it is a slip.
    for host, serials in volume.array.disks.items():
        for number, serial in _once(serials):
            yield "disk", serial, (*at, "array", "disks", host, number)
    for host, uuid in volume.array.uuid.items():
        yield "array UUID", uuid, (*at, "array", "uuid", host)
    if volume.filesystem.uuid:
        yield "filesystem UUID", volume.filesystem.uuid, (*at, "filesystem", "uuid")
    if volume.replica:
        for what, number in (("minor", volume.replica.minor), ("port", volume.replica.port)):
            yield what, str(number) if number >= 0 else "", (*at, "replica", what)
    if volume.nfs:
        yield "address", volume.nfs.address.partition("/")[0], (*at, "nfs", "address")


def _once(values: tuple[str, ...]) -> Iterator[tuple[int, str]]:
    """With their numbers; a repetition within one list was told when the list was read."""
    return ((n, value) for n, value in enumerate(values) if value not in values[:n])


def _nested_mount_points(document: Document, config: AgentConfig) -> None:
    volumes = [volume for volume in config.volumes.values() if volume.mount_point]
    for inner in volumes:
        for outer in volumes:
            if inner.mount_point.startswith(outer.mount_point + "/"):
                path: KeyPath = ("volumes", inner.name, "mount_point")
                text = f"{inner.mount_point} lies inside volume {outer.name}"
                _report(document, path, text, ("volumes", outer.name, "mount_point"))


def _mixed_links(document: Document, config: AgentConfig) -> None:
    """The kernel refuses a macvlan and an ipvlan on one parent (EBUSY)."""
    first: dict[str, VolumeConfig] = {}
    for volume in config.volumes.values():
        if volume.nfs is None or not volume.nfs.interface:
            continue
        earlier = first.setdefault(volume.nfs.interface, volume)
        if earlier.nfs is not None and earlier.nfs.link != volume.nfs.link:
            text = f"macvlan and ipvlan cannot share interface {volume.nfs.interface}"
            there: KeyPath = ("volumes", earlier.name, "nfs", "link")
            _report(document, ("volumes", volume.name, "nfs", "link"), text, there)


def _names(document: Document, config: AgentConfig) -> None:
    """A volume's NFS server runs under the volume's name as its hostname."""
    for name in config.volumes:
        if name in config.hosts:
            _report(document, ("volumes", name), "a host is called so", ("hosts", name))


def _report(document: Document, path: KeyPath, text: str, other: KeyPath) -> None:
    message = f"{dotted(path)}: {text}: see {dotted(other)} at {document.origin(other)}"
    document.problems.append(Problem(origin=document.origin(path), message=message))
