"""Who is mounted where: /proc/PID/mountinfo (proc(5)) and block device numbers. No host tool."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from storage_agent.model.errors import Missing, ParseError
from storage_agent.model.filesystem import Mount

_DEVICE = re.compile(r"\d+:\d+")
_ESCAPE = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True, kw_only=True)
class MountLine:
    """mount_id: unique on the host while the mount exists, in whichever namespace it is.
    parent_id: the mount that this one lies on.  shared, master: the group that it tells of its
    mounts and unmounts, and the one that it hears them from (mount_namespaces(7))."""

    mount_id: int
    parent_id: int
    mount: Mount
    shared: int | None = None
    master: int | None = None


def unescape(field: str) -> str:
    r"""The kernel writes space, tab, newline and backslash in paths as `\040` and so on."""
    return _ESCAPE.sub(lambda found: chr(int(found[1], 8)), field)


def parse_mount_lines(text: str) -> tuple[MountLine, ...]:
    """All lines, in the kernel's order. Raises ParseError."""
    return tuple(_parse_line(line) for line in text.splitlines())


def parse_mountinfo(text: str) -> tuple[Mount, ...]:
    """All mounts, in the kernel's order. Raises ParseError."""
    return tuple(line.mount for line in parse_mount_lines(text))


def _parse_line(line: str) -> MountLine:
    # Not split(): a source may be the empty string.
    fields = line.split(" ")
    try:
        # The optional fields before the dash vary in number and meaning.
        dash = fields.index("-", 6)
        kind, source, super_options = fields[dash + 1 : dash + 4]
        mount_id, parent_id = int(fields[0]), int(fields[1])
    except ValueError:
        raise ParseError("/proc/PID/mountinfo", "not a line of mountinfo", line) from None
    device, root, mount_point, options = fields[2:6]
    if not _DEVICE.fullmatch(device):
        raise ParseError("/proc/PID/mountinfo", "the third field is not major:minor", line)
    tags = dict(field.partition(":")[::2] for field in fields[6:dash])
    return MountLine(
        mount_id=mount_id,
        parent_id=parent_id,
        shared=_group(tags, "shared"),
        master=_group(tags, "master"),
        mount=Mount(
            mount_point=unescape(mount_point),
            source=unescape(source),
            device=device,
            root=unescape(root),
            type=kind,
            options=tuple(options.split(",")),
            read_only="ro" in options.split(",") or "ro" in super_options.split(","),
        ),
    )


def _group(tags: Mapping[str, str], name: str) -> int | None:
    text = tags.get(name, "")
    return int(text) if text.isdecimal() else None


def lies_in(path: str, folder: str) -> bool:
    """Whether `path` is `folder` or something below it. Compares text, touches nothing."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def covering(lines: Iterable[MountLine], path: str) -> MountLine | None:
    """The mount that `path` is on, from the table alone, so that no dead server is asked."""
    best: MountLine | None = None
    for line in lines:
        point = line.mount.mount_point
        # `>=`: of several mounts on one place the last one hides the others.
        longer = best is None or len(point) >= len(best.mount.mount_point)
        if longer and lies_in(path, point):
            best = line
    return best


def kernel_name(device: str, root: Path) -> str:
    """`md127` for `/dev/md/data` (a link of udev's), `drbd0` for `/dev/drbd0`."""
    try:
        return os.path.basename(os.readlink(root / device.lstrip("/")))
    except OSError:
        return os.path.basename(device)


def device_number(device: str, root: Path) -> str | None:
    """`major:minor` from sysfs; None where the kernel has no such block device.

    Never opens the device: an open would keep DRBD from becoming secondary.
    """
    try:
        return (root / "sys/class/block" / kernel_name(device, root) / "dev").read_text().strip()
    except (FileNotFoundError, NotADirectoryError):
        return None


def read_mount_lines(process: str, root: Path) -> tuple[MountLine, ...]:
    """The mount table that a process sees. process: a pid or `self`. Raises Missing."""
    path = root / "proc" / process / "mountinfo"
    try:
        text = path.read_bytes().decode("utf-8", errors="backslashreplace")
    except OSError as exc:
        raise Missing(
            f"{path}: {exc.strerror or exc}", remedy="is /proc mounted?", code="NO_MOUNTINFO"
        ) from exc
    return _parse_remembered(text)


@lru_cache(maxsize=4)
def _parse_remembered(text: str) -> tuple[MountLine, ...]:
    """An operation reads the same table many times."""
    return parse_mount_lines(text)
