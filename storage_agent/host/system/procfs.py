"""What /proc tells of processes and of the kernel's NFS server, and a reader that never fails.

Pure parsers on top. No host tool.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from storage_agent.host.filesystem.mounts import unescape
from storage_agent.model.errors import ParseError

_MAPPING = re.compile(r"\S+ \S+ \S+ ([0-9a-f]+):([0-9a-f]+) \d+\s+(/.*)")
_STATE = re.compile(r'superblock: "([0-9a-f]+):([0-9a-f]+):\d+"')


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelExport:
    """An entry of knfsd's export table. It holds the path also when no client is connected."""

    path: str
    client: str


def parse_mappings(text: str) -> tuple[tuple[str, str], ...]:
    """/proc/PID/maps -> (`major:minor`, path) of every mapped file, each once."""
    found = (_MAPPING.fullmatch(line) for line in text.splitlines())
    pairs = ((f"{int(m[1], 16)}:{int(m[2], 16)}", m[3]) for m in found if m)
    return tuple(dict.fromkeys(pairs))


def parse_mount_id(text: str) -> int:
    """`mnt_id:` of /proc/PID/fdinfo/N. Raises ParseError."""
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key == "mnt_id" and value.strip().isdigit():
            return int(value)
    raise ParseError("/proc/PID/fdinfo", "no mnt_id", text)


def parse_kernel_exports(text: str) -> tuple[KernelExport, ...]:
    """/proc/net/rpc/nfsd.export/content, without the pseudo root that leads to real exports."""
    found = []
    for line in text.splitlines():
        if line.startswith("#") or not line.strip():
            continue
        path, tab, client = line.partition("\t")
        if not tab:
            raise ParseError("/proc/net/rpc/nfsd.export/content", "no client", line)
        name, _, flags = client.partition("(")
        if "v4root" not in flags.rstrip(")").split(","):
            found.append(KernelExport(path=unescape(path), client=name))
    return tuple(found)


def parse_client_states(text: str) -> tuple[str, ...]:
    """/proc/fs/nfsd/clients/N/states -> `major:minor` of each open, lock and delegation."""
    found = _STATE.findall(text)
    return tuple(f"{int(major, 16)}:{int(minor, 16)}" for major, minor in found)


def printable(text: str) -> str:
    """A path or a process name as it may stand in one line of a message."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


class ProcReader:
    """Small reads in which what has vanished meanwhile is empty, and no error.

    at: what is being read now, for whoever waits for it.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self.at = "/proc"

    def names(self, path: str) -> list[str]:
        """Entries of a folder."""
        self.at = f"/{path}"
        try:
            return os.listdir(self._root / path)
        except OSError:
            return []

    def link(self, path: str) -> str:
        """Where a link leads, as text: it is not followed."""
        self.at = f"/{path}"
        try:
            return os.fsencode(os.readlink(self._root / path)).decode(errors="backslashreplace")
        except OSError:
            return ""

    def text(self, path: str) -> str:
        self.at = f"/{path}"
        try:
            return (self._root / path).read_bytes().decode(errors="backslashreplace")
        except OSError:
            return ""

    def descriptors(self, pid: str) -> list[str]:
        """Numbers of a process's open files. Raises PermissionError."""
        self.at = f"/proc/{pid}/fd"
        try:
            return sorted(os.listdir(self._root / "proc" / pid / "fd"), key=int)
        except (FileNotFoundError, ProcessLookupError):
            return []

    def process(self, pid: str) -> str:
        """`nginx (pid 123)`."""
        return f"{printable(self.text(f'proc/{pid}/comm').strip()) or '?'} (pid {pid})"
