"""Does anything else on the host have what the volume is to have? Pure.

What is defined and down counts as much as what runs: it may come up at the next boot, and DRBD's
tools refuse *every* resource while two definitions contradict each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from storage_agent.model.array import Disk
from storage_agent.model.configuration import AgentConfig, ReplicaConfig, VolumeConfig
from storage_agent.model.finding import Finding
from storage_agent.model.observed import Unobserved
from storage_agent.model.surroundings import OtherReplica, Surroundings
from storage_agent.policy.common import LOOKED_AT, blocker, host_name_findings

# As in examples/agent.toml, which says why.
FIRST_PORT = 8789
FIRST_MINOR = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Collision:
    """key: what of the volume's configuration collides, below [volumes.NAME]."""

    key: tuple[str, ...]
    finding: Finding


def resource_place(name: str) -> str:
    """Where the agent's own definition of a volume's resource stands."""
    return f"/etc/drbd.d/storage-agent-{name}.res"


def collisions(
    config: AgentConfig, volume: VolumeConfig, seen: Surroundings, *, is_made: bool
) -> tuple[Collision, ...]:
    """is_made: the volume exists here, at least in part, so what bears its name is its own."""
    found: list[Collision] = []
    if volume.replica is not None:
        named = host_name_findings(config, seen.node_name)
        found += (Collision(key=("replica",), finding=finding) for finding in named)
        found += _replicas(config, volume, volume.replica, seen, is_made=is_made)
        if not is_made:
            found += _listeners(config, volume, volume.replica, seen)
    return (*found, *_arrays(config, volume, seen))


def disk_users(disk: Disk, seen: Surroundings) -> tuple[str, ...]:
    """Resources, up or down, whose disk this is, or one of its partitions."""
    if isinstance(seen.replicas, Unobserved):
        return ()
    names = {disk.name, disk.path, *disk.partitions}
    return tuple(
        f"DRBD resource {other.name} ({other.place})"
        for other in seen.replicas
        if names.intersection(other.disks)
    )


def _replicas(
    config: AgentConfig,
    volume: VolumeConfig,
    replica: ReplicaConfig,
    seen: Surroundings,
    *,
    is_made: bool,
) -> Iterator[Collision]:
    if isinstance(seen.replicas, Unobserved):
        yield Collision(key=("replica",), finding=_unseen("DRBD resources", seen.replicas))
        return
    others = tuple(other for other in seen.replicas if not _is_own(volume, other, is_made=is_made))
    host = config.hosts.get(config.host)
    address = host.address if host else ""
    for other in others:
        if other.name == volume.name:
            yield _taken(
                (),
                other,
                f"the name {volume.name} belongs",
                f"name {other.name}",
                f"call the volume otherwise: rename [volumes.{volume.name}] in agent.toml on both "
                "hosts, then: storage-agent config check",
            )
        if replica.minor in other.minors:
            free = _free(FIRST_MINOR, _minors(config, others))
            yield _taken(
                ("replica", "minor"),
                other,
                f"minor {replica.minor} of {volume.name} belongs",
                f"minor {replica.minor}",
                f"set minor = {free} under [volumes.{volume.name}.replica] in agent.toml on both "
                "hosts, then: storage-agent config check",
            )
        # DRBD refuses two resources with one end, and 0.0.0.0 is every address.
        if other.port == replica.port and other.address in (address, "0.0.0.0", "::"):
            yield _taken(
                ("replica", "port"),
                other,
                f"port {replica.port} of {volume.name} belongs",
                f"{other.address}:{other.port}",
                _other_port(config, volume, seen),
            )
        if volume.array_device() in other.disks:
            yield _taken(
                ("array",),
                other,
                f"{volume.array_device()} belongs",
                f"disk {volume.array_device()}",
                f"call the volume otherwise: rename [volumes.{volume.name}] in agent.toml on both "
                "hosts, then: storage-agent config check",
            )


def _is_own(volume: VolumeConfig, other: OtherReplica, *, is_made: bool) -> bool:
    if other.place.rpartition(":")[0] == resource_place(volume.name):
        return True
    return is_made and other.name == volume.name and ":" not in other.place


def _taken(
    key: tuple[str, ...], other: OtherReplica, what: str, measured: str, remedy: str
) -> Collision:
    return Collision(
        key=key,
        finding=blocker(
            "DRBD_TAKEN",
            f"{what} to the DRBD resource {other.name}, defined in {other.place}",
            measured=f"{other.name}: {measured}",
            limit="nobody else's, up or down",
            remedy=remedy,
        ),
    )


def _listeners(
    config: AgentConfig, volume: VolumeConfig, replica: ReplicaConfig, seen: Surroundings
) -> Iterator[Collision]:
    if isinstance(seen.listeners, Unobserved):
        yield Collision(key=("replica", "port"), finding=_unseen("TCP ports", seen.listeners))
        return
    host = config.hosts.get(config.host)
    for listener in seen.listeners:
        if listener.port != replica.port:
            continue
        if listener.address and host and listener.address != host.address:
            continue
        yield Collision(
            key=("replica", "port"),
            finding=blocker(
                "PORT_TAKEN",
                f"port {replica.port} of {volume.name} is in use on this host",
                measured=f"something listens at {listener.address or 'all addresses'}:"
                f"{listener.port}",
                limit="nobody listens there",
                remedy=f"see who: ss -ltnp 'sport = :{replica.port}'; "
                + _other_port(config, volume, seen),
            ),
        )
        return


def _arrays(config: AgentConfig, volume: VolumeConfig, seen: Surroundings) -> Iterator[Collision]:
    if isinstance(seen.arrays, Unobserved):
        yield Collision(key=("array",), finding=_unseen("md arrays", seen.arrays))
        return
    own = {uuid.lower() for uuid in volume.array.uuid.values()}
    for other in seen.arrays:
        if other.path == volume.array_device() and other.uuid.lower() not in own:
            yield Collision(
                key=("array",),
                finding=blocker(
                    "ARRAY_NAME_TAKEN",
                    f"{other.path} is the name of another array, by {other.place}",
                    measured=f"array {other.uuid or 'without a UUID'}",
                    limit=f"nobody else's: the array of {volume.name} is to be there",
                    remedy=f"call the volume otherwise: rename [volumes.{volume.name}] in "
                    "agent.toml on both hosts, then: storage-agent config check",
                ),
            )


def _other_port(config: AgentConfig, volume: VolumeConfig, seen: Surroundings) -> str:
    used = {v.replica.port for v in config.volumes.values() if v.replica}
    if not isinstance(seen.replicas, Unobserved):
        used |= {other.port for other in seen.replicas}
    if not isinstance(seen.listeners, Unobserved):
        used |= {listener.port for listener in seen.listeners}
    return (
        f"set port = {_free(FIRST_PORT, used)} under [volumes.{volume.name}.replica] in "
        "agent.toml on both hosts, then: storage-agent config check"
    )


def _minors(config: AgentConfig, others: Iterable[OtherReplica]) -> set[int]:
    used = {v.replica.minor for v in config.volumes.values() if v.replica}
    return used | {minor for other in others for minor in other.minors}


def _free(first: int, used: set[int]) -> int:
    return next(number for number in range(first, first + len(used) + 1) if number not in used)


def _unseen(what: str, view: Unobserved) -> Finding:
    return blocker(
        "SURROUNDINGS_UNSEEN",
        f"what {what} there are on this host could not be looked at",
        measured=view.reason,
        limit=LOOKED_AT,
        remedy="mend what it says, then try again; DRBD's files: drbdadm sh-nop; "
        "arrays: cat /proc/mdstat",
    )
