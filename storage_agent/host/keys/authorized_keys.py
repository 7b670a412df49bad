"""The file in which sshd finds the coordinators' keys, each bound to its role.

Root's, and outside the home of the user that they log in as. Every line is of one form; a file
with any other is not touched, because nobody but sshd knows what that line would permit.
"""

from __future__ import annotations

import fcntl
import ipaddress
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from storage_agent.host.keys.public_key import FILE_LIMIT_BYTES, parse_key_line, parse_public_key
from storage_agent.model.errors import (
    AgentError,
    Busy,
    ConfigurationError,
    OperationFailed,
    Refused,
    UsageError,
)
from storage_agent.model.key import AuthorizedKey, KeyRole, PublicKey

KEY_FILE = Path("/etc/storage-agent/authorized_keys")
GATEWAY = "/usr/lib/storage-agent/gateway"
HEAD = "# Written by `storage-agent authorize`, which refuses to touch a file with other lines.\n"
_LINE = re.compile(
    rf'restrict,command="{re.escape(GATEWAY)} --role (\w+) --key-id ([\w+/:]+)"'
    r'(?:,from="([0-9a-fA-F.:/,]+)")? (.+)'
)


def format_line(entry: AuthorizedKey) -> str:
    """One line of the file. `restrict` switches off all that sshd offers, also in times to come."""
    key = entry.key
    origin = f',from="{",".join(entry.addresses)}"' if entry.addresses else ""
    command = f"{GATEWAY} --role {entry.role} --key-id {key.key_id}"
    line = f'restrict,command="{command}"{origin} {key.kind} {key.material} {key.comment}'
    return line.rstrip() + "\n"


def parse_lines(text: str, name: str) -> tuple[AuthorizedKey, ...]:
    """Raises ConfigurationError for any line that is not exactly what `format_line` writes."""
    found: list[AuthorizedKey] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip() or line.startswith("#"):
            continue
        entry = _parse_line(line)
        if entry is None:
            raise ConfigurationError(
                f"{name}:{number}: not a line that storage-agent wrote",
                remedy=f"remove line {number}, then give that key with: "
                "storage-agent authorize --role ROLE KEYFILE",
                code="FOREIGN_KEY_LINE",
            )
        found.append(entry)
    return tuple(found)


def _parse_line(line: str) -> AuthorizedKey | None:
    match = _LINE.fullmatch(line)
    if match is None:
        return None
    role, key_id, origin, key = match.groups()
    try:
        entry = AuthorizedKey(
            key=parse_key_line(key, "it"),
            role=KeyRole(role),
            addresses=tuple(origin.split(",")) if origin else (),
        )
    except (AgentError, ValueError):
        return None
    return entry if entry.key.key_id == key_id else None


def check_address(text: str) -> str:
    """An address or a network as sshd takes it. Raises UsageError."""
    try:
        return str(ipaddress.ip_network(text) if "/" in text else ipaddress.ip_address(text))
    except ValueError as exc:
        raise UsageError(
            f"--from {text[:60]!a}: {str(exc)[:100]}",
            remedy="an address, or a network like 10.0.0.0/24",
        ) from None


def read_public_key(path: str) -> PublicKey:
    """Of an ordinary file that an admin names. Raises UsageError, Refused."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise UsageError(f"{path} is not an ordinary file", code="BAD_KEY")
            content = file.read(FILE_LIMIT_BYTES + 1)
    except OSError as exc:
        raise UsageError(
            f"{path}: {exc.strerror}", remedy="storage-agent authorize --help", code="BAD_KEY"
        ) from exc
    return parse_public_key(content, path)


class KeyFile:
    """Changed under a lock and replaced as a whole. All raise AgentError."""

    def __init__(self, path: Path = KEY_FILE) -> None:
        self.path = path

    def entries(self) -> tuple[AuthorizedKey, ...]:
        try:
            return parse_lines(self.path.read_text(encoding="utf-8"), str(self.path))
        except FileNotFoundError:
            return ()
        except (OSError, UnicodeDecodeError) as exc:
            raise self._failed(exc) from exc

    def role_of(self, key_id: str) -> KeyRole | None:
        """None for a key that is not, or not any more, in the file."""
        return next((e.role for e in self.entries() if e.key.key_id == key_id), None)

    def add(self, entry: AuthorizedKey) -> None:
        """Raises Refused for a key that is there already, in whatever role."""

        def added(present: tuple[AuthorizedKey, ...]) -> tuple[AuthorizedKey, ...]:
            for other in present:
                if other.key.key_id == entry.key.key_id:
                    raise Refused(
                        f"this key is authorized already, with the role {other.role}",
                        remedy=f"to change it, first: storage-agent authorize revoke "
                        f"{other.key.key_id}",
                        code="KEY_KNOWN",
                    )
            return (*present, entry)

        self._change(added)

    def remove(self, key_id: str) -> AuthorizedKey:
        """key_id: or a whole fingerprint. Raises UsageError for one that is not there."""
        removed: list[AuthorizedKey] = []

        def rest(present: tuple[AuthorizedKey, ...]) -> tuple[AuthorizedKey, ...]:
            removed.extend(e for e in present if key_id in (e.key.key_id, e.key.fingerprint))
            if not removed:
                raise UsageError(
                    f"no key {key_id[:60]!a} is authorized",
                    remedy="see them: storage-agent authorize list",
                    code="UNKNOWN_KEY",
                )
            return tuple(e for e in present if e not in removed)

        self._change(rest)
        return removed[0]

    def _change(
        self, change: Callable[[tuple[AuthorizedKey, ...]], tuple[AuthorizedKey, ...]]
    ) -> None:
        try:
            with self._locked() as folder:
                entries = change(self.entries())
                beside = self.path.with_name(f".{self.path.name}.new")
                text = HEAD + "".join(format_line(entry) for entry in entries)
                self._write(beside, text.encode())
                beside.rename(self.path)
                os.fsync(folder)
        except OSError as exc:
            raise self._failed(exc) from exc

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """The folder's descriptor: a lock file of its own would have to be kept for ever."""
        self.path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield folder
        except BlockingIOError:
            raise Busy("another storage-agent authorize runs", remedy="try again") from None
        finally:
            os.close(folder)

    @staticmethod
    def _write(path: Path, content: bytes) -> None:
        path.unlink(missing_ok=True)
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(path, flags, 0o644), "wb") as file:
            # sshd reads it as the user that logs in.
            os.fchmod(file.fileno(), 0o644)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())

    def _failed(self, exc: Exception) -> OperationFailed:
        why = exc.strerror if isinstance(exc, OSError) else "not UTF-8"
        return OperationFailed(
            f"{self.path}: {why or exc}", remedy=f"ls -l {self.path}", code="KEY_FILE"
        )
