"""Whether a folder may be mounted on, or what is mounted there be written to from here. No host
tool, and no link is ever followed.

The words for a mount point's state are those of model.filesystem.FilesystemView.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from storage_agent.host.filesystem.mounts import MountLine, covering, read_mount_lines
from storage_agent.host.system import outside, syscalls
from storage_agent.model.errors import Missing, OperationFailed, Refused
from storage_agent.model.filesystem import Mount

REMEDIES = {
    "missing": "create it: mkdir {0}",
    "not-empty": "something was written there while nothing was mounted: ls -la {0}",
    "occupied": "see what is mounted there or hides it: findmnt {0}; an automount (autofs) "
    "ends with: systemctl stop $(systemd-escape --path --suffix=automount {0})",
    "unsafe": "every folder above it belongs to root, is written by root only, and none is a "
    "link: namei -l {0}",
}

# What a mount keeps when only its being read-only ends; its atime options it keeps by itself.
_KEPT = {
    "nosuid": syscalls.MS_NOSUID,
    "nodev": syscalls.MS_NODEV,
    "noexec": syscalls.MS_NOEXEC,
    "nosymfollow": syscalls.MS_NOSYMFOLLOW,
}


def unusable(mount_point: str, state: str) -> Refused:
    """The refusal for a mount point that is neither `ready` nor `mounted`."""
    return Refused(
        f"{mount_point}: the mount point is {state}",
        remedy=REMEDIES[state].format(mount_point),
        code="MOUNT_POINT_" + state.upper().replace("-", "_"),
    )


def mount_point_state(
    root: Path, mount_point: str, number: str | None, lines: tuple[MountLine, ...]
) -> str:
    """number: `major:minor` of the device that belongs there. lines: the host's mount table.
    Raises Missing where the folder cannot be looked at."""
    here = [line for line in lines if line.mount.mount_point == mount_point]
    if not here:
        return folder_state(root, mount_point)
    top = here[-1]
    below = covering(lines, os.path.dirname(mount_point))
    # Something mounted later on a folder above hides ours: the path leads elsewhere.
    is_hidden = below is not None and all(line.parent_id != below.mount_id for line in here)
    is_ours = top.mount.device == number and top.mount.root == "/"
    return "mounted" if is_ours and not is_hidden else "occupied"


def folder_state(root: Path, mount_point: str) -> str:
    """`ready`, `missing`, `not-empty` or `unsafe`, where nothing is mounted."""
    opened = [os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)]
    try:
        for name in mount_point.strip("/").split("/"):
            if not _is_safe_parent(os.fstat(opened[-1])):
                return "unsafe"
            flags = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
            opened.append(os.open(name, flags, dir_fd=opened[-1]))
            if not stat.S_ISDIR(os.fstat(opened[-1]).st_mode):
                return "unsafe"
        readable = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=opened[-1])
        opened.append(readable)
        return "not-empty" if os.listdir(readable) else "ready"
    except FileNotFoundError:
        return "missing"
    except OSError as exc:
        raise Missing(
            f"{mount_point}: {exc.strerror or exc}",
            remedy=f"namei -l {mount_point}",
            code="MOUNT_POINT_UNREADABLE",
        ) from exc
    finally:
        for descriptor in opened:
            os.close(descriptor)


def make_mount_point(root: Path, mount_point: str) -> None:
    """Creates the folder and those above it that are missing, only root's to write.

    Raises Refused before anything is created below a link or below a folder that others may
    write, OperationFailed.
    """
    path = ""
    for name in mount_point.strip("/").split("/"):
        path += "/" + name
        state = folder_state(root, path)
        if state == "unsafe":
            raise unusable(path, state)
        if state == "missing":
            try:
                (root / path.lstrip("/")).mkdir(mode=0o755)
            except OSError as exc:
                raise OperationFailed(
                    f"{path}: {exc.strerror or exc}",
                    remedy=f"mkdir {path}",
                    code="MOUNT_POINT_MISSING",
                ) from exc


def make_writable(mount_point: str) -> None:
    """For this process, what the host has mounted there for writing. systemd gives a unit read-only
    views of what is mounted when it starts: with ProtectHome=read-only of all below /home. Touches
    neither the host's mount nor the filesystem. Raises Missing, OSError.
    """
    ours, hosts = (_top(process, mount_point) for process in ("self", outside.HOST))
    if ours is None or hosts is None or ours.device != hosts.device or "ro" in hosts.options:
        return
    if "ro" in ours.options:
        kept = sum(flag for option, flag in _KEPT.items() if option in ours.options)
        flags = syscalls.MS_BIND | syscalls.MS_REMOUNT | kept
        syscalls.mount("none", mount_point, flags=flags)


def _top(process: str, mount_point: str) -> Mount | None:
    lines = read_mount_lines(process, Path("/"))
    return next((x.mount for x in reversed(lines) if x.mount.mount_point == mount_point), None)


def _is_safe_parent(found: os.stat_result) -> bool:
    """Only root (or whoever runs this) may put something in the way."""
    writable_by_others = stat.S_IWOTH | (stat.S_IWGRP if found.st_gid != 0 else 0)
    return found.st_uid in (0, os.geteuid()) and not found.st_mode & writable_by_others
