"""Durable small files under /var/lib/storage-agent (root filesystem, never a replicated volume).

Pattern: write beside, fsync, rename, fsync the folder (reliability: ALICE, OSDI'14).
"""

from __future__ import annotations

import os
from pathlib import Path

from storage_agent.model.errors import OperationFailed

STATE_FOLDER = Path("/var/lib/storage-agent")


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
        beside = path.with_name(path.name + ".new")
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._write(beside, content, os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
            beside.rename(path)
            self._sync_folder(path.parent)
        except OSError as exc:
            raise self._failed(name, exc) from exc

    def append(self, name: str, content: bytes) -> None:
        path = self.folder / name
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            is_new = not path.exists()
            self._write(path, content, os.O_CREAT | os.O_APPEND | os.O_WRONLY)
            if is_new:
                self._sync_folder(path.parent)
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

    def remove(self, name: str) -> None:
        path = self.folder / name
        try:
            path.unlink(missing_ok=True)
            if path.parent.is_dir():
                self._sync_folder(path.parent)
        except OSError as exc:
            raise self._failed(name, exc) from exc

    @staticmethod
    def _write(path: Path, content: bytes, flags: int) -> None:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())

    @staticmethod
    def _sync_folder(folder: Path) -> None:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _failed(self, name: str, exc: OSError) -> OperationFailed:
        return OperationFailed(
            f"{self.folder / name}: {exc.strerror or exc}",
            remedy=f"the agent keeps its state there: df -h {self.folder}; ls -ld {self.folder}",
            code="STATE_FOLDER",
        )
