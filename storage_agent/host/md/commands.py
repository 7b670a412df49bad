"""mdadm's command lines, and the only places where text from outside enters them. Runs nothing.

No `--` before paths: mdadm 4.2 takes words in their order (getopt's `-`) and ignores all that
comes after `--`. What enters must therefore begin with `/dev/`.
"""

from __future__ import annotations

import re

from storage_agent.host.md.parse import UUID
from storage_agent.model.errors import UsageError

LEVELS = frozenset({"raid1", "raid10", "raid5", "raid6"})


def examine_argv(paths: tuple[str, ...]) -> tuple[str, ...]:
    """Text and not --export: only the text names the device, its role and the array's state."""
    return ("mdadm", "--examine", *paths)


def assemble_argv(
    device: str, uuid: str, member_paths: tuple[str, ...], *, is_degraded: bool = False
) -> tuple[str, ...]:
    """With members named and no --scan, mdadm does not start an array that lacks a member which
    the superblocks count as active ("need all 4 to start it (use --run to insist)"); is_degraded:
    it does. `--config=none`: the lines that make udev ignore our arrays do not concern us."""
    _require_device(device)
    require_uuid(uuid)
    _require_members(member_paths, at_least=1 if is_degraded else 2)
    run = ("--run",) if is_degraded else ()
    return ("mdadm", "--assemble", *run, "--config=none", f"--uuid={uuid}", device, *member_paths)


def create_argv(
    device: str,
    level: str,
    uuid: str,
    member_paths: tuple[str, ...],
    *,
    name: str,
    homehost: str,
) -> tuple[str, ...]:
    """Everything is said, so that mdadm has nothing to ask (4.2 about booting from a RAID1 if
    the metadata is not given, 4.4 about bitmaps).

    No --assume-clean: never-written blocks would differ between the mirrors, so that reading
    them twice could give two answers, DRBD's verify and md's check would report them, and a
    real difference could not be told from them. The bitmap makes the resync after a crash a
    matter of seconds. `homehost:name` in the superblock makes the set foreign on the other
    host: a udev there that does not know our lines starts it read-only and never degraded.
    """
    _require_device(device)
    require_uuid(uuid)
    _require_members(member_paths)
    if level not in LEVELS:
        raise UsageError(f"level {level!r} is not one of {', '.join(sorted(LEVELS))}")
    return (
        *("mdadm", "--create", device, "--config=none", f"--uuid={uuid}"),
        *(f"--level={level}", f"--raid-devices={len(member_paths)}"),
        *("--metadata=1.2", "--bitmap=internal", f"--homehost={homehost}", f"--name={name}"),
        *member_paths,
    )


def erase_argv(path: str) -> tuple[str, ...]:
    _require_member(path)
    return ("mdadm", "--zero-superblock", path)


def stop_argv(name: str) -> tuple[str, ...]:
    return ("mdadm", "--stop", f"/dev/{_require_name(name)}")


def readwrite_argv(name: str) -> tuple[str, ...]:
    return ("mdadm", "--readwrite", f"/dev/{_require_name(name)}")


def require_uuid(uuid: str) -> str:
    if not UUID.fullmatch(uuid):
        raise UsageError(f"{uuid!r} is not an md UUID (four times eight hexadecimal digits)")
    return uuid


def _require_name(name: str) -> str:
    if not re.fullmatch(r"md[0-9]+|md_[A-Za-z0-9._-]+", name):
        raise UsageError(f"{name!r} is not the kernel name of an md array")
    return name


def _require_device(device: str) -> None:
    if not re.fullmatch(r"/dev/md/[A-Za-z0-9][A-Za-z0-9._-]*", device):
        raise UsageError(f"{device!r} is not of the form /dev/md/NAME")


def _require_member(path: str) -> None:
    if not re.fullmatch(r"/dev/[A-Za-z0-9][A-Za-z0-9_/-]*", path):
        raise UsageError(f"{path!r} is not the path of a disk")


def _require_members(member_paths: tuple[str, ...], *, at_least: int = 2) -> None:
    for path in member_paths:
        _require_member(path)
    if len(member_paths) < at_least or len(set(member_paths)) != len(member_paths):
        raise UsageError(f"an array needs {at_least} or more different members")
