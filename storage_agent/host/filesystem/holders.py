"""Who keeps a filesystem from being unmounted, or its device from becoming secondary.

Reads /proc and /sys only and runs no host tool. It never opens, stats or follows a path on the
filesystem in question or on any other: a dead NFS server or a frozen device must not hold up the
one who asks. Open files are told by the `mnt_id` of /proc/PID/fdinfo, working directories by the
text of their link against the mount table, mappings by the device number in /proc/PID/maps.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from storage_agent.host.filesystem.mounts import (
    MountLine,
    covering,
    device_number,
    kernel_name,
    lies_in,
    parse_mount_lines,
    read_mount_lines,
    unescape,
)
from storage_agent.host.system.bounded import BoundedCalls
from storage_agent.host.system.procfs import (
    KernelExport,
    ProcReader,
    parse_client_states,
    parse_kernel_exports,
    parse_mappings,
    parse_mount_id,
    printable,
)
from storage_agent.model.errors import CommandStuck
from storage_agent.model.filesystem import Holder

TIMEOUT_S = 5.0
HOST = "1"
# Its unit, in whose control group its processes are (cgroups(7), /proc/PID/cgroup).
OWN_SERVER = "storage-agent-nfs@"
_DELETED = " (deleted)"


def find_holders(
    mount_point: str,
    device: str,
    root: Path = Path("/"),
    *,
    timeout_s: float = TIMEOUT_S,
    read: ProcReader | None = None,
) -> tuple[Holder, ...]:
    """Everything found within the time; if that ran out, the last holder says so.

    device: the path that carries the filesystem (`/dev/drbd0`). Useful before `unmount`, and
    after it, when the device is still held open by another mount namespace or a process.
    """
    scan = _Scan(mount_point, device, root, read or ProcReader(root))
    try:
        BoundedCalls().run("holders", scan.run, timeout_s=timeout_s)
    except CommandStuck:
        what = f"not all is known: {scan.read.at} gave no answer"
        scan.found.append(Holder(kind="process", what=what))
    return (*scan.found, *scan.ours)


@dataclass(slots=True)
class _Namespace:
    """A mount namespace. pid: of a process that lives in it."""

    pid: str
    lines: tuple[MountLine, ...]


@dataclass(slots=True)
class _Scan:
    """One look. `found` grows while it runs, so that a look that hangs is not for nothing."""

    mount_point: str
    device: str
    root: Path
    read: ProcReader
    found: list[Holder] = field(default_factory=list)
    # Of the volume's own NFS server, which is to be stopped before: named last.
    ours: list[Holder] = field(default_factory=list)
    number: str = ""
    names: frozenset[str] = frozenset()
    host: tuple[MountLine, ...] = ()
    namespaces: dict[str, _Namespace] = field(default_factory=dict)
    mount_ids: frozenset[int] = frozenset()
    hidden: int = 0

    def run(self) -> None:
        number = device_number(self.device, self.root)
        if number is None:
            return
        self.number = number
        name = kernel_name(self.device, self.root)
        self.names = frozenset({self.device, f"/dev/{name}"})
        self.host = read_mount_lines(HOST, self.root)
        pids = sorted((p for p in self.read.names("proc") if p.isdigit()), key=int)
        self._find_namespaces(pids)
        self._stacked(name)
        self._host_mounts()
        self._nfs(pids)
        for pid in pids:
            self._process(pid)
        self._foreign_mounts()
        if self.hidden:
            text = f"{self.hidden} processes could not be looked into: run this as root"
            self.found.append(Holder(kind="process", what=text))

    def _covers(self, lines: tuple[MountLine, ...], path: str) -> bool:
        line = covering(lines, path.removesuffix(_DELETED))
        return line is not None and line.mount.device == self.number

    # Mounts.

    def _find_namespaces(self, pids: list[str]) -> None:
        host = self.read.link(f"proc/{HOST}/ns/mnt")
        self.namespaces[host] = _Namespace(pid=HOST, lines=self.host)
        for pid in pids:
            name = self.read.link(f"proc/{pid}/ns/mnt")
            # A process in a chroot shows only a part of its namespace: rather take another one.
            if name and name not in self.namespaces and self.read.link(f"proc/{pid}/root") == "/":
                self._add_namespace(name, pid)
        for pid in pids:
            name = self.read.link(f"proc/{pid}/ns/mnt")
            if name and name not in self.namespaces:
                self._add_namespace(name, pid)
        lines = (line for space in self.namespaces.values() for line in space.lines)
        self.mount_ids = frozenset(x.mount_id for x in lines if x.mount.device == self.number)

    def _add_namespace(self, name: str, pid: str) -> None:
        text = self.read.text(f"proc/{pid}/mountinfo")
        if text:
            self.namespaces[name] = _Namespace(pid=pid, lines=parse_mount_lines(text))

    def _host_mounts(self) -> None:
        for line in self.host:
            mount, point = line.mount, printable(line.mount.mount_point)
            if mount.device == self.number:
                if mount.mount_point != self.mount_point:
                    self.found.append(Holder(kind="mount", what=f"it is also mounted at {point}"))
            elif lies_in(mount.mount_point, self.mount_point):
                what = (
                    f"{mount.type} from {printable(mount.source)} is mounted inside it, at {point}"
                )
                self.found.append(Holder(kind="mount", what=what))
            elif mount.root.startswith("mnt:[") and mount.root not in self.namespaces:
                what = f"a mount namespace without processes is kept at {point}"
                self.found.append(Holder(kind="mount", what=what))

    def _foreign_mounts(self) -> None:
        """Those that do not end with the host's: most services of systemd's have a namespace of
        their own, which hears of every unmount outside (systemd.exec(5), MountFlags=slave)."""
        own = self.read.link("proc/self/ns/mnt")
        told = {below.shared for _, below in self._lying(self.host) if below} - {None}
        at_host = {line.mount.mount_point for line, _ in self._lying(self.host)}
        for name, space in self.namespaces.items():
            # Ours ends with the host's.
            if space.pid == HOST or (name == own and at_host):
                continue
            points = [
                line.mount.mount_point
                for line, below in self._lying(space.lines)
                if below is None
                or line.mount.mount_point not in at_host
                or told.isdisjoint({below.master, below.shared})
            ]
            if points:
                who = self.read.process(space.pid)
                at = printable(", ".join(points))
                what = f"the mount namespace of process {who} has it mounted at {at}"
                holder = Holder(kind="mount", what=what, pid=int(space.pid))
                self._of(space.pid).append(holder)

    def _lying(self, lines: tuple[MountLine, ...]) -> Iterator[tuple[MountLine, MountLine | None]]:
        """The device's mounts, each with the mount that it lies on: that one's group is told of an
        unmount, and does the same at the same place (kernel fs/pnode.c propagate_umount())."""
        by_id = {line.mount_id: line for line in lines}
        for line in lines:
            if line.mount.device == self.number:
                yield line, by_id.get(line.parent_id)

    def _of(self, pid: str) -> list[Holder]:
        is_ours = f"/{OWN_SERVER}" in self.read.text(f"proc/{pid}/cgroup")
        return self.ours if is_ours else self.found

    # Devices.

    def _stacked(self, name: str) -> None:
        for holder in sorted(self.read.names(f"sys/class/block/{name}/holders")):
            text = f"device {holder} is stacked on {name}"
            self.found.append(Holder(kind="device", what=text))
        for loop in sorted(n for n in self.read.names("sys/class/block") if n.startswith("loop")):
            path = self.read.text(f"sys/class/block/{loop}/loop/backing_file").rstrip("\n")
            if path and self._covers(self.host, path):
                text = f"loop device {loop} uses {printable(path)}"
                self.found.append(Holder(kind="device", what=text))
        for line in self.read.text("proc/swaps").splitlines()[1:]:
            path = unescape(line.split(maxsplit=1)[0])
            if path in self.names or self._covers(self.host, path):
                text = f"the host swaps to {printable(path)}"
                self.found.append(Holder(kind="device", what=text))

    # Processes.

    def _process(self, pid: str) -> None:
        """One holder a process, however many files it has open."""
        try:
            uses = list(dict.fromkeys(self._uses(pid)))
        except PermissionError:
            self.hidden += 1
            return
        if uses:
            more = f", and {len(uses) - 1} more" if len(uses) > 1 else ""
            what = f"process {self.read.process(pid)} {printable(uses[0])}{more}"
            self._of(pid).append(Holder(kind="process", what=what, pid=int(pid)))

    def _uses(self, pid: str) -> Iterator[str]:
        space = self.namespaces.get(self.read.link(f"proc/{pid}/ns/mnt"))
        lines = space.lines if space else self.host
        yield from self._open_files(pid)
        for link, text in (("cwd", "works in {}"), ("root", "has {} as its root")):
            path = self.read.link(f"proc/{pid}/{link}")
            if path.startswith("/") and self._covers(lines, path):
                yield text.format(path)
        for number, path in parse_mappings(self.read.text(f"proc/{pid}/maps")):
            if number == self.number:
                yield f"has {path} mapped"

    def _open_files(self, pid: str) -> Iterator[str]:
        for descriptor in self.read.descriptors(pid):
            path = self.read.link(f"proc/{pid}/fd/{descriptor}")
            # Sockets, pipes and the like have no path, and asking about them costs a read each.
            if not path.startswith("/"):
                continue
            text = self.read.text(f"proc/{pid}/fdinfo/{descriptor}")
            if path in self.names or (text and parse_mount_id(text) in self.mount_ids):
                yield f"has {path} open"

    # The kernel's NFS servers.

    def _nfs(self, pids: list[str]) -> None:
        seen: set[str] = set()
        for pid in pids:
            network = self.read.link(f"proc/{pid}/ns/net")
            if not network or network in seen:
                continue
            seen.add(network)
            space = self.namespaces.get(self.read.link(f"proc/{pid}/ns/mnt"))
            content = self.read.text(f"proc/{pid}/net/rpc/nfsd.export/content")
            for export in parse_kernel_exports(content):
                if self._covers(space.lines if space else self.host, export.path):
                    self._of(pid).append(self._export(export, pid))
        for client in sorted(self.read.names("proc/fs/nfsd/clients")):
            states = self.read.text(f"proc/fs/nfsd/clients/{client}/states")
            count = parse_client_states(states).count(self.number)
            if count:
                what = f"NFS client {client} of the host's own server has {count} files or locks"
                self.found.append(Holder(kind="nfs", what=what))

    def _export(self, export: KernelExport, pid: str) -> Holder:
        server = "the host's own NFS server"
        if pid != HOST:
            server = f"the NFS server in the network of process {self.read.process(pid)}"
        what = f"{server} exports {printable(export.path)} to {printable(export.client)}"
        return Holder(kind="nfs", what=what)
