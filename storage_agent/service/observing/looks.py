"""What of a volume is looked at, how often, and what stands there before the first look."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import structlog

from storage_agent.model.array import ArrayView
from storage_agent.model.clock import Clock
from storage_agent.model.configuration import AgentConfig, VolumeConfig
from storage_agent.model.filesystem import FilesystemView
from storage_agent.model.finding import Finding
from storage_agent.model.incident import Incident, IncidentAnswer
from storage_agent.model.nfs import NfsView, ServerState
from storage_agent.model.observed import Unobserved
from storage_agent.model.ports import HostPort
from storage_agent.model.replica import Replica, ReplicationState
from storage_agent.model.snapshot import JUDGED_FACETS, Facet, HostSnapshot, VolumeSnapshot
from storage_agent.service.observing.agenda import RESCAN_S, Task
from storage_agent.service.observing.changes import NOT_LOOKED_AT

# What this host's own records have against a promotion of the volume.
Records = Callable[[VolumeConfig], tuple[Finding, ...]]

# Somebody may be mending it.
OBSTACLE_PERIOD_S = 5.0
# While something moves that no event tells of.
REPLICA_SYNC_PERIOD_S = 2.0
ARRAY_SYNC_PERIOD_S = 5.0
SERVER_PERIOD_S = 15.0
# What users make of the agent's folder is told by nothing.
MOUNTED_PERIOD_S = 5.0
# DRBD tells every change by itself; this look takes a process.
REPLICA_REST_PERIOD_S = 120.0
# A handler that was killed leaves its incident behind, without any change of a folder.
INCIDENT_PERIOD_S = 2.0
_UNLOOKED = Unobserved(reason=NOT_LOOKED_AT)
_AT_REST = frozenset(
    {
        ReplicationState.OFF,
        ReplicationState.PAUSED_SYNC_S,
        ReplicationState.PAUSED_SYNC_T,
    }
)


log = structlog.get_logger()


def looked_at(volume: VolumeConfig) -> frozenset[Facet]:
    """The parts that such a volume has. The identity costs too much for a look without need."""
    absent = set()
    if volume.replica is None:
        absent |= {Facet.REPLICA, Facet.INCIDENT, Facet.GUARDS, Facet.AGREEMENT}
    if volume.nfs is None:
        absent.add(Facet.NFS)
    if not volume.services:
        absent.add(Facet.SERVICES)
    return (JUDGED_FACETS | {Facet.RECORDS}) - absent


def period_s(value: object) -> float:
    """Until the next look without a hint."""
    if isinstance(value, Replica) and value.peer:
        replication = value.peer.replication
        if replication is ReplicationState.ESTABLISHED:
            return REPLICA_REST_PERIOD_S
        return RESCAN_S if replication in _AT_REST else REPLICA_SYNC_PERIOD_S
    if isinstance(value, ArrayView) and value.array and value.array.sync_action not in ("", "idle"):
        return ARRAY_SYNC_PERIOD_S
    if isinstance(value, Incident) and value.answer is IncidentAnswer.NONE:
        return INCIDENT_PERIOD_S
    if isinstance(value, NfsView) and value.state is ServerState.HALTED:
        return INCIDENT_PERIOD_S
    if isinstance(value, NfsView) and value.state is not ServerState.ABSENT:
        return SERVER_PERIOD_S
    if isinstance(value, FilesystemView) and value.mounts:
        return MOUNTED_PERIOD_S
    if isinstance(value, tuple) and any(isinstance(found, Finding) for found in value):
        return OBSTACLE_PERIOD_S
    return RESCAN_S


def look_at(host: HostPort, records: Records, volume: VolumeConfig, facet: Facet) -> object:
    """One part's value. Whatever goes wrong makes it unknown."""
    try:
        if facet is Facet.RECORDS:
            return records(volume)
        return getattr(host.observe(volume, frozenset({facet})), facet.value)
    except Exception as exc:
        log.exception("a look failed", volume=volume.name, facet=str(facet))
        return Unobserved(reason=f"{type(exc).__name__}: {exc}"[:200])


def blank_snapshot(config: AgentConfig, boot_id: str, clock: Clock) -> HostSnapshot:
    """What is configured and was never looked at."""
    now_s, wall_s = clock.monotonic(), clock.wall()
    return HostSnapshot(
        host=config.host,
        boot_id=boot_id,
        taken_monotonic_s=now_s,
        taken_wall_s=wall_s,
        volumes={
            name: _blank_volume(config.host, boot_id, volume, now_s, wall_s)
            for name, volume in config.volumes.items()
        },
        drbd_version=None,
    )


def _blank_volume(
    host: str, boot_id: str, volume: VolumeConfig, now_s: float, wall_s: float
) -> VolumeSnapshot:
    return VolumeSnapshot(
        volume=volume.name,
        host=host,
        boot_id=boot_id,
        taken_monotonic_s=now_s,
        taken_wall_s=wall_s,
        array=_UNLOOKED,
        replica=_UNLOOKED if volume.replica else None,
        filesystem=_UNLOOKED,
        nfs=_UNLOOKED if volume.nfs else None,
        services=_UNLOOKED if volume.services else (),
        incident=_UNLOOKED if volume.replica else None,
        guards=_UNLOOKED if volume.replica else None,
        agreement=_UNLOOKED if volume.replica else None,
        content=_UNLOOKED,
        records=_UNLOOKED,
    )


def carry_over(old: HostSnapshot, blank: HostSnapshot, known: frozenset[Task]) -> HostSnapshot:
    """A blank snapshot with those parts of the old one that are still looked at."""
    volumes = dict(blank.volumes)
    for task in known:
        before = old.volumes[task.volume]
        parts: dict[str, Any] = {task.facet.value: getattr(before, task.facet.value)}
        if task.facet is Facet.REPLICA:
            parts["attachment"] = before.attachment
        volumes[task.volume] = dataclasses.replace(volumes[task.volume], **parts)
    return dataclasses.replace(blank, volumes=volumes, drbd_version=old.drbd_version)
