"""md arrays of this host: which exist, what is attached for them, and the few changes.

Starts a degraded array (`--run`) only for the local, confirmed `assemble --degraded`, never
rewrites a superblock to make it fit (`--force`), never scans (`--scan`); erases one
(`--zero-superblock`) only where `create` has just made it.
Whether a set may be assembled is decided in policy/array/assembly.py; here is what that needs.

Host tools: mdadm; what it starts or stops it also writes to sysfs, so that is done outside
(system/outside.py). Looking at running arrays needs none: sysfs is enough.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from storage_agent.host.block.devices import Block, select_by_serial
from storage_agent.host.md.commands import (
    assemble_argv,
    create_argv,
    erase_argv,
    readwrite_argv,
    stop_argv,
)
from storage_agent.host.md.parse import is_array, read_array
from storage_agent.host.md.superblocks import Look, Superblocks
from storage_agent.host.system.runner import Runner
from storage_agent.host.system.sysfs import Vanished, names_in, prefix
from storage_agent.model.array import Array, ArrayView, Disk
from storage_agent.model.configuration import ArrayConfig
from storage_agent.model.errors import Missing, OperationFailed, Refused

MEMBER_SIGNATURE = "linux_raid_member"
READ_TRIES = 5


class MdRaid:
    """Looks anew with each call, save for superblocks (see Superblocks). May be used by several
    threads."""

    def __init__(self, runner: Runner, block: Block, root: Path = Path("/")) -> None:
        self._runner = runner
        self._block = block
        self._root = prefix(root)
        self._superblocks = Superblocks(runner, self._root)

    def arrays(self) -> tuple[Array, ...]:
        """Every md array, running or half-assembled, by kernel name."""
        disks = self._block.disks()
        arrays = self._read_arrays(disks)
        nameless = {m.disk for array in arrays if not array.uuid for m in array.members}
        if not nameless:
            return arrays
        members = tuple(disk for disk in disks if disk.name in nameless)
        return _with_uuids(arrays, self._superblocks.look(members, arrays))

    def view(self, config: ArrayConfig, host: str, *, fresh: bool = False) -> ArrayView:
        """What there is of the host's array. fresh: examine every disk again.

        The array is the one with the configured UUID, whatever its name; while no UUID is
        configured, the one that has a configured disk as member. Raises Refused (duplicate
        serials or arrays), ParseError (a superblock that could be ours makes no sense),
        CommandFailed (a disk cannot be read), CommandTimeout, CommandStuck.
        """
        wanted, uuid = config.disks.get(host, ()), config.uuid.get(host)
        disks = self._block.disks()
        configured = select_by_serial(disks, wanted)
        arrays = self._read_arrays(disks)
        candidates = tuple(
            disk
            for disk in disks
            if disk.serial in configured or MEMBER_SIGNATURE in disk.signatures
        )
        looks = self._superblocks.look(candidates, arrays, fresh=fresh)
        ours = frozenset(disk.name for disk in configured.values())
        _require_sense(looks, ours, uuid)
        array = _select_array(_with_uuids(arrays, looks), ours, uuid)
        present = {serial: disk for serial, disk in configured.items() if disk.name in looks}
        return _view(array, wanted, present, looks, uuid)

    def assemble(
        self,
        device: str,
        uuid: str,
        member_paths: tuple[str, ...],
        *,
        is_degraded: bool = False,
        timeout_s: float,
    ) -> None:
        """Starts the array of exactly these members, or leaves none behind. is_degraded: though
        the superblocks count more as active.

        On Debian (md_mod start_ro=1) it is auto-read-only until the first write. Raises
        CommandFailed, OperationFailed (ASSEMBLED_DEGRADED), CommandTimeout, CommandStuck.
        """
        argv = assemble_argv(device, uuid, member_paths, is_degraded=is_degraded)
        self._runner.run(argv, timeout_s=timeout_s, outside=True)
        members = {path.rpartition("/")[2] for path in member_paths}
        # mdadm leaves a stale member out or takes it as a spare, starts the rest and exits 0. One
        # whose rebuilding was interrupted has its slot, and is no stranger.
        for array in self._read_arrays(()):
            held = {member.disk for member in array.members if member.has_place()}
            if array.uuid == uuid and held != members:
                self.stop(array.name, timeout_s=timeout_s)
                raise OperationFailed(
                    f"{device} would run without {', '.join(sorted(members - held))}; stopped",
                    remedy="see how the members differ: mdadm --examine " + " ".join(member_paths),
                    code="ASSEMBLED_DEGRADED",
                )

    def stop(self, name: str, *, timeout_s: float) -> None:
        """Stops an array by kernel name, running, auto-read-only or half-assembled. mdadm itself
        waits some seconds for udev to let go of it. Raises CommandFailed while it is in use."""
        self._runner.run(stop_argv(name), timeout_s=timeout_s, outside=True)

    def readwrite(self, name: str, *, timeout_s: float) -> None:
        """Ends (auto-)read-only."""
        self._runner.run(readwrite_argv(name), timeout_s=timeout_s, outside=True)

    def create(
        self,
        device: str,
        level: str,
        uuid: str,
        member_paths: tuple[str, ...],
        *,
        name: str,
        homehost: str,
        timeout_s: float,
    ) -> None:
        """Makes a new array of disks that the caller has just proven blank.

        It runs at once and resyncs in the background. A question of mdadm's finds no answer and
        ends in "create aborted", CommandFailed.
        """
        argv = create_argv(device, level, uuid, member_paths, name=name, homehost=homehost)
        self._runner.run(argv, timeout_s=timeout_s, outside=True)

    def erase(self, path: str, *, timeout_s: float) -> None:
        """Takes a disk out of an array that does not run. Only for what an unfinished `create`
        has made on it: the local, confirmed `create --abandon`. Raises CommandFailed while the
        array runs."""
        self._runner.run(erase_argv(path), timeout_s=timeout_s)

    def _read_arrays(self, disks: tuple[Disk, ...]) -> tuple[Array, ...]:
        serials = {name: disk.serial for disk in disks for name in (disk.name, *disk.partitions)}
        names = names_in(f"{self._root}/sys/block", absent=())
        found = (self._read_array(name, serials) for name in names if is_array(self._root, name))
        arrays = tuple(array for array in found if array is not None)
        links = self._links() if arrays else {}
        return tuple(replace(a, links=links[a.name]) if a.name in links else a for a in arrays)

    def _links(self) -> dict[str, tuple[str, ...]]:
        """/dev/md/* by the kernel name that each leads to."""
        found: dict[str, tuple[str, ...]] = {}
        for entry in names_in(f"{self._root}/dev/md", absent=()):
            with contextlib.suppress(OSError):
                name = os.readlink(f"{self._root}/dev/md/{entry}").rpartition("/")[2]
                found[name] = (*found.get(name, ()), f"/dev/md/{entry}")
        return found

    def _read_array(self, name: str, serials: Mapping[str, str]) -> Array | None:
        """None if it was stopped meanwhile. A member that goes in the middle: read again."""
        for _ in range(READ_TRIES):
            with contextlib.suppress(Vanished):
                return read_array(self._root, name, serials)
            if not is_array(self._root, name):
                return None
        raise Missing(
            f"{name} changed {READ_TRIES} times while it was being read",
            remedy=f"look again: cat /proc/mdstat; mdadm --detail /dev/{name}",
            code="ARRAY_CHANGING",
        )


def _with_uuids(arrays: tuple[Array, ...], looks: Mapping[str, Look]) -> tuple[Array, ...]:
    """An array that never ran has no UUID in sysfs: then it is that of its members."""
    found = []
    for array in arrays:
        uuids = {
            look.superblock.array_uuid
            for member in array.members
            if (look := looks.get(member.disk)) is not None and look.superblock is not None
        }
        clear = not array.uuid and len(uuids) == 1
        found.append(replace(array, uuid=uuids.pop()) if clear else array)
    return tuple(found)


def _require_sense(looks: Mapping[str, Look], ours: frozenset[str], uuid: str | None) -> None:
    """Raises the ParseError of a disk that is configured, or names our array."""
    for name, look in looks.items():
        if look.error is not None and (name in ours or (uuid is not None and uuid in look.text)):
            raise look.error


def _select_array(
    arrays: tuple[Array, ...], ours: frozenset[str], uuid: str | None
) -> Array | None:
    found = [
        array
        for array in arrays
        if (uuid is not None and array.uuid == uuid)
        or (uuid is None and any(member.disk in ours for member in array.members))
    ]
    if len(found) > 1:
        names = ", ".join(array.name for array in found)
        raise Refused(
            f"{names} are made of the disks of one array",
            remedy="see which of them is in use: cat /proc/mdstat; lsblk; only the other one: "
            "mdadm --stop /dev/mdN",
            code="DUPLICATE_ARRAY",
        )
    return found[0] if found else None


def _view(
    array: Array | None,
    wanted: tuple[str, ...],
    present: Mapping[str, Disk],
    looks: Mapping[str, Look],
    uuid: str | None,
) -> ArrayView:
    """wanted: configured serials. present: those of them that are attached."""
    ours = {disk.name for disk in present.values()}
    empty = {s: disk for s, disk in present.items() if looks[disk.name].superblock is None}
    blank = tuple(serial for serial in wanted if serial in empty and _is_blank(empty[serial]))
    return ArrayView(
        array=array,
        attached=tuple(
            look.superblock
            for name, look in sorted(looks.items())
            if look.superblock is not None and (name in ours or look.superblock.array_uuid == uuid)
        ),
        missing=tuple(serial for serial in wanted if serial not in present),
        blank=blank,
        other=tuple(serial for serial in wanted if serial in empty and serial not in blank),
    )


def _is_blank(disk: Disk) -> bool:
    return not (disk.signatures or disk.holders or disk.mounted_at or disk.partitions)
