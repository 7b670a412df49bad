"""The secret that both hosts of a volume have, so that each knows the other's agent."""

from __future__ import annotations

import os
import re
import secrets
import stat
from pathlib import Path

from storage_agent.host.system.files import create_file, sync_folder
from storage_agent.model.agreement import PAIR_FOLDER, secret_path
from storage_agent.model.errors import OperationFailed

_FORM = re.compile(rb"[0-9a-f]{64}\n?")
_LIMIT_BYTES = 128


def has_secret(volume: str, root: Path = Path("/")) -> bool:
    """Whether there is one, usable or not."""
    return os.path.lexists(_path(volume, root))


def read_secret(volume: str, root: Path = Path("/")) -> bytes | None:
    """None where there is none. Raises OperationFailed where it is no secret: another form,
    or somebody else's to read."""
    path = _path(volume, root)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise _unusable(volume, path, "no plain file")
            if status.st_uid != os.geteuid() or status.st_mode & 0o077:
                raise _unusable(volume, path, "not root's alone")
            content = file.read(_LIMIT_BYTES)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise _unusable(volume, path, exc.strerror or str(exc)) from exc
    if not _FORM.fullmatch(content):
        raise _unusable(volume, path, "not 64 hexadecimal digits")
    return bytes.fromhex(content.decode())


def make_secret(volume: str, root: Path = Path("/")) -> bool:
    """Durable on return. False where there is one already, which stays. Raises OperationFailed."""
    path = _path(volume, root)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        is_made = create_file(path, f"{secrets.token_hex(32)}\n".encode())
        sync_folder(path.parent.parent)
    except OSError as exc:
        raise _unusable(volume, path, exc.strerror or str(exc)) from exc
    return is_made


def _path(volume: str, root: Path) -> Path:
    return root / secret_path(volume).lstrip("/")


def _unusable(volume: str, path: Path, why: str) -> OperationFailed:
    return OperationFailed(
        f"{path}: {why}",
        remedy=f"ls -ld {PAIR_FOLDER} {path}; where it is damaged: rm {path}; then on one host: "
        f"storage-agent pair-secret {volume}",
        code="PAIR_SECRET_UNUSABLE",
    )
