"""The currency marker's file on a volume: `.storage-agent/marker`.

Two slots of one block, written in turn and in place with O_DSYNC: a torn write spoils one slot
and leaves the other.
"""

from __future__ import annotations

import json
import os
import time
import zlib
from pathlib import Path

from storage_agent.model.configuration import VolumeConfig
from storage_agent.model.errors import OperationFailed
from storage_agent.model.operation import Marker
from storage_agent.model.wire import WireError, from_wire, to_wire

FOLDER = ".storage-agent"
NAME = "marker"
SLOT_BYTES = 4096


def read_marker(mount_point: Path) -> Marker | None:
    """None where the volume was never served. Raises OperationFailed where there is a file and
    neither slot makes sense, or it cannot be read."""
    path = mount_point / FOLDER / NAME
    try:
        slots = read_slots(mount_point)
    except OSError as exc:
        raise OperationFailed(f"{path}: {exc.strerror}", code="MARKER_UNREADABLE") from exc
    return None if slots is None else newest_marker(slots, str(path))


def read_slots(mount_point: Path | str) -> bytes | None:
    """Both slots; None where the volume was never served. Raises OSError."""
    path = f"{mount_point}/{FOLDER}/{NAME}"
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
            return file.read(2 * SLOT_BYTES)
    except FileNotFoundError:
        return None


def newest_marker(slots: bytes, where: str) -> Marker:
    """Raises OperationFailed where neither slot makes sense."""
    read = [parse_slot(slots[:SLOT_BYTES]), parse_slot(slots[SLOT_BYTES:])]
    found = [marker for marker in read if marker is not None]
    if not found:
        raise OperationFailed(f"{where} is damaged in both slots", code="MARKER_UNREADABLE")
    return max(found, key=Marker.age)


def write_marker(mount_point: Path, marker: Marker) -> None:
    """Durable on return, on both hosts while they are connected (DRBD protocol C)."""
    path = mount_point / FOLDER / NAME
    flags = os.O_RDWR | os.O_CREAT | os.O_DSYNC | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(path, flags, 0o600)
        try:
            if os.fstat(descriptor).st_size < 2 * SLOT_BYTES:
                os.pwrite(descriptor, bytes(2 * SLOT_BYTES), 0)
                os.fsync(descriptor)
            os.pwrite(descriptor, render_slot(marker), (marker.counter % 2) * SLOT_BYTES)
        finally:
            os.close(descriptor)
    except OSError as exc:
        raise OperationFailed(f"{path}: {exc.strerror}", code="MARKER_UNWRITABLE") from exc


def write_next_marker(volume: VolumeConfig, epoch: int, operation_id: str, host: str) -> Marker:
    """One count further than what is there; on the mounted volume."""
    mount_point = Path(volume.mount_point)
    before = read_marker(mount_point)
    marker = Marker(
        epoch=epoch,
        counter=before.counter + 1 if before else 1,
        operation_id=operation_id,
        host=host,
        boot_id=Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
        wall_s=time.time(),
    )
    write_marker(mount_point, marker)
    return marker


def render_slot(marker: Marker) -> bytes:
    body = json.dumps(to_wire(marker), separators=(",", ":")).encode()
    return (body + b"\n%08x\n" % zlib.crc32(body)).ljust(SLOT_BYTES, b"\0")


def parse_slot(slot: bytes) -> Marker | None:
    """None for an empty or torn slot."""
    try:
        body, checksum, _ = slot.split(b"\n", 2)
        if int(checksum, 16) != zlib.crc32(body):
            return None
        return from_wire(Marker, json.loads(body))
    except (ValueError, WireError):
        return None
