"""Whole block devices: serial, size, what they carry, and who uses them.

`Block` reads sysfs, udev's database (libudev, through pyudev) and mountinfo: no process, so it is
cheap enough for every snapshot. udev's database can be behind the disk; what is about to be
overwritten is asked with `probe_signatures`.

Host tools: wipefs (`probe_signatures` only).
"""

from __future__ import annotations

import errno
import json
import os
import re
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from storage_agent.host.filesystem.mounts import kernel_name, parse_mountinfo
from storage_agent.host.system.runner import Runner
from storage_agent.host.system.sysfs import SECTOR_BYTES, Vanished, names_in, prefix, read_attribute
from storage_agent.model.array import Disk
from storage_agent.model.errors import Missing, ParseError, Refused
from storage_agent.model.finding import blocker

NOT_A_DISK = re.compile(r"(loop|ram|zram|dm-|md|drbd|sr|nbd|fd|mtdblock)[0-9_d]")
# As lsblk(8) chooses its SERIAL column, so that people can copy it from there
# (util-linux 2.38, lsblk-properties.c).
SERIAL_PROPERTIES = ("SCSI_IDENT_SERIAL", "ID_SCSI_SERIAL", "ID_SERIAL_SHORT", "ID_SERIAL")
# A mountinfo line of something without a block device of its own.
ANONYMOUS = re.compile(r"\d+ \d+ 0:")
# Of a signature whose kind is not said.
UNKNOWN = "unknown"
SIGNATURE_PROPERTIES = ("ID_FS_TYPE", "ID_PART_TABLE_TYPE")

UdevLookup = Callable[[str], Mapping[str, str]]


class UdevDatabase:
    """Properties of block devices by kernel name. One libudev context per thread."""

    def __init__(self) -> None:
        self._threads = threading.local()

    def __call__(self, name: str) -> Mapping[str, str]:
        """Empty for a device that udev has not processed yet. Raises Vanished."""
        import pyudev

        context = getattr(self._threads, "context", None)
        if context is None:
            context = self._threads.context = pyudev.Context()
        try:
            device = pyudev.Devices.from_name(context, "block", name)
            return dict(device.properties.items())
        except (pyudev.DeviceNotFoundError, OSError) as exc:
            raise Vanished(name) from exc


def parse_probe(text: str, names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """`wipefs --no-act --json` -> types of the signatures, by kernel name, () for a blank one.

    One without a type is `unknown`: not blank. Raises ParseError, also for a signature on a device
    that was not asked for.
    """
    found: dict[str, list[str]] = {name: [] for name in names}
    try:
        for signature in json.loads(text)["signatures"]:
            found[signature["device"]].append(str(signature.get("type", UNKNOWN)))
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise ParseError("wipefs", f"unexpected answer ({exc})", text) from exc
    return {name: tuple(types) for name, types in found.items()}


def probe_signatures(
    runner: Runner, paths: Iterable[str], *, timeout_s: float
) -> dict[str, tuple[str, ...]]:
    """What the disks themselves carry now, by path; one process for all of them.

    wipefs rather than `blkid -p`: it shows every signature, where blkid gives up on two. It
    opens the devices read-only. Raises CommandFailed if one of them cannot be read.
    """
    by_name = {path.rpartition("/")[2]: path for path in paths}
    if not by_name:
        return {}
    argv = ("wipefs", "--no-act", "--json", "--", *by_name.values())
    done = runner.run(argv, timeout_s=timeout_s)
    return {by_name[name]: types for name, types in parse_probe(done.stdout, by_name).items()}


def device_signatures(
    runner: Runner, path: str, *, timeout_s: float
) -> tuple[tuple[str, str], ...]:
    """Type and UUID (empty for none) of every signature on one device; as probe_signatures."""
    argv = ("wipefs", "--no-act", "--json", "--", path)
    text = runner.run(argv, timeout_s=timeout_s).stdout
    try:
        found = json.loads(text)["signatures"] if text.strip() else ()
        return tuple(
            (str(entry.get("type", UNKNOWN)), str(entry.get("uuid") or "")) for entry in found
        )
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise ParseError("wipefs", f"unexpected answer ({exc})", text) from exc


def is_claimed(path: str) -> bool:
    """open(2): O_EXCL without O_CREAT on a block device fails with EBUSY while it is in use by
    the system (mounted, a member of md or LVM, DRBD's disk, swap), or a part of it is. Raises
    OSError where it cannot be opened for another reason."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_EXCL | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as exc:
        if exc.errno == errno.EBUSY:
            return True
        raise
    os.close(descriptor)
    return False


def select_by_serial(disks: Iterable[Disk], serials: Iterable[str]) -> dict[str, Disk]:
    """Those of `disks` that have one of `serials`; a serial that is not attached has no entry.

    Raises Refused (DUPLICATE_SERIAL) if two disks have the same one of these serials.
    """
    wanted = frozenset(serials)
    found: dict[str, Disk] = {}
    for disk in disks:
        if disk.serial not in wanted:
            continue
        if disk.serial in found:
            raise _duplicate(disk.serial, found[disk.serial], disk)
        found[disk.serial] = disk
    return found


def _duplicate(serial: str, first: Disk, second: Disk) -> Refused:
    finding = blocker(
        "DUPLICATE_SERIAL",
        f"serial {serial} is carried by more than one attached disk",
        measured=f"{first.path}, {second.path}",
        limit="one disk for each serial",
        remedy="detach the copy, or the second path to the same disk",
    )
    return Refused(
        f"{finding.summary}: {finding.measured}",
        remedy=finding.remedy,
        code=finding.code,
        findings=(finding,),
    )


class Block:
    """The disks of this host, looked at anew with each call; only what udev says of a disk is
    kept until udev writes it again. May be used by several threads."""

    def __init__(self, root: Path = Path("/"), udev: UdevLookup | None = None) -> None:
        self._root = prefix(root)
        self._udev = udev or UdevDatabase()
        self._known: dict[str, tuple[_UdevVersion, Mapping[str, str]]] = {}

    def disks(self) -> tuple[Disk, ...]:
        """Whole disks by kernel name; not what is stacked on others, not empty drives.

        A disk that goes while it is being read is left out.
        """
        mounted = self._mounted()
        found = []
        for name in names_in(f"{self._root}/sys/block", absent=()):
            if NOT_A_DISK.match(name):
                continue
            try:
                disk = self._read(name, mounted)
            except Vanished:
                continue
            if disk is not None:
                found.append(disk)
        return tuple(found)

    def by_serial(self, serials: Iterable[str]) -> dict[str, Disk]:
        """See select_by_serial."""
        return select_by_serial(self.disks(), serials)

    def _mounted(self) -> dict[str, list[str]]:
        """Mount points by `major:minor`, and by source too: btrfs shows an anonymous number."""
        path = f"{self._root}/proc/1/mountinfo"
        try:
            with open(path, encoding="utf-8", errors="backslashreplace") as file:
                lines = [
                    line for line in file if not re.match(r"\d+ \d+ 0:", line) or "/dev/" in line
                ]
        except OSError as exc:
            raise Missing(f"{path}: {exc.strerror or exc}", remedy="is /proc mounted?") from exc
        found: dict[str, list[str]] = defaultdict(list)
        for mount in parse_mountinfo("".join(lines)):
            for key in (mount.device, mount.source):
                found[key].append(mount.mount_point)
        return found

    def _read(self, name: str, mounted: Mapping[str, list[str]]) -> Disk | None:
        """None for what is no usable disk: without a medium, or a hidden NVMe path."""
        folder = f"{self._root}/sys/block/{name}"
        size_bytes = int(read_attribute(f"{folder}/size")) * SECTOR_BYTES
        hidden = name.startswith("nvme") and read_attribute(f"{folder}/hidden", absent="0") == "1"
        if size_bytes == 0 or hidden:
            return None
        partitions = tuple(entry for entry in names_in(folder) if entry.startswith(name))
        parts = {name: folder} | {part: f"{folder}/{part}" for part in partitions}
        numbers = {part: read_attribute(f"{path}/dev") for part, path in parts.items()}
        properties = self._properties(name, folder, numbers[name])
        points = [
            point
            for part, number in numbers.items()
            for key in (number, device_path(part))
            for point in mounted.get(key, ())
        ]
        return Disk(
            name=name,
            path=device_path(name),
            serial=_serial(folder, properties),
            size_bytes=size_bytes,
            signatures=_signatures(properties),
            holders=tuple(h for p in parts.values() for h in names_in(f"{p}/holders", absent=())),
            mounted_at=tuple(dict.fromkeys(points)),
            partitions=partitions,
        )

    def _properties(self, name: str, folder: str, number: str) -> Mapping[str, str]:
        """udev replaces a device's file in /run/udev/data whenever it has looked at the device."""
        try:
            status = os.stat(f"{self._root}/run/udev/data/b{number}")
        except OSError:
            return self._udev(name)
        attachment = read_attribute(f"{folder}/diskseq", absent="")
        version = (number, attachment, status.st_ino, status.st_mtime_ns)
        known = self._known.get(name)
        if known is None or known[0] != version:
            known = self._known[name] = (version, self._udev(name))
        return known[1]


def written_bytes(device: str, root: Path = Path("/")) -> int | None:
    """Written through this block device since it exists; None where there is none.

    Documentation/admin-guide/iostats.rst: field 7, in sectors of 512 bytes. DRBD counts here what
    this host writes, not what a peer sends."""
    path = f"{prefix(root)}/sys/class/block/{kernel_name(device, root)}/stat"
    fields = read_attribute(path, absent="").split()
    return int(fields[6]) * SECTOR_BYTES if len(fields) > 6 else None


def replica_devices(root: Path = Path("/")) -> tuple[str, ...]:
    """Of DRBD, as far as the kernel has any."""
    names = names_in(f"{prefix(root)}/sys/block", absent=())
    return tuple(device_path(name) for name in names if re.fullmatch(r"drbd[0-9]+", name))


_UdevVersion = tuple[str, str, int, int]


def device_path(name: str) -> str:
    """Kernel name -> /dev path (sysfs writes `!` for `/`)."""
    return "/dev/" + name.replace("!", "/")


def _serial(folder: str, properties: Mapping[str, str]) -> str:
    """From udev or, before udev has seen the disk, from the kernel: virtio shows it on the disk,
    NVMe (also EBS, `vol0123…`) on the controller, padded with blanks."""
    for key in SERIAL_PROPERTIES:
        if properties.get(key):
            return properties[key]
    kernel = read_attribute(f"{folder}/serial", absent="")
    kernel = kernel or read_attribute(f"{folder}/device/serial", absent="")
    # udev writes `_` for white space; a serial must not change when udev comes to it.
    return "_".join(kernel.split())


def _signatures(properties: Mapping[str, str]) -> tuple[str, ...]:
    found = [properties[key] for key in SIGNATURE_PROPERTIES if properties.get(key)]
    # Several filesystems at once: udev then gives no type but `usage:type:version …`.
    for candidate in properties.get("ID_FS_AMBIVALENT", "").split():
        found.append((*candidate.split(":"), candidate)[1])
    return tuple(found)
