"""What md's superblocks and sysfs say, as values: `mdadm --examine` and /sys/block/mdN/md.

Runs nothing. Facts: kernel Documentation/admin-guide/md.rst, mdadm 4.2 (super1.c, Examine.c).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from storage_agent.host.system.sysfs import SECTOR_BYTES, names_in, read_attribute
from storage_agent.model.array import Array, ArrayMember, ArrayState, Superblock
from storage_agent.model.errors import ParseError

MAGIC = "a92b4efc"
UUID = re.compile(r"[0-9a-f]{8}(:[0-9a-f]{8}){3}")
UNKNOWN_UUID = "00000000:00000000:00000000:00000000"
WORD = re.compile(r"[a-z][a-z0-9_-]{0,39}")
RATIO = re.compile(r"([0-9]{1,15}) / ([0-9]{1,15})")
SECTION = re.compile(r"^(/dev/\S+):$", re.MULTILINE)
FIELD = re.compile(r"^\s*(\S.*?) : (.*)$", re.MULTILINE)


def split_examine(text: str, paths: frozenset[str]) -> dict[str, str]:
    """`mdadm --examine DEVICE…` -> its text for each device that has any, by path.

    Raises ParseError for a device that was not asked for or comes twice: the array's name is
    printed raw, so a crafted one can pretend to be more output.
    """
    parts = SECTION.split(text)
    if parts[0].strip():
        raise ParseError("mdadm --examine", "text before the first device", parts[0].strip())
    found: dict[str, str] = {}
    for path, section in zip(parts[1::2], parts[2::2], strict=True):
        if path not in paths or path in found:
            raise ParseError("mdadm --examine", "a device that was not asked for", path)
        found[path] = section
    return found


def parse_superblock(section: str, *, disk: str, serial: str) -> Superblock | None:
    """One device's part of `mdadm --examine`. None if it is no md superblock (mdadm also
    describes partition tables and BIOS RAID).

    Raises ParseError for anything but an intact superblock of version 1.
    """
    fields = _fields(section)
    if fields.get("Magic") != MAGIC:
        return None
    if not _required(fields, "Version").startswith("1."):
        raise ParseError("mdadm --examine", f"{disk} has metadata {fields['Version']}, not 1.x")
    if not _required(fields, "Checksum").endswith(" - correct"):
        raise ParseError("mdadm --examine", f"{disk}: checksum", fields["Checksum"])
    return Superblock(
        disk=disk,
        serial=serial,
        array_uuid=_uuid(_required(fields, "Array UUID")),
        device_uuid=_uuid(_required(fields, "Device UUID")),
        name=re.sub(r"\s*\(local to host [^)]*\)$", "", fields.get("Name", "")).strip(),
        level=_required(fields, "Raid Level"),
        raid_disks=_number(_required(fields, "Raid Devices"), "Raid Devices"),
        role=_role(_required(fields, "Device Role")),
        events=_number(_required(fields, "Events"), "Events"),
        array_state=_array_state(_required(fields, "Array State")),
        size_bytes=_array_size(fields.get("Array Size")),
        updated=fields.get("Update Time", ""),
        # mdadm super1.c: with MD_FEATURE_RECOVERY_OFFSET alone.
        recovering="Recovery Offset" in fields,
    )


def _fields(section: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    for key, value in FIELD.findall(section):
        if key in fields:
            raise ParseError("mdadm --examine", "a field comes twice", key)
        fields[key] = value.strip()
    return fields


def _required(fields: Mapping[str, str], key: str) -> str:
    if key not in fields:
        raise ParseError("mdadm --examine", f"no {key!r}")
    return fields[key]


def _number(text: str, what: str) -> int:
    if not re.fullmatch(r"[0-9]+", text):
        raise ParseError("md", f"{what} is no number", text)
    return int(text)


def _uuid(text: str) -> str:
    if not UUID.fullmatch(text):
        raise ParseError("md", "not a UUID", text)
    return text


def _role(text: str) -> int | None:
    """`Active device N` -> N. None for what holds no slot of its own (yet): `spare`, `Journal`,
    `Replacement device N`, and what is not known here."""
    if active := re.fullmatch(r"Active device ([0-9]+)", text):
        return int(active[1])
    return None


def _array_state(text: str) -> str:
    """`AA.A ('A' == active, …)` -> `AA.A`. Letters that are not known here are shown as `?`."""
    return re.sub(r"[^A.R]", "?", text.partition(" ")[0])


def _array_size(text: str | None) -> int | None:
    """`1044480 KiB (1020.00 MiB 1069.55 MB)` -> bytes (mdadm up to 4.1 leaves the unit out).
    Level 0 has no such line."""
    if text is None:
        return None
    size = re.match(r"([0-9]+)(?: KiB)? \(", text)
    if size is None:
        raise ParseError("mdadm --examine", "Array Size", text)
    return int(size[1]) * 1024


def is_array(root: str, name: str) -> bool:
    """Is this kernel name a md device with something in it?"""
    state = f"{root}/sys/block/{name}/md/array_state"
    return name.startswith("md") and read_attribute(state, absent="clear") != "clear"


def read_array(root: str, name: str, serials: Mapping[str, str]) -> Array:
    """One array from sysfs. root: what comes before `/sys`.  serials: of disks, by kernel name.

    uuid is empty while the kernel does not know it, which is so for an array that never ran.
    Raises Vanished when it or a member goes meanwhile, ParseError.
    """
    folder = f"{root}/sys/block/{name}"
    md = f"{folder}/md"
    degraded = read_attribute(f"{md}/degraded", absent="")
    # `new (old)` while it is being reshaped; empty while nothing is known.
    raid_disks = (read_attribute(f"{md}/raid_disks").split() or ["0"])[0]
    size_bytes = _number(read_attribute(f"{folder}/size"), "size") * SECTOR_BYTES
    members = tuple(
        _member(md, entry, serials) for entry in names_in(md) if entry.startswith("dev-")
    )
    in_slots = tuple(member.disk for member in members if member.slot is not None)
    is_whole = len(in_slots) == _number(raid_disks, "raid_disks")
    return Array(
        name=name,
        uuid=_sysfs_uuid(read_attribute(f"{md}/uuid", absent="")),
        level=read_attribute(f"{md}/level"),
        state=_state(read_attribute(f"{md}/array_state")),
        raid_disks=_number(raid_disks, "raid_disks"),
        degraded=_number(degraded, "degraded") if degraded else None,
        size_bytes=size_bytes,
        sync_action=_word(read_attribute(f"{md}/sync_action", absent="idle")),
        members=members,
        sync_completed_ratio=_ratio(read_attribute(f"{md}/sync_completed", absent="none")),
        mismatch_count=_optional(f"{md}/mismatch_cnt"),
        possible_bytes=_possible(root, md, in_slots, size_bytes) if is_whole else None,
        holders=names_in(f"{folder}/holders", absent=()),
    )


def _possible(root: str, md: str, disks: tuple[str, ...], size_bytes: int) -> int | None:
    """As the array uses now what it takes of each member (`component_size`, KiB), so it would use
    all between the data's offset and the end of the smallest disk, in whole chunks
    (super-1 metadata: super_1_rdev_size_change(); raid5_resize(), raid10_resize())."""
    component = _optional(f"{md}/component_size")
    if not component or not disks:
        return None
    component_bytes = component * 1024
    chunk_bytes = _optional(f"{md}/chunk_size") or SECTOR_BYTES
    rooms = []
    for disk in disks:
        disk_sectors = _optional(f"{root}/sys/class/block/{disk}/size")
        offset_sectors = _optional(f"{md}/dev-{disk}/offset")
        if disk_sectors is None or offset_sectors is None:
            return None
        rooms.append((disk_sectors - offset_sectors) * SECTOR_BYTES)
    return size_bytes * (min(rooms) // chunk_bytes * chunk_bytes) // component_bytes


def _optional(path: str) -> int | None:
    """A number from sysfs; None where there is none."""
    text = read_attribute(path, absent="")
    return int(text) if re.fullmatch(r"[0-9]+", text) else None


def _sysfs_uuid(text: str) -> str:
    """`8-4-4-4-12` -> mdadm's `8:8:8:8` (same digits); zeros or nothing -> empty."""
    digits = text.replace("-", "")
    if not digits:
        return ""
    uuid = _uuid(":".join(digits[start : start + 8] for start in range(0, len(digits), 8)))
    return "" if uuid == UNKNOWN_UUID else uuid


def _state(text: str) -> ArrayState:
    try:
        return ArrayState(text)
    except ValueError:
        return ArrayState.UNKNOWN


def _word(text: str) -> str:
    """md's own word, also one that came after this was written."""
    return text if WORD.fullmatch(text) else "unknown"


def _ratio(text: str) -> float | None:
    """`261376 / 2088960` sectors -> 0.125. None: `none`, `delayed` (waits for another), and what is
    not known here."""
    found = RATIO.fullmatch(text)
    return int(found[1]) / int(found[2]) if found and int(found[2]) else None


def _member(md: str, entry: str, serials: Mapping[str, str]) -> ArrayMember:
    disk = entry.removeprefix("dev-")
    slot = read_attribute(f"{md}/{entry}/slot")
    state = tuple(word for word in read_attribute(f"{md}/{entry}/state").split(",") if word)
    return ArrayMember(
        disk=disk,
        serial=serials.get(disk, ""),
        # `none`, `journal`.
        slot=int(slot) if re.fullmatch(r"[0-9]+", slot) else None,
        state=tuple(_word(word) for word in state),
    )
