"""Configuration files in a folder of their own."""

from __future__ import annotations

from pathlib import Path

from storage_agent.configuration.load import check, load
from storage_agent.configuration.read import Paths
from storage_agent.model.configuration import AgentConfig

BASE = """\
host = "alpha"
[hosts.alpha]
address = "10.8.0.1"
[hosts.beta]
address = "10.8.0.2"
[volumes.data]
mount_point = "/srv/data"
[volumes.data.array]
level = "raid1"
[volumes.data.array.disks]
alpha = ["a0", "a1"]
beta = ["b0", "b1"]
[volumes.data.replica]
minor = 0
port = 7789
[volumes.data.filesystem]
type = "ext4"
[volumes.data.nfs]
address = "10.9.0.10/24"
interface = "eth2"
clients = ["10.9.0.0/24"]
"""
SECOND = """\
[volumes.two]
mount_point = "/srv/two"
[volumes.two.array]
level = "raid1"
[volumes.two.array.disks]
alpha = ["a2", "a3"]
beta = ["b2", "b3"]
[volumes.two.replica]
minor = 1
port = 7790
[volumes.two.filesystem]
type = "xfs"
[volumes.two.nfs]
address = "10.9.0.11/24"
interface = "eth2"
clients = ["10.9.0.7"]
"""
LOCAL = """\
[volumes.scratch]
mount_point = "/srv/scratch"
[volumes.scratch.array]
level = "raid5"
disks.beta = ["s0", "s1", "s2"]
[volumes.scratch.filesystem]
type = "xfs"
"""


class Files:
    """/etc/storage-agent in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        folder.chmod(0o755)
        self.paths = Paths(main=folder / "agent.toml", folder=folder / "agent.d")
        self.paths.folder.mkdir(mode=0o755)

    def write(self, text: str, name: str = "") -> Path:
        file = self.paths.folder / name if name else self.paths.main
        file.write_text(text)
        file.chmod(0o644)
        return file

    def load(self, text: str | None = None, hostname: str = "alpha") -> AgentConfig:
        if text is not None:
            self.write(text)
        return load(self.paths, hostname=hostname)

    def problems(self, text: str | None = None) -> list[str]:
        """As `LINE: message`, or `agent.d/FILE:LINE: message`."""
        if text is not None:
            self.write(text)
        found = check(self.paths, hostname="alpha")
        short = (
            p.replace(f"{self.paths.main}:", "").replace(f"{self.paths.folder}/", "") for p in found
        )
        return [p.replace(" error:", "") for p in short]


def line_of(text: str, part: str) -> int:
    return next(n for n, line in enumerate(text.splitlines(), 1) if part in line)
