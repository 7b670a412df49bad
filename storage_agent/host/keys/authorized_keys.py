"""The file in which sshd finds the coordinators' keys, each bound to its role.

Root's, and outside the home of the user that they log in as. What is in it that is not ours
(`lines.py`) lets nobody in, and is left as it is until somebody removes it.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable
from pathlib import Path

from storage_agent.host.keys.lines import (
    REMOVE_DAMAGED,
    KeyLine,
    KeyLines,
    new_line,
    parse_lines,
)
from storage_agent.host.keys.public_key import FILE_LIMIT_BYTES, parse_public_key
from storage_agent.host.system.files import replace_file
from storage_agent.host.system.lock import held
from storage_agent.model.errors import (
    AgentError,
    OperationFailed,
    Refused,
    UsageError,
    error_finding,
)
from storage_agent.model.finding import Finding
from storage_agent.model.key import AuthorizedKey, KeyRole, PublicKey

KEY_FILE = Path("/etc/storage-agent/authorized_keys")
LOCK_FILE = Path("/run/storage-agent/authorize.lock")
LOCK_WAIT_S = 5.0
# Some thousand keys.
SIZE_LIMIT_BYTES = 1 << 20
# A file that was changed again within one tick of the kernel's clock looks the same.
SETTLED_S = 2.0
HEAD = b"# Written by `storage-agent authorize`. A line of any other form lets nobody in.\n"


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

    def __init__(self, path: Path = KEY_FILE, lock: Path = LOCK_FILE) -> None:
        self.path = path
        self._lock = lock

    def read(self) -> KeyLines:
        """As sshd would, which takes nothing that others may write."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return KeyLines()
        except OSError as exc:
            raise self._failed(exc.strerror) from exc
        try:
            content = self._content(descriptor)
        except OSError as exc:
            raise self._failed(exc.strerror) from exc
        finally:
            os.close(descriptor)
        return parse_lines(content)

    def _content(self, descriptor: int) -> bytes:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise self._failed("it is not an ordinary file")
        if found.st_uid not in (0, os.geteuid()) or found.st_mode & 0o022:
            raise self._failed("others than root may write it: what it says counts for nothing")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            content = file.read(SIZE_LIMIT_BYTES + 1)
        if len(content) > SIZE_LIMIT_BYTES:
            raise self._failed(f"it has more than {SIZE_LIMIT_BYTES >> 10} KiB")
        return content

    def add(self, entry: AuthorizedKey) -> None:
        """Raises Refused for a key that is there already, in whatever role."""
        line = new_line(entry)

        def added(present: KeyLines) -> KeyLines:
            for other in present.entries():
                if other.key.key_id == entry.key.key_id:
                    raise Refused(
                        f"this key is authorized already, with the role {other.role}",
                        remedy=f"to change it, first: storage-agent authorize revoke "
                        f"{other.key.key_id}",
                        code="KEY_KNOWN",
                    )
            return KeyLines(lines=(*present.lines, KeyLine(number=0, raw=line, entry=entry)))

        self._change(added)

    def remove(self, key_id: str) -> AuthorizedKey:
        """key_id: or a whole fingerprint. Raises UsageError for one that is not there."""
        before, after = self._change(lambda present: present.without(key_id), what=key_id)
        return next(entry for entry in before.entries() if entry not in after.entries())

    def remove_damaged(self) -> tuple[KeyLine, ...]:
        """What was removed. Raises UsageError where there is nothing."""
        before, _ = self._change(KeyLines.without_damaged, what=REMOVE_DAMAGED)
        return before.damaged()

    def _change(
        self, change: Callable[[KeyLines], KeyLines], *, what: str = ""
    ) -> tuple[KeyLines, KeyLines]:
        """Before and after. what: is to be removed."""
        try:
            with held(self._lock, "another change of the keys", LOCK_WAIT_S):
                before = self.read()
                after = change(before)
                if after == before:
                    raise UsageError(
                        f"no key {what[:60]!a} is authorized"
                        if what != REMOVE_DAMAGED
                        else f"no line of {self.path} is damaged",
                        remedy="see them: storage-agent authorize list",
                        code="UNKNOWN_KEY",
                    )
                content = b"".join(line.raw + b"\n" for line in after.lines)
                self._write(content if before.lines else HEAD + content)
                return before, after
        except OSError as exc:
            raise self._failed(f"{exc.filename or self.path}: {exc.strerror}") from exc

    def _write(self, content: bytes) -> None:
        self.path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        # sshd reads it as the user that logs in.
        replace_file(self.path, content, mode=0o644, exactly=True)

    def _failed(self, why: str | None) -> OperationFailed:
        return OperationFailed(f"{self.path}: {why}", remedy=f"ls -lL {self.path}", code="KEY_FILE")


class KeyRights:
    """What each key may do now, for every request: the file is read when it has changed."""

    def __init__(self, file: KeyFile) -> None:
        self._file = file
        self._seen: tuple[int, ...] = ()
        self._lines = KeyLines()

    def role_of(self, key_id: str) -> KeyRole | None:
        """None for a key that is not, or not any more, in the file. Raises OperationFailed where
        the file cannot be read: nobody's rights are guessed."""
        return self._read().role_of(key_id)

    def findings(self) -> tuple[Finding, ...]:
        """What is wrong with the file."""
        try:
            return self._read().findings(str(self._file.path))
        except AgentError as exc:
            found = error_finding(
                exc,
                measured=exc.message,
                limit="a file of root's",
                remedy=f"ls -lL {self._file.path}",
            )
            return (found,)

    def _read(self) -> KeyLines:
        seen = self._look()
        if not seen or seen != self._seen:
            self._lines = self._file.read()
            # As it was before it was read.
            self._seen = seen
        return self._lines

    def _look(self) -> tuple[int, ...]:
        """What changes with the file; nothing where it was changed so lately that this would not
        show yet."""
        try:
            found = os.stat(self._file.path)
        except OSError:
            return ()
        if abs(time.time() - found.st_ctime) < SETTLED_S:
            return ()
        return (
            found.st_dev, found.st_ino, found.st_size, found.st_mode, found.st_uid,
            found.st_mtime_ns, found.st_ctime_ns,
        )  # fmt: skip
