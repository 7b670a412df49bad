"""Durable small files under /var/lib/storage-agent (root filesystem, never a replicated volume)."""

from __future__ import annotations

import os
from pathlib import Path

from storage_agent.host.system.files import replace_file, sync_folder
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
        return OperationFailed(
            f"{self.folder / name}: {exc.strerror or exc}",
            remedy=f"the agent keeps its state there: df -h {self.folder}; ls -ld {self.folder}",
            code="STATE_FOLDER",
        )
