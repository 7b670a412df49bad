"""What changed between two snapshots, as one-line events, and the ring that keeps the last ones.

Pure. Numbers that tick (bytes out of sync, percentages, counters) are no events; what they cross
(in sync or not) is.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass

from storage_agent.model.agreement import Agreement
from storage_agent.model.array import ArrayView
from storage_agent.model.filesystem import FilesystemView
from storage_agent.model.guards import Guards
from storage_agent.model.incident import Incident, IncidentAnswer
from storage_agent.model.nfs import NfsView
from storage_agent.model.observed import Unobserved
from storage_agent.model.replica import Replica, Role
from storage_agent.model.snapshot import HostSnapshot, ServiceView, VolumeSnapshot

RING_SIZE = 1000
# Reason of Unobserved before the first look; what that finds is no change.
NOT_LOOKED_AT = "not looked at yet"
TEXT_LIMIT_CHARS = 400
# The first part of an aspect's name; each part of a volume has exactly one head.
_HEADS = ("array", "replica", "guards", "agreement", "incident", "filesystem", "nfs", "services")

Aspects = dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """volume: None for what concerns the whole host. operation_id: what caused it, if known."""

    wall_s: float
    text: str
    volume: str | None = None
    operation_id: str | None = None


class EventRing:
    """The last events, newest last. Safe to use from several threads."""

    def __init__(self, size: int = RING_SIZE) -> None:
        self._events: deque[Event] = deque(maxlen=size)
        self._lock = threading.Lock()

    def add(self, events: tuple[Event, ...]) -> None:
        with self._lock:
            self._events.extend(events)

    def last(self, limit: int) -> tuple[Event, ...]:
        with self._lock:
            return tuple(self._events)[-limit:] if limit > 0 else ()


def describe_changes(old: HostSnapshot | None, new: HostSnapshot) -> tuple[Event, ...]:
    """Events that lead from `old` to `new`; none for what is seen for the first time."""
    if old is None:
        return ()
    events: list[Event] = []
    if old.drbd_version and old.drbd_version != new.drbd_version:
        text = f"drbd driver {old.drbd_version or 'absent'} → {new.drbd_version or 'absent'}"
        events.append(Event(wall_s=new.taken_wall_s, text=text))
    for name, volume in new.volumes.items():
        before = old.volumes.get(name)
        if before is not None:
            events += describe_volume_changes(before, volume)
    return tuple(events)


def describe_volume_changes(old: VolumeSnapshot, new: VolumeSnapshot) -> tuple[Event, ...]:
    """As describe_changes, for one volume."""
    return tuple(
        Event(
            wall_s=new.taken_wall_s,
            volume=new.volume,
            text=f"{new.volume}: {line}"[:TEXT_LIMIT_CHARS],
        )
        for line in _difference(aspects_of(old), aspects_of(new))
    )


def _difference(old: Aspects, new: Aspects) -> list[str]:
    lines: list[str] = []
    for head in _HEADS:
        if head not in old or head not in new:
            continue
        if old[head] != new[head]:
            if not old[head].endswith(NOT_LOOKED_AT):
                lines.append(_head_line(head, old[head], new))
            continue
        parts = [k for k in (*new, *(k for k in old if k not in new)) if k.startswith(f"{head} ")]
        lines += [
            f"{part} {old.get(part, 'absent')} → {new.get(part, 'absent')}"
            for part in parts
            if old.get(part) != new.get(part)
        ]
    return lines


def _head_line(head: str, before: str, new: Aspects) -> str:
    """Names the parts too: while the head was another one they were not known."""
    parts = [
        f"{k.removeprefix(head).strip()} {v}" for k, v in new.items() if k.startswith(f"{head} ")
    ]
    return f"{head} {before} → {new[head]}" + (f" ({', '.join(parts)})" if parts else "")


def aspects_of(volume: VolumeSnapshot) -> Aspects:
    """What of a volume is worth an event, by name, in a fixed order."""
    found: Aspects = {}
    for head, value in (
        ("array", volume.array),
        ("replica", volume.replica),
        ("guards", volume.guards),
        ("agreement", volume.agreement),
        ("incident", volume.incident),
        ("filesystem", volume.filesystem),
        ("nfs", volume.nfs),
        ("services", volume.services),
    ):
        if isinstance(value, Unobserved):
            found[head] = f"unknown: {value.reason}"
        elif value is None:
            found[head] = "absent"
        elif isinstance(value, ArrayView):
            found |= _array_aspects(value)
        elif isinstance(value, Replica):
            found |= _replica_aspects(value)
        elif isinstance(value, Guards):
            found |= _guards_aspects(value)
        elif isinstance(value, Agreement):
            found[head] = _agreement_text(value)
        elif isinstance(value, Incident):
            found[head] = _incident_text(value)
        elif isinstance(value, FilesystemView):
            found |= _filesystem_aspects(value)
        elif isinstance(value, NfsView):
            found |= _nfs_aspects(value)
        else:
            found |= _service_aspects(value)
    return found


def _array_aspects(view: ArrayView) -> Aspects:
    array = view.array
    # clean and active alternate with every burst of writes: both are "running".
    head = "absent" if array is None else "running" if array.running() else str(array.state)
    found = {"array": head}
    if array is not None:
        if array.state in ("readonly", "read-auto"):
            found["array writes"] = str(array.state)
        found["array missing members"] = str(array.degraded or 0)
        found["array sync"] = array.sync_action or "idle"
        for member in array.members:
            words = ",".join(member.state) or "no state"
            found[f"array member {member.serial or member.disk}"] = words
    for serial in view.missing:
        found[f"array disk {serial}"] = "not attached"
    return found


def _replica_aspects(replica: Replica) -> Aspects:
    peer = replica.peer
    found = {
        "replica": "up",
        "replica role": str(replica.role),
        "replica disk": str(replica.disk),
        "replica writes": "frozen: " + ",".join(replica.suspended)
        if replica.suspended
        else "flowing",
        "replica connection": "none" if peer is None else str(peer.connection),
    }
    if replica.split_brain:
        found["replica connection"] += ", SPLIT BRAIN"
    elif replica.stands_alone() and replica.role is Role.PRIMARY:
        found["replica connection"] += ", NO FALLBACK"
    if peer is not None:
        found["replica peer role"] = str(peer.role)
        found["replica peer disk"] = str(peer.disk)
        found["replica replication"] = str(peer.replication)
    found["replica in sync"] = "yes" if replica.in_sync() else "no"
    return found


def _guards_aspects(guards: Guards) -> Aspects:
    return {
        "guards": "known",
        "guards fencing": guards.fencing() or "none, as there is no disk or connection",
        "guards handler": guards.problem or guards.fence_peer,
    }


def _agreement_text(agreement: Agreement) -> str:
    if not agreement.has_secret:
        return "not compared"
    if agreement.silence is not None:
        return f"unknown: {agreement.silence}"
    text = f"differs: {', '.join(agreement.differing)}" if agreement.differing else "alike"
    return f"{text}, the peer would refuse: {agreement.refusal}" if agreement.refusal else text


def _incident_text(incident: Incident) -> str:
    if incident.answer is IncidentAnswer.NONE:
        return f"{incident.incident} waits for an answer"
    return f"{incident.incident} answered: {incident.answer}, epoch {incident.epoch}"


def _filesystem_aspects(view: FilesystemView) -> Aspects:
    mounts = ", ".join(
        f"mounted at {m.mount_point}" + (" read-only" if m.read_only else "") for m in view.mounts
    )
    found = {
        "filesystem": mounts or "not mounted",
        "filesystem mount point": view.mount_point_state,
    }
    if told := view.disturbed or view.put_right:
        found["filesystem agent's folder"] = told
    return found


def _nfs_aspects(view: NfsView) -> Aspects:
    found = {"nfs": str(view.state), "nfs link": "up" if view.link_up else "down"}
    if view.in_grace is not None:
        found["nfs grace"] = "running" if view.in_grace else "over"
    for client in view.clients:
        found[f"nfs client {client.address}"] = client.status
    return found


def _service_aspects(services: tuple[ServiceView, ...]) -> Aspects:
    found = {"services": "known"}
    for service in services:
        found[f"services {service.unit}"] = f"{service.active}/{service.sub}"
    return found
