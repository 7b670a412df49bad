"""One volume's layers as rows: what it is, and how loudly it has to be said. Pure.

A row never hides a contradiction between layers: it says both sides.
"""

from __future__ import annotations

from dataclasses import dataclass

from storage_agent.cli.terminal import Tone
from storage_agent.cli.text import counted, part_text, percent_text, size_text
from storage_agent.model.array import Array, ArrayState, ArrayView
from storage_agent.model.configuration import Arbitration, VolumeConfig
from storage_agent.model.filesystem import Capacity, FilesystemView
from storage_agent.model.incident import IncidentAnswer
from storage_agent.model.nfs import NfsView, ServerState
from storage_agent.model.observed import Unobserved
from storage_agent.model.replica import (
    ConnectionState,
    DiskState,
    PeerView,
    Replica,
    ReplicationState,
    Role,
)
from storage_agent.model.snapshot import VolumeSnapshot
from storage_agent.policy.guards import arbitration_text
from storage_agent.policy.sync import running_syncs

ARBITRATION_TEXTS = {
    Arbitration.NONE: "none: a person decides when the hosts lose each other",
    Arbitration.COORDINATOR: "coordinator: it decides when the hosts lose each other",
}


@dataclass(frozen=True, slots=True)
class Row:
    tone: Tone
    label: str
    text: str


def volume_rows(snapshot: VolumeSnapshot, peer: str, known: VolumeConfig | None) -> tuple[Row, ...]:
    """Array, replica, filesystem, NFS, clients, services; layers that the volume does not have are
    left out, layers that could not be looked at are not. known: its configuration, if it is."""
    replica = _replica_rows(snapshot, peer)
    if snapshot.replica is None and known is not None and known.replica is not None:
        replica = [Row(Tone.BAD, "replica", f"not up: DRBD knows no {snapshot.volume} here")]
    if known is not None and known.replica is not None:
        replica.append(_arbitration_row(snapshot, known))
    replica += _incident_rows(snapshot, peer)
    rows = [*_array_rows(snapshot), *replica, *_filesystem_rows(snapshot)]
    return (*rows, *_nfs_rows(snapshot), *_service_rows(snapshot))


def _arbitration_row(snapshot: VolumeSnapshot, known: VolumeConfig) -> Row:
    """What DRBD would do; what is configured only beside it, or as a plan of a replica that is
    down."""
    label, guards = "arbitration", snapshot.guards
    if isinstance(guards, Unobserved):
        return _unknown(label, guards)
    if differs := arbitration_text(known, snapshot):
        text = f"{known.arbitration} is configured and NOT in force: {differs}"
        return Row(Tone.BAD, label, text)
    text = ARBITRATION_TEXTS[known.arbitration]
    return Row(Tone.OK, label, text if guards else f"{text} (once it is up)")


def is_serving(snapshot: VolumeSnapshot) -> bool:
    """Clients reach it here; without an NFS server of its own: it is mounted here."""
    if isinstance(snapshot.nfs, NfsView):
        return snapshot.nfs.state is ServerState.SERVING
    return snapshot.nfs is None and _is_mounted(snapshot)


def place_text(snapshot: VolumeSnapshot) -> str:
    """`serving on alpha`, `secondary on beta`."""
    replica = snapshot.replica
    if isinstance(snapshot.nfs, Unobserved) or isinstance(replica, Unobserved):
        return f"state unknown on {snapshot.host}"
    if is_serving(snapshot):
        return f"serving on {snapshot.host}"
    if isinstance(replica, Replica):
        if replica.role is Role.PRIMARY:
            return f"primary but not serving on {snapshot.host}"
        return f"{replica.role.lower()} on {snapshot.host}"
    return f"not serving on {snapshot.host}"


def _is_mounted(snapshot: VolumeSnapshot) -> bool:
    view = snapshot.filesystem
    return isinstance(view, FilesystemView) and bool(view.mounts)


def _unknown(label: str, view: Unobserved) -> Row:
    return Row(Tone.UNKNOWN, label, f"unknown: {view.reason}")


def _array_rows(snapshot: VolumeSnapshot) -> list[Row]:
    view = snapshot.array
    if isinstance(view, Unobserved):
        return [_unknown("array", view)]
    if view is None:
        return []
    if view.array is None:
        return [Row(Tone.BAD, "array", f"not assembled; {_attached_text(view)}")]
    array = view.array
    if not array.running():
        text = f"{array.name} is {array.state}, not running; {_attached_text(view)}"
        return [Row(Tone.BAD, "array", text)]
    return [_running_array(view, array)]


def _attached_text(view: ArrayView) -> str:
    text = f"{counted(len(view.attached), 'member')} attached"
    if view.missing:
        text += f", missing: {', '.join(view.missing)}"
    return text + (f", blank: {', '.join(view.blank)}" if view.blank else "")


def _running_array(view: ArrayView, array: Array) -> Row:
    missing = array.degraded or 0
    there = f"{array.raid_disks - missing} of {counted(array.raid_disks, 'disk')}"
    parts = [f"{array.name} {array.level}", there, size_text(array.size_bytes), str(array.state)]
    tone = Tone.OK
    if array.state in (ArrayState.READ_AUTO, ArrayState.READONLY):
        parts[-1] = f"{array.state} (nothing written yet)"
    if array.mismatch_count:
        tone = Tone.WARN
        parts.append(f"{array.mismatch_count} mismatches found by the last check")
    if array.sync_action not in ("", "idle"):
        tone = Tone.WARN
        ratio = array.sync_completed_ratio
        far = "" if ratio is None else f" {percent_text(ratio, 1)}"
        parts.append(f"{array.sync_action}{far}")
    faulty = [m.serial or m.disk for m in array.members if "faulty" in m.state]
    if missing or faulty:
        tone = Tone.BAD
        parts[1] = f"DEGRADED: {there}"
        if faulty:
            parts.append(f"faulty: {', '.join(faulty)}")
        if view.missing:
            parts.append(f"not attached: {', '.join(view.missing)}")
    return Row(tone, "array", ", ".join(parts))


def _replica_rows(snapshot: VolumeSnapshot, peer: str) -> list[Row]:
    replica = snapshot.replica
    if isinstance(replica, Unobserved):
        return [_unknown("replica", replica)]
    if replica is None:
        return []
    rows = []
    if replica.suspended:
        why = ", ".join(replica.suspended)
        rows.append(Row(Tone.BAD, "replica", f"WRITES ARE FROZEN ({why})"))
    tone = Tone.OK if replica.disk is DiskState.UP_TO_DATE else Tone.BAD
    text = f"{replica.role}, {replica.disk}"
    if replica.peer is None:
        rows.append(Row(Tone.BAD, "replica", f"{text}; no connection to {peer} is configured"))
        return rows
    peer_tone, peer_text = _peer_text(snapshot, replica, replica.peer, peer)
    loudest = Tone.BAD if Tone.BAD in (tone, peer_tone) else peer_tone
    rows.append(Row(loudest, "replica", f"{text}; {peer}: {peer_text}"))
    return rows


def _incident_rows(snapshot: VolumeSnapshot, peer: str) -> list[Row]:
    incident = snapshot.incident
    if isinstance(incident, Unobserved):
        return [_unknown("incident", incident)]
    if incident is None:
        return []
    if incident.answer is IncidentAnswer.NONE:
        return [Row(Tone.BAD, "incident", f"OPEN: {peer} is lost, may this host go on?")]
    if incident.answer is IncidentAnswer.CONTINUE:
        return [Row(Tone.OK, "incident", f"the last one: granted, epoch {incident.epoch}")]
    frozen = isinstance(snapshot.replica, Replica) and snapshot.replica.suspended
    text = f"DENIED: {peer} was granted epoch {incident.epoch}"
    return [Row(Tone.BAD if frozen else Tone.WARN, "incident", text)]


def _peer_text(
    snapshot: VolumeSnapshot, replica: Replica, view: PeerView, peer: str
) -> tuple[Tone, str]:
    if view.connection is not ConnectionState.CONNECTED:
        behind = view.out_of_sync_bytes
        text = f"{view.connection}, last known {view.disk}"
        return Tone.BAD, text + (f", {size_text(behind)} differ" if behind else "")
    text = f"Connected, {view.role}, {view.disk}"
    if replica.role is Role.PRIMARY and view.role is Role.PRIMARY:
        return Tone.BAD, f"{text}: CONTRADICTION, both are Primary"
    if replica.in_sync():
        return Tone.OK, f"{text}, in sync"
    syncs = [s for s in running_syncs(snapshot, peer) if s.what.startswith("resync")]
    if syncs:
        done, total = syncs[0].done_bytes, syncs[0].total_bytes
        tone = Tone.WARN if replica.disk is DiskState.UP_TO_DATE else Tone.BAD
        return tone, f"{text}, {view.replication} {percent_text(done, total)}"
    if view.out_of_sync_bytes is None:
        return Tone.UNKNOWN, f"{text}, {view.replication}, unknown how much differs"
    differ = f"{size_text(view.out_of_sync_bytes)} differ"
    both = (replica.disk, view.disk) == (DiskState.UP_TO_DATE, DiskState.UP_TO_DATE)
    if both and view.replication is ReplicationState.ESTABLISHED:
        return Tone.BAD, f"{text}: CONTRADICTION, both UpToDate but {differ}"
    return Tone.BAD, f"{text}, {view.replication}, {differ}"


def _filesystem_rows(snapshot: VolumeSnapshot) -> list[Row]:
    view = snapshot.filesystem
    if isinstance(view, Unobserved):
        return [_unknown("filesystem", view)]
    if view is None:
        return []
    if not view.mounts:
        return [_unmounted_row(snapshot, view)]
    mount = view.mounts[0]
    tone, parts = Tone.OK, [f"{mount.type} on {mount.mount_point}"]
    if view.capacity is not None:
        tone = Tone.WARN if _nearly_full(view.capacity) else Tone.OK
        parts.append(_capacity_text(view.capacity))
    if mount.read_only:
        tone, parts = Tone.BAD, [*parts, "READ-ONLY"]
    if len(view.mounts) > 1:
        others = ", ".join(m.mount_point for m in view.mounts[1:])
        tone, parts = Tone.BAD, [*parts, f"CONTRADICTION: also mounted at {others}"]
    if isinstance(snapshot.replica, Replica) and snapshot.replica.role is not Role.PRIMARY:
        tone = Tone.BAD
        parts.append(f"CONTRADICTION: mounted while {snapshot.replica.role}")
    return [Row(tone, "filesystem", ", ".join(parts))]


def _unmounted_row(snapshot: VolumeSnapshot, view: FilesystemView) -> Row:
    text = f"not mounted, mount point {view.mount_point_state}"
    if is_serving(snapshot):
        return Row(Tone.BAD, "filesystem", f"{text}: CONTRADICTION, the NFS server runs")
    primary = isinstance(snapshot.replica, Replica) and snapshot.replica.role is Role.PRIMARY
    if primary or view.mount_point_state != "ready":
        return Row(Tone.BAD, "filesystem", text + (" (this host is Primary)" if primary else ""))
    return Row(Tone.OK, "filesystem", text)


def _capacity_text(space: Capacity) -> str:
    text = (
        f"{part_text(space.free_bytes, space.size_bytes, between=' of ')} free "
        f"({percent_text(space.free_bytes, space.size_bytes)})"
    )
    if space.inodes:
        text += f", inodes {percent_text(space.free_inodes, space.inodes)} free"
    return text


def _nearly_full(space: Capacity) -> bool:
    return space.free_bytes < space.size_bytes * 0.05 or space.free_inodes < space.inodes * 0.05


def _nfs_rows(snapshot: VolumeSnapshot) -> list[Row]:
    view = snapshot.nfs
    if isinstance(view, Unobserved):
        return [_unknown("nfs", view)]
    if view is None:
        return []
    if view.state is not ServerState.SERVING:
        words = {
            ServerState.ABSENT: "no server runs",
            ServerState.STANDBY: f"standing by for {view.address}, no server runs",
            ServerState.STARTED: f"started, but the link of {view.address} is down",
            ServerState.HALTED: f"HALTED: clients of {view.address} were shut out at once",
        }
        needed = _is_mounted(snapshot)
        return [Row(Tone.BAD if needed else Tone.OK, "nfs", words[view.state])]
    text = f"serving {view.address}, {counted(view.threads, 'thread')}"
    tone = Tone.OK
    if view.exports:
        text += f", exports {', '.join(view.exports)}"
    else:
        tone, text = Tone.BAD, text + ", CONTRADICTION: exports nothing"
    if view.in_grace:
        tone, text = Tone.WARN, text + ", in grace (clients reclaim their locks)"
    return [Row(tone, "nfs", text), _clients_row(view)]


def _clients_row(view: NfsView) -> Row:
    live = [c for c in view.clients if c.status == "confirmed"]
    text = f"{len(live)} active"
    if live:
        opens, locks = sum(c.opens for c in live), sum(c.locks for c in live)
        text += f", {counted(opens, 'open')}, {counted(locks, 'lock')}"
    if quiet := len(view.clients) - len(live):
        text += f"; {quiet} not active (courtesy or expiring)"
    return Row(Tone.OK, "clients", text)


def _service_rows(snapshot: VolumeSnapshot) -> list[Row]:
    if isinstance(snapshot.services, Unobserved):
        return [_unknown("services", snapshot.services)]
    mounted = _is_mounted(snapshot)
    rows = []
    for service in snapshot.services:
        wanted = "active" if mounted else "inactive"
        tone = Tone.OK if service.active == wanted else Tone.BAD
        text = f"{service.unit} {service.active} ({service.sub})"
        if service.active == "active" and not mounted:
            text += ": CONTRADICTION, it runs and nothing is mounted"
        rows.append(Row(tone, "service", text))
    return rows
