"""Durable small files under /var/lib/storage-agent (root filesystem, never a replicated volume)."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from storage_agent.host.system.files import replace_file, sync_folder
from storage_agent.model.errors import OperationFailed
from storage_agent.model.finding import Finding, blocker
from storage_agent.model.sizes import bytes_text

STATE_FOLDER = Path("/var/lib/storage-agent")
# More than one operation writes: its journal, its epoch, its account, each beside the old one.
ROOM_BYTES = 1 << 20
ROOM_INODES = 8
PROBE_BYTES = 4096


class FileStore:
    """Implements model.ports.Store. Raises OperationFailed naming the file for any OS error."""

    def __init__(self, folder: Path = STATE_FOLDER) -> None:
        self.folder = folder

    def read(self, name: str) -> bytes | None:
        try:
            descriptor = os.open(self.folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise self._failed(name, exc) from exc
        with os.fdopen(descriptor, "rb") as file:
            return file.read()

    def replace(self, name: str, content: bytes) -> None:
        path = self.folder / name
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            replace_file(path, content)
        except OSError as exc:
            raise self._failed(name, exc) from exc

    def append(self, name: str, content: bytes) -> None:
        path = self.folder / name
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            is_new = not path.exists()
            self._append(path, content)
            if is_new:
                sync_folder(path.parent)
        except OSError as exc:
            raise self._failed(name, exc) from exc

    def names(self, prefix: str) -> tuple[str, ...]:
        folder = (self.folder / prefix).parent if "/" in prefix else self.folder
        try:
            found = (path.relative_to(self.folder) for path in folder.iterdir() if path.is_file())
            return tuple(sorted(str(p) for p in found if str(p).startswith(prefix)))
        except FileNotFoundError:
            return ()
        except OSError as exc:
            raise self._failed(prefix, exc) from exc

    def require_writable(self) -> None:
        """A file is written, made durable and taken away: what the kernel says of the room and of
        the mount alone is not always true."""
        # A name of its own: several may ask at once.
        name = f".probe.{os.urandom(4).hex()}"
        try:
            _require_own(self.folder)
            _require_room(self.folder)
            write_and_remove(self.folder / name)
        except OSError as exc:
            raise self._failed("", exc) from exc

    def remove(self, name: str) -> None:
        path = self.folder / name
        try:
            path.unlink(missing_ok=True)
            if path.parent.is_dir():
                sync_folder(path.parent)
        except OSError as exc:
            raise self._failed(name, exc) from exc

    @staticmethod
    def _append(path: Path, content: bytes) -> None:
        flags = os.O_CREAT | os.O_APPEND | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())

    def _failed(self, name: str, exc: OSError) -> OperationFailed:
        found = state_folder_finding(self.folder, self.folder / name, exc)
        return OperationFailed(
            found.summary, remedy=found.remedy, code=found.code, findings=(found,)
        )


def write_and_remove(path: Path) -> None:
    """Raises OSError."""
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(bytes(PROBE_BYTES))
            file.flush()
            os.fsync(file.fileno())
    finally:
        path.unlink()


def _require_own(folder: Path) -> None:
    """Whoever else may write there could forge what this host knows. Raises OSError."""
    seen = os.stat(folder)
    if seen.st_uid != os.geteuid() or seen.st_mode & 0o022:
        owner = f"owner {seen.st_uid}, mode {seen.st_mode & 0o7777:o}"
        raise PermissionError(errno.EPERM, f"others may write there ({owner})")


def _require_room(folder: Path) -> None:
    """For what one operation writes. As root, for whom some of it is kept. Raises OSError."""
    bytes_free, inodes_free = _room(folder)
    if bytes_free < ROOM_BYTES or inodes_free in range(ROOM_INODES):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _room(folder: Path) -> tuple[int, int | None]:
    """Bytes and inodes free; None where the filesystem does not number them. Raises OSError."""
    seen = os.statvfs(folder)
    return seen.f_bfree * seen.f_frsize, seen.f_ffree if seen.f_files else None


def state_folder_finding(folder: Path, path: Path, exc: OSError) -> Finding:
    """path: of the file that could not be read or written, and why."""
    why = exc.strerror or str(exc)
    measured, remedy = why, f"see what is wrong with it: ls -ld {folder}; journalctl -k -n 50"
    if exc.errno == errno.ENOENT:
        measured = f"no {folder}"
        remedy = f"mkdir -m 700 {folder}; then see what was in it: storage-agent status"
    elif exc.errno == errno.EPERM:
        remedy = f"chown root: {folder}; chmod 700 {folder}; is a file in it immutable: lsattr "
        remedy += str(folder)
    elif exc.errno == errno.EROFS:
        remedy = f"see why it is read-only: journalctl -k -n 50; findmnt -T {folder}"
    elif exc.errno in (errno.ENOSPC, errno.EDQUOT):
        measured, remedy = _full(folder, why)
    return blocker(
        "STATE_FOLDER",
        f"{path}: {why}: this host cannot keep what it has to know, and begins no operation",
        measured=measured,
        limit=f"root's alone, writable, {bytes_text(ROOM_BYTES)} and {ROOM_INODES} inodes free",
        remedy=remedy,
    )


def _full(folder: Path, why: str) -> tuple[str, str]:
    """What was measured, and where to look: bytes or inodes."""
    try:
        bytes_free, inodes_free = _room(folder)
    except OSError:
        return why, f"df -h {folder}; df -i {folder}"
    measured = f"{bytes_text(bytes_free)} free"
    if inodes_free is not None:
        measured += f", {inodes_free} inodes free"
    return measured, full_remedy(folder, inodes_free)


def full_remedy(folder: Path, inodes_free: int | None) -> str:
    """inodes_free: None where the filesystem does not number them."""
    if inodes_free in range(ROOM_INODES):
        return f"see who has used the inodes up: df -i {folder}; du --inodes -x -d 2 /var"
    return f"see who has filled it: df -h {folder}; du -x -d 2 -h /var"
