"""The files that `create` writes for a volume, remembered so that exactly they can be taken back.

`/var/lib/storage-agent/made-VOLUME` has each file's path, the hash of what was written and what
was there before. It is written before the file, so that a file that is not in it is not ours.
Runs nothing.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import hashlib
import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from storage_agent.host.system import outside
from storage_agent.host.system.files import replace_file, sync_folder
from storage_agent.model.creation import FileState
from storage_agent.model.errors import OperationFailed, Refused

STATE = Path("var/lib/storage-agent")


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeFile:
    """digest: SHA-256 of what was written; empty for a folder.  before: what the file held then,
    base64; None where there was none.  mode: which permissions that had."""

    digest: str
    before: str | None
    mode: int = 0o600


class MadeFiles:
    """Of one volume."""

    def __init__(self, volume: str, root: Path = Path("/")) -> None:
        self._root = root
        self._record = root / STATE / f"made-{volume}"

    def will_write(self, path: Path, content: bytes) -> None:
        """Durable on return. path: below the root. Raises OperationFailed."""
        known = self._read()
        name = str(path)
        mode = 0o600
        try:
            before: bytes | None = (self._root / path).read_bytes()
            mode = stat.S_IMODE((self._root / path).stat().st_mode)
        except FileNotFoundError:
            before = None
        except OSError as exc:
            raise _unusable(self._root / path, exc) from exc
        digest = hashlib.sha256(content).hexdigest()
        earlier = known.get(name)
        if earlier is not None:
            # What was there before the first time is what is put back.
            kept, mode = earlier.before, earlier.mode
        else:
            kept = None if before is None else base64.b64encode(before).decode()
        self._write(known | {name: MadeFile(digest=digest, before=kept, mode=mode)})

    def will_make_folder(self, name: str) -> None:
        """As will_write, by an absolute path; one that exists is not ours."""
        path = Path(name.lstrip("/"))
        if not (self._root / path).exists():
            self._write(self._read() | {str(path): MadeFile(digest="", before=None)})

    def states(self) -> dict[str, FileState]:
        """Raises OperationFailed."""
        return {name: self._state(name, made) for name, made in self._read().items()}

    def take_back(self) -> None:
        """Removes what was made, and puts back what was there. Idempotent; durable on return.
        Raises Refused where somebody has changed one of the files since, before anything is
        removed, and OperationFailed."""
        made = self._read()
        for name, state in self.states().items():
            if state is FileState.CHANGED:
                raise Refused(
                    f"/{name} is not as `create` wrote it any more; nothing was removed",
                    remedy=f"look at it and move it away yourself: less /{name}",
                    code="CREATION_CHANGED",
                )
        for name, file in made.items():
            if file.digest:
                self._take_back(self._root / name, file)
            else:
                _remove_folder(outside.tree(self._root) / name)
        try:
            self._record.unlink(missing_ok=True)
            sync_folder(self._record.parent)
        except OSError as exc:
            raise _unusable(self._record, exc) from exc

    def _take_back(self, path: Path, file: MadeFile) -> None:
        try:
            if file.before is not None:
                content = base64.b64decode(file.before)
                replace_file(path, content, mode=file.mode, exactly=True)
                return
            path.unlink(missing_ok=True)
            sync_folder(path.parent)
        except OSError as exc:
            raise _unusable(path, exc) from exc

    def _state(self, name: str, made: MadeFile) -> FileState:
        path = self._root / name
        if not made.digest:
            return FileState.WRITTEN if path.is_dir() else FileState.GONE
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return FileState.GONE
        except OSError as exc:
            raise _unusable(path, exc) from exc
        before = None if made.before is None else base64.b64decode(made.before)
        if hashlib.sha256(content).hexdigest() == made.digest or content == before:
            return FileState.WRITTEN
        return FileState.CHANGED

    def _read(self) -> dict[str, MadeFile]:
        try:
            found = json.loads(self._record.read_bytes())
            return {
                name: MadeFile(
                    digest=entry["digest"], before=entry["before"], mode=int(entry["mode"])
                )
                for name, entry in found.items()
            }
        except FileNotFoundError:
            return {}
        except OSError as exc:
            raise _unusable(self._record, exc) from exc
        except (ValueError, KeyError, TypeError, AttributeError) as exc:
            raise OperationFailed(
                f"{self._record} is damaged: {exc}",
                remedy="which files `create` wrote is not known: look at them yourself, "
                "ls -l /etc/drbd.d /etc/storage-agent/agent.d",
                code="CREATION_DAMAGED",
            ) from exc

    def _write(self, made: dict[str, MadeFile]) -> None:
        content = {name: dataclasses.asdict(file) for name, file in made.items()}
        try:
            self._record.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            replace_file(self._record, json.dumps(content).encode())
        except OSError as exc:
            raise _unusable(self._record, exc) from exc


def _remove_folder(path: Path) -> None:
    """With something in it it stays: whoever put that there goes on with it."""
    with contextlib.suppress(OSError):
        os.rmdir(path)


def _unusable(path: Path, exc: OSError) -> OperationFailed:
    return OperationFailed(
        f"{path}: {exc.strerror or exc}",
        remedy=f"ls -ld {path.parent}; df -h {path.parent}",
        code="CREATION_FILES",
    )
