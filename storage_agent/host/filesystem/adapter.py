"""The filesystem of a volume: what lies on the device, where it is mounted, mount and unmount.

Host tools: blkid, mount, umount, mkfs.ext4, mkfs.xfs. Never `umount -l` or `-f`, never fsck,
never a forced mkfs. Looking starts no process unless it is asked to identify the device.

mount(8) and not mount(2): a journal replay on a dead or frozen device does not return, and a
child can be given up at its deadline where a thread of ours could not.
"""

from __future__ import annotations

import re
from pathlib import Path

from storage_agent.host.filesystem.capacity import CapacityReader
from storage_agent.host.filesystem.mountpoint import make_mount_point, mount_point_state, unusable
from storage_agent.host.filesystem.mounts import (
    MountLine,
    device_number,
    parse_mountinfo,
    read_mount_lines,
)
from storage_agent.host.system import outside
from storage_agent.host.system.runner import Runner
from storage_agent.model.configuration import VolumeConfig
from storage_agent.model.errors import (
    CommandFailed,
    CommandStuck,
    Missing,
    OperationFailed,
    ParseError,
    Refused,
)
from storage_agent.model.filesystem import Capacity, FilesystemView

__all__ = ["Filesystem", "parse_blkid", "parse_mountinfo"]

IDENTIFY_TIMEOUT_S = 5.0
MOUNT_TIMEOUT_S = 60.0
MAKE_TIMEOUT_S = 600.0
# blkid(8): 2 is both "nothing recognised" and "cannot be opened"; stderr tells them apart.
BLKID_NOTHING = 2
BLKID_AMBIVALENT = 8
LABEL_BYTES = {"ext4": 16, "xfs": 12}
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

MOUNT_REMEDIES = (
    ("wrong medium type", "the replica is secondary here: promote it first"),
    ("write-protected", "the device does not take writes here: promote the replica first"),
    ("bad superblock", "look at the kernel's reason: dmesg | tail; nothing is repaired by itself"),
)


def parse_blkid(text: str) -> dict[str, str]:
    """`blkid -p -o export` of one device, by key. A line that is no KEY=VALUE says nothing. Raises
    ParseError (a key twice, an ext4 or xfs UUID that is none)."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        key, equals, value = line.partition("=")
        if not equals or not key:
            continue
        if key in found:
            raise ParseError("blkid", f"{key} comes twice", line)
        found[key] = value
    if found.get("TYPE") in LABEL_BYTES and not _UUID.fullmatch(found.get("UUID", "")):
        raise ParseError("blkid", "a filesystem without a UUID", text)
    return found


def mount_argv(device: str, kind: str, options: tuple[str, ...], at: str) -> tuple[str, ...]:
    """`-w`: without it mount(8) falls back to read-only on a device that refuses writes."""
    chosen = ("-o", ",".join(options)) if options else ()
    return ("mount", "-t", kind, "-w", *chosen, "--", device, at)


def make_argv(device: str, kind: str, uuid: str, label: str) -> tuple[str, ...]:
    """No discard: DRBD may turn it into writing zeros over the whole device and the network.
    The label is cut to what the filesystem can hold."""
    name = label.encode()[: LABEL_BYTES[kind]].decode(errors="ignore")
    if kind == "xfs":
        return ("mkfs.xfs", "-q", "-K", "-m", f"uuid={uuid}", "-L", name, "--", device)
    return ("mkfs.ext4", "-q", "-E", "nodiscard", "-U", uuid, "-L", name, "--", device)


class Filesystem:
    """process: whose mount table counts. That of pid 1 is the host's own, so a mount that
    only the agent's namespace shows is not taken for one."""

    def __init__(self, runner: Runner, root: Path = Path("/"), process: str = "1") -> None:
        self._runner = runner
        self._root = root
        self._process = process
        self._capacity = CapacityReader(root)
        # By device number: the mounts it had when it was identified, and what was found.
        self._known: dict[str, tuple[frozenset[int], tuple[str | None, str | None]]] = {}

    def view(self, volume: VolumeConfig, *, identify: bool = False) -> FilesystemView:
        """identify: also read the superblock (one process). Without it uuid and type are what
        was last read of this very mount, and None where that never happened.

        Raises Missing (no mount table), ParseError, CommandFailed, CommandTimeout.
        """
        lines = read_mount_lines(self._process, self._root)
        number = device_number(volume.device(), self._root)
        ours = tuple(line for line in lines if line.mount.device == number)
        state = mount_point_state(self._root, volume.mount_point, number, lines)
        uuid, kind = self._identity(volume.device(), ours, number, identify=identify)
        return FilesystemView(
            uuid=uuid,
            type=kind,
            mounts=tuple(line.mount for line in ours),
            mount_point_state=state,
            capacity=self._free(volume) if state == "mounted" else None,
        )

    def identify(self, device: str) -> tuple[str | None, str | None]:
        """UUID and type, read from the device now. (None, None): nothing is recognised, or this
        is a DRBD secondary. Raises CommandFailed, ParseError, OperationFailed (ambivalent)."""
        found = self._signatures(device)
        return found.get("UUID"), found.get("TYPE")

    def mount(self, volume: VolumeConfig, *, timeout_s: float = MOUNT_TIMEOUT_S) -> None:
        """Mounted already: does nothing. Raises Refused (mount point), OperationFailed."""
        state = self._current_state(volume)
        if state == "mounted":
            return
        if state != "ready":
            raise unusable(volume.mount_point, state)
        kind = volume.filesystem.type
        options = volume.filesystem.mount_options()
        self._mount(mount_argv(volume.device(), kind, options, volume.mount_point), timeout_s)

    def unmount(self, mount_point: str, *, timeout_s: float = MOUNT_TIMEOUT_S) -> None:
        """Nothing mounted there: does nothing. Raises OperationFailed (code `BUSY_MOUNT`: find
        out who with holders.find_holders), CommandTimeout, CommandStuck."""
        lines = read_mount_lines(self._process, self._root)
        here = [line.mount for line in lines if line.mount.mount_point == mount_point]
        if not here:
            return
        # The kernel gives a mount's number to the next one.
        self._known.pop(here[-1].device, None)
        try:
            self._runner.run(("umount", "--", mount_point), timeout_s=timeout_s, outside=True)
        except CommandFailed as exc:
            if "busy" not in exc.stderr:
                raise
            raise OperationFailed(
                f"{mount_point} is in use and stays mounted",
                remedy=f"see who uses it: fuser -vm {mount_point}",
                code="BUSY_MOUNT",
            ) from exc

    def make(
        self,
        device: str,
        kind: str,
        uuid: str,
        label: str,
        *,
        timeout_s: float = MAKE_TIMEOUT_S,
    ) -> None:
        """Only on a device that carries nothing that blkid recognises, not even a partition
        table. Raises Refused, Missing (no such device), CommandFailed."""
        if device_number(device, self._root) is None:
            raise Missing(f"{device}: no such device", remedy="lsblk", code="NO_DEVICE")
        found = self._signatures(device, secondary_is_nothing=False)
        if found:
            what = found.get("TYPE") or found.get("PTTYPE") or "unknown data"
            raise Refused(
                f"{device} carries {what}; no filesystem was made",
                remedy=f"see what it is: blkid -p {device}; wipe it by hand if it is worthless",
                code="HAS_SIGNATURE",
            )
        # mkfs.ext4 asks before it overwrites only where stdin is a terminal, hence the look above.
        self._runner.run(make_argv(device, kind, uuid, label), timeout_s=timeout_s)

    def make_mount_point(self, mount_point: str) -> None:
        """See mountpoint.make_mount_point."""
        make_mount_point(outside.tree(self._root), mount_point)

    def _mount(self, argv: tuple[str, ...], timeout_s: float) -> None:
        try:
            self._runner.run(argv, timeout_s=timeout_s, outside=True)
        except CommandFailed as exc:
            said = exc.stderr.lower()
            remedies = (remedy for part, remedy in MOUNT_REMEDIES if part in said)
            raise OperationFailed(
                exc.message, remedy=next(remedies, "dmesg | tail"), code="MOUNT_FAILED"
            ) from exc

    def _identity(
        self, device: str, ours: tuple[MountLine, ...], number: str | None, *, identify: bool
    ) -> tuple[str | None, str | None]:
        """What lies under a mount cannot change while the mount stands, so it is remembered."""
        if number is None:
            return None, None
        ids = frozenset(line.mount_id for line in ours)
        if identify:
            found = self.identify(device)
            self._known[number] = (ids, found)
            return found
        known_ids, identity = self._known.get(number, (frozenset[int](), (None, None)))
        if known_ids & ids:
            return identity
        self._known.pop(number, None)
        return None, ours[0].mount.type if ours else None

    def _signatures(self, device: str, *, secondary_is_nothing: bool = True) -> dict[str, str]:
        done = self._runner.run(
            ("blkid", "-p", "-o", "export", "--", device),
            timeout_s=IDENTIFY_TIMEOUT_S,
            ok=frozenset({0, BLKID_NOTHING, BLKID_AMBIVALENT}),
        )
        if done.exit_status == BLKID_AMBIVALENT:
            raise OperationFailed(
                f"{device} carries the marks of more than one filesystem",
                remedy=f"see them: wipefs {device} (without options it only looks)",
                code="AMBIVALENT_SIGNATURES",
            )
        is_secondary = "wrong medium type" in done.stderr.lower()
        if done.exit_status and done.stderr and not (is_secondary and secondary_is_nothing):
            raise CommandFailed(done.argv, done.exit_status, done.stderr, done.stdout)
        return parse_blkid(done.stdout)

    def _free(self, volume: VolumeConfig) -> Capacity | None:
        # A frozen device must not hide that the filesystem is mounted.
        try:
            return self._capacity.read(volume.mount_point, is_exported=volume.nfs is not None)
        except (CommandStuck, Missing):
            return None

    def _current_state(self, volume: VolumeConfig) -> str:
        lines = read_mount_lines(self._process, self._root)
        number = device_number(volume.device(), self._root)
        return mount_point_state(self._root, volume.mount_point, number, lines)
