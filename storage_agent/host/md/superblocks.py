"""md superblocks of attached disks, looked up once and kept until a disk changes.

Host tools: mdadm (`--examine`), one process for all disks that are due.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from storage_agent.host.md.commands import examine_argv
from storage_agent.host.md.parse import parse_superblock, split_examine
from storage_agent.host.system.bounded import BoundedCalls
from storage_agent.host.system.files import read_past_cache
from storage_agent.host.system.runner import Runner
from storage_agent.host.system.sysfs import read_attribute
from storage_agent.model.array import Array, Disk, Superblock
from storage_agent.model.errors import CommandFailed, CommandStuck, ParseError

EXAMINE_TIMEOUT_S = 20.0
MARK_TIMEOUT_S = 2.0
# struct mdp_superblock_1, format 1.2 (include/uapi/linux/raid/md_p.h; mdadm super1.c): 4 KiB from
# the disk's beginning; magic, then after twelve bytes the array's UUID.
SUPERBLOCK_AT = 4096
PAGE_BYTES = 4096
_MAGIC = (0xA92B4EFC).to_bytes(4, "little")
_SET_UUID = slice(16, 32)
NO_SUPERBLOCK = "mdadm: No md superblock detected on {}."

Key = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What `mdadm --examine` said of a disk. key: changes when it has to be asked again, None:
    always.  superblock: None if it has none, or one that makes no sense (`error`, `text`)."""

    key: Key | None
    superblock: Superblock | None
    error: ParseError | None = None
    text: str = ""


class Superblocks:
    """A superblock's `events` of a member of a running array is as old as the first look; it
    counts only while no array runs. May be used by several threads."""

    def __init__(self, runner: Runner, root: str) -> None:
        self._runner = runner
        self._root = root
        self._known: dict[str, Look] = {}
        self._calls = BoundedCalls()

    def look(
        self, disks: tuple[Disk, ...], arrays: tuple[Array, ...], *, fresh: bool = False
    ) -> dict[str, Look]:
        """By kernel name; a disk that goes meanwhile has no entry. fresh: ask all disks again.

        Raises CommandFailed (a disk cannot be read), ParseError, CommandTimeout, CommandStuck.
        """
        running = _memberships(arrays)
        looks: dict[str, Look] = {}
        due: list[tuple[Disk, Key | None]] = []
        for disk in disks:
            # Before the look, so that what is written meanwhile changes the key.
            key = self._key(disk, running.get(disk.name))
            known = self._known.get(disk.name)
            if not fresh and known is not None and key is not None and known.key == key:
                looks[disk.name] = known
            else:
                due.append((disk, key))
        if due:
            looks |= self._examine(due)
        self._known = self._known | looks
        return looks

    def _key(self, disk: Disk, membership: str | None) -> Key | None:
        """diskseq (kernel 5.15) counts attachments, `stat` counts writes and discards. A member
        of a running array is written all the time: there the membership stands for the content.
        """
        folder = f"{self._root}/sys/block/{disk.name}"
        sequence = read_attribute(f"{folder}/diskseq", absent="")
        if not sequence:
            return None
        if membership is not None:
            return (disk.serial, sequence, membership, self._mark(disk))
        if read_attribute(f"{folder}/queue/iostats", absent="0") != "1":
            return None
        # Kernel Documentation/block/stat.rst: reads 1-4, writes 5-8, queue 9-11, discards 12-15.
        counts = read_attribute(f"{folder}/stat", absent="").split()
        if len(counts) < 7:
            return None
        return (disk.serial, sequence, *counts[4:7], *counts[11:14])

    def _mark(self, disk: Disk) -> str:
        """Whose superblock of format 1.2 lies on it now: one that somebody has overwritten shows at
        the next boot else. Of the other formats, and where it cannot be read, always the same."""
        path = f"{self._root}{disk.path}"
        try:
            start = self._calls.run(
                f"read the superblock of {disk.path}",
                lambda: read_past_cache(path, SUPERBLOCK_AT, PAGE_BYTES),
                timeout_s=MARK_TIMEOUT_S,
            )
        except (OSError, CommandStuck):
            return ""
        return start[_SET_UUID].hex() if start[:4] == _MAGIC else ""

    def _examine(self, due: list[tuple[Disk, Key | None]]) -> dict[str, Look]:
        argv = examine_argv(tuple(disk.path for disk, _ in due))
        # 1: one of them has no superblock.
        done = self._runner.run(argv, timeout_s=EXAMINE_TIMEOUT_S, ok=frozenset({0, 1}))
        sections = split_examine(done.stdout, frozenset(disk.path for disk, _ in due))
        remarks = frozenset(done.stderr.splitlines())
        looks = {}
        for disk, key in due:
            if disk.path in sections:
                looks[disk.name] = _look(disk, key, sections[disk.path])
            elif NO_SUPERBLOCK.format(disk.path) in remarks:
                looks[disk.name] = Look(key=key, superblock=None)
            elif os.path.exists(f"{self._root}/sys/block/{disk.name}"):
                raise CommandFailed(argv, done.exit_status, done.stderr)
        return looks


def _memberships(arrays: tuple[Array, ...]) -> Mapping[str, str]:
    return {
        member.disk: f"{array.name} {array.uuid} {member.slot}"
        for array in arrays
        if array.running()
        for member in array.members
    }


def _look(disk: Disk, key: Key | None, section: str) -> Look:
    try:
        superblock = parse_superblock(section, disk=disk.name, serial=disk.serial)
    except ParseError as exc:
        return Look(key=key, superblock=None, error=exc, text=section)
    return Look(key=key, superblock=superblock)
