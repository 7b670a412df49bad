"""What a running lab is, as one JSON file: written atomically, changed under a lock, so that
scripts/lab and a test run can work on the same lab.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from .deadline import Deadline
from .errors import LabError, LabUsage
from .process import ProcessId

LOCK_TIMEOUT_S = 120


def cache_folder() -> Path:
    chosen = os.environ.get("STORAGE_AGENT_LAB_CACHE")
    folder = Path(chosen) if chosen else Path.home() / ".cache" / "storage-agent-lab"
    return folder.absolute()


@dataclass(slots=True, kw_only=True)
class Disk:
    """A data disk: its image, and the host that it is plugged into (None: on the table).

    A volatile one is served by a process of its own and can lose what was not flushed.
    """

    file: str
    host: str | None
    volatile: bool = False


@dataclass(slots=True, kw_only=True)
class LabState:
    """One lab. Paths are absolute."""

    snapshot: str
    layer: str
    memory_mib: int
    generation: int = 0
    processes: dict[str, list[int]] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)
    roots: dict[str, str] = field(default_factory=dict)
    disks: dict[str, Disk] = field(default_factory=dict)
    cut: list[list[str]] = field(default_factory=list)
    frozen: list[str] = field(default_factory=list)
    off: list[str] = field(default_factory=list)
    snapshots: dict[str, str] = field(default_factory=dict)

    def process(self, name: str) -> ProcessId | None:
        """The process of that name if it is alive."""
        recorded = self.processes.get(name)
        process = ProcessId(*recorded) if recorded else None
        return process if process and process.is_alive() else None

    def process_alive(self) -> bool:
        """Whether anything of this lab still runs."""
        return any(self.process(name) for name in self.processes)

    def remember(self, name: str, process: ProcessId) -> None:
        self.processes[name] = [process.pid, process.start_ticks]


class StateFile:
    """An instance's folder, its state file and the lock on it."""

    def __init__(self, name: str) -> None:
        if not name or name.startswith((".", "-")) or "/" in name:
            raise LabUsage(f"lab name {name!r}: letters, digits, dots and dashes, please")
        self.name = name
        self.folder = cache_folder() / "instances" / name
        self._file = self.folder / "state.json"

    def exists(self) -> bool:
        return self._file.exists()

    def read(self) -> LabState:
        try:
            values = json.loads(self._file.read_text())
        except FileNotFoundError:
            raise LabError(
                f"lab {self.name} is not up: scripts/lab --name {self.name} up"
            ) from None
        values["disks"] = {name: Disk(**disk) for name, disk in values["disks"].items()}
        return LabState(**values)

    def write(self, state: LabState) -> None:
        temporary = self._file.with_suffix(".new")
        temporary.write_text(json.dumps(dataclasses.asdict(state), indent=1))
        temporary.replace(self._file)

    def forget(self) -> None:
        self._file.unlink(missing_ok=True)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """One changer at a time, whether thread or process. Not reentrant."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with locked_file(self.folder / "lock", LOCK_TIMEOUT_S, f"the lock of lab {self.name}"):
            yield

    @contextlib.contextmanager
    def change(self) -> Iterator[LabState]:
        """Lock, read, let the caller edit, write; written also where the caller fails."""
        with self.locked():
            state = self.read()
            try:
                yield state
            finally:
                self.write(state)

    def runtime_folder(self) -> Path:
        """For sockets, whose paths must stay under 108 bytes; private to this user."""
        digest = hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:12]
        folder = Path("/tmp") / f"salab-{os.geteuid()}-{digest}"
        folder.mkdir(mode=0o700, exist_ok=True)
        about = folder.lstat()
        if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.geteuid():
            raise LabError(f"{folder} belongs to somebody else: remove it")
        return folder


@contextlib.contextmanager
def locked_file(path: Path, timeout_s: float, what: str) -> Iterator[None]:
    deadline = Deadline(timeout_s, what)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                deadline.pause(0.05)
        yield
    finally:
        os.close(descriptor)
