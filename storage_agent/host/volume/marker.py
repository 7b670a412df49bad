"""The currency marker's file on a volume: `.storage-agent/marker`.

Two slots of one block, written in turn and in place with O_DSYNC: a torn write spoils one slot
and leaves the other. What it says is believed as far as any user of the volume may be: it is
bounded and typed here, and judged by policy/currency.py.
"""

from __future__ import annotations

import json
import math
import re
import time
import zlib
from pathlib import Path

from storage_agent.host.volume.door import Folder, NotOurs, enter
from storage_agent.host.volume.own import FOLDER, MODE, made_folder, own_folder
from storage_agent.model.configuration import VolumeConfig
from storage_agent.model.errors import OperationFailed
from storage_agent.model.operation import Marker
from storage_agent.model.wire import WireError, from_wire, to_wire

NAME = "marker"
SLOT_BYTES = 4096
# Far above what counting can reach, far below what any later arithmetic or database minds.
NUMBER_LIMIT = 1 << 53
_TEXT = re.compile(r"[\x21-\x7e]{0,128}")


def read_marker(mount_point: Path) -> Marker | None:
    """None where the volume was never served. Raises OperationFailed where there is a file and
    neither slot makes sense, or it cannot be read."""
    path = mount_point / FOLDER / NAME
    try:
        slots = read_slots(mount_point)
    except OSError as exc:
        raise OperationFailed(
            f"{exc.filename or path}: {exc.strerror}", code="MARKER_UNREADABLE"
        ) from exc
    return None if slots is None else newest_marker(slots, str(path))


def read_slots(mount_point: Path | str) -> bytes | None:
    """Both slots; None where the volume was never served. Raises OSError."""
    with enter(str(mount_point)) as root:
        try:
            own = own_folder(root)
        except FileNotFoundError:
            return None
        with own:
            return own.read(NAME, 2 * SLOT_BYTES)


def newest_marker(slots: bytes, where: str) -> Marker:
    """Raises OperationFailed where neither slot makes sense."""
    read = [parse_slot(slots[:SLOT_BYTES]), parse_slot(slots[SLOT_BYTES:])]
    found = [marker for marker in read if marker is not None]
    if not found:
        raise OperationFailed(f"{where} is damaged in both slots", code="MARKER_UNREADABLE")
    return max(found, key=Marker.age)


def write_marker(mount_point: Path | str, marker: Marker, *, afresh: bool = False) -> str:
    """Durable on return, on both hosts while they are connected (DRBD protocol C). Made, with its
    folder, where it is not there. afresh: nothing of what the other slot says is kept.

    Returns what had to be put back or set aside, for people; empty: nothing. Raises
    OperationFailed."""
    try:
        with enter(str(mount_point)) as root:
            return write_into(root, marker, afresh=afresh)
    except OSError as exc:
        path = f"{mount_point}/{FOLDER}/{NAME}"
        raise OperationFailed(
            f"{exc.filename or path}: {exc.strerror}", code="MARKER_UNWRITABLE"
        ) from exc


def write_into(root: Folder, marker: Marker, *, afresh: bool = False) -> str:
    """The same in an open volume. Raises OSError."""
    known = root.has(FOLDER)
    own, told = made_folder(root, FOLDER, MODE)
    with own:
        told += _write(own, marker, afresh=afresh)
    missing = () if known else (f"{root.where}/{FOLDER} was missing, and is made anew",)
    return "; ".join((*missing, *told))


def _write(own: Folder, marker: Marker, *, afresh: bool) -> tuple[str, ...]:
    told: tuple[str, ...] = ()
    try:
        size = own.size(NAME)
    except NotOurs as exc:
        told = (f"set aside: {own.where}/{own.set_aside(NAME)}, it {exc.strerror}",)
        size = None
    slot, offset = render_slot(marker), (marker.counter % 2) * SLOT_BYTES
    if size == 2 * SLOT_BYTES and not afresh:
        own.write_at(NAME, slot, offset)
    else:
        content = bytearray(2 * SLOT_BYTES)
        content[offset : offset + SLOT_BYTES] = slot
        own.make_file(NAME, bytes(content))
    return told


def write_next_marker(
    volume: VolumeConfig, epoch: int, operation_id: str, host: str, *, afresh: bool = False
) -> Marker:
    """Newer than what is there; on the mounted volume. afresh: whatever is there."""
    mount_point = Path(volume.mount_point)
    before = None if afresh else read_marker(mount_point)
    goes_on = before is not None and before.epoch >= epoch
    marker = Marker(
        epoch=epoch,
        # With a new epoch from the beginning: nobody's number is ever carried on.
        counter=before.counter + 1 if before and goes_on else 1,
        operation_id=operation_id,
        host=host,
        boot_id=Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
        wall_s=time.time(),
    )
    write_marker(mount_point, marker, afresh=afresh)
    return marker


def render_slot(marker: Marker) -> bytes:
    body = json.dumps(to_wire(marker), separators=(",", ":")).encode()
    return (body + b"\n%08x\n" % zlib.crc32(body)).ljust(SLOT_BYTES, b"\0")


def parse_slot(slot: bytes) -> Marker | None:
    """None for an empty or torn slot, and for what no agent can have written."""
    try:
        body, checksum, _ = slot.split(b"\n", 2)
        if int(checksum, 16) != zlib.crc32(body):
            return None
        marker = from_wire(Marker, json.loads(body.decode()))
    except (ValueError, WireError, RecursionError):
        return None
    return marker if _is_sane(marker) else None


def _is_sane(marker: Marker) -> bool:
    texts = (marker.operation_id, marker.host, marker.boot_id)
    return (
        0 <= marker.epoch < NUMBER_LIMIT
        and 0 <= marker.counter < NUMBER_LIMIT
        and math.isfinite(marker.wall_s)
        and 0 <= marker.wall_s < NUMBER_LIMIT
        and all(_TEXT.fullmatch(text) for text in texts)
    )
