"""What only the site knows how to do (move an elastic address, attach a volume, call a pager): a
directory of executables, each called at every point, in the order of their names.

    EXECUTABLE POINT        the event as one JSON object on stdin, ended at the deadline

before a volume is given to a host: `pre-promote`; what does not exit 0 stops the move.
after it, however it ended: `post-promote`; what does not exit 0 is told loudly, and undoes nothing.
for each event of `watch`: `event`.  For --dry-run: EXECUTABLE `dry-run` POINT, so that an
executable that knows nothing of it does nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from storage_agent.coordinator.commands import RunCommand, shown
from storage_agent.coordinator.settings import VolumeSettings
from storage_agent.model.errors import AgentError, ConfigurationError, Refused
from storage_agent.model.wire import to_wire

# As run-parts(8): no editor's copy and no package manager's leftover is ever called.
_NAME = re.compile(r"[A-Za-z0-9_-]+")
_OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH


class Point(StrEnum):
    PRE_PROMOTE = "pre-promote"
    POST_PROMOTE = "post-promote"
    EVENT = "event"


@dataclass(frozen=True, slots=True, kw_only=True)
class Giving:
    """A volume on its way to a host. operation: switchover or failover.  source: where it is taken
    from.  automatic: no person has asked."""

    operation: str
    volume: str
    source: str
    target: str
    automatic: bool = False


def giving_of(
    operation: str, volume: VolumeSettings, target: str, *, automatic: bool = False
) -> Giving:
    return Giving(
        operation=operation,
        volume=volume.key,
        source=volume.peer_of(target),
        target=target,
        automatic=automatic,
    )


class Hooks:
    """tell: gets each failure that stops nothing. The same move may be announced more than once,
    by a coordinator that was killed in it: executables must take that.

    seen: a file that says that there were some once; then their folder must be there. is_wanted:
    it must be in any case."""

    def __init__(
        self,
        folder: Path,
        run: RunCommand,
        timeout_s: float,
        tell: Callable[[str], None],
        *,
        seen: Path | None = None,
        is_wanted: bool = False,
    ) -> None:
        self._seen = seen
        self._is_wanted = is_wanted
        self._folder = folder
        self._run = run
        self._timeout_s = timeout_s
        self._tell = tell

    def before(self, giving: Giving) -> None:
        """Raises Refused, ConfigurationError: nothing may be changed then."""
        paths = self._executables()
        for oddity in oddities(self._folder):
            self._tell(oddity)
        for path in paths:
            if why := self._call(path, (Point.PRE_PROMOTE,), to_wire(giving)):
                raise Refused(
                    f"the hook {path.name} is against it: {why}",
                    remedy=f"see what it wants: {path}; nothing was changed",
                    code="HOOK_REFUSED",
                )

    def after(self, giving: Giving, failure: str) -> bool:
        """failure: empty where the target serves. False where a hook has failed."""
        document = {**to_wire(giving), "is_serving": not failure, "failure": failure}
        return self._all(Point.POST_PROMOTE, document)

    def event(self, document: dict[str, Any]) -> bool:
        return self._all(Point.EVENT, document)

    def dry_run(self, giving: Giving) -> tuple[str, ...]:
        """What each executable says that it would do before and after, one line each. Raises
        ConfigurationError."""
        said = []
        for point in (Point.PRE_PROMOTE, Point.POST_PROMOTE):
            document = {**to_wire(giving), "point": str(point), "is_dry_run": True}
            for path in self._executables():
                try:
                    ended = self._run(
                        (os.fspath(path), "dry-run", point), _line(document), self._timeout_s
                    )
                    text = shown(ended.text) or f"exit {ended.exit_status}"
                except AgentError as exc:
                    text = exc.message
                said.append(f"{point} {path.name}: {text}")
        return tuple(said)

    def _executables(self) -> tuple[Path, ...]:
        """Raises ConfigurationError: what may have been against a move is gone, and nobody has said
        that it shall be."""
        found = executables(self._folder)
        if found and self._seen is not None and not self._seen.exists():
            with contextlib.suppress(OSError):
                self._seen.touch(mode=0o600)
        was_there = self._is_wanted or (self._seen is not None and self._seen.exists())
        if was_there and not self._folder.is_dir():
            raise ConfigurationError(
                f"{self._folder}:1: there were hooks, or are to be, and the folder is not there",
                remedy=f"put it back; if no hook is wanted any more: mkdir -m 755 {self._folder}",
                code="HOOKS_MISSING",
            )
        return found

    def _all(self, point: Point, document: dict[str, Any]) -> bool:
        """One that fails keeps no other from its turn."""
        try:
            paths = self._executables()
        except ConfigurationError as exc:
            self._tell(f"no hook was called at {point}: {exc.message}")
            return False
        failed = [path for path in paths if not self._is_done(path, point, document)]
        return not failed

    def _is_done(self, path: Path, point: Point, document: dict[str, Any]) -> bool:
        why = self._call(path, (point,), document)
        if why:
            self._tell(f"the hook {path.name} failed at {point}: {why}")
        return not why

    def _call(self, path: Path, words: tuple[str, ...], document: dict[str, Any]) -> str:
        """Why it failed; empty where it did not."""
        try:
            ended = self._run(
                (os.fspath(path), *words),
                _line({**document, "point": words[-1], "is_dry_run": False}),
                self._timeout_s,
            )
        except AgentError as exc:
            return exc.message
        if ended.exit_status == 0:
            return ""
        return shown(ended.text) or f"exit {ended.exit_status}"


def executables(folder: Path) -> tuple[Path, ...]:
    """None where there is no such directory. Raises ConfigurationError where somebody else than its
    owner, root, could put something there or change it."""
    if not folder.is_dir():
        return ()
    _require_own(folder)
    try:
        names = sorted(path.name for path in folder.iterdir())
    except OSError as exc:
        raise ConfigurationError(f"{folder}:1: {exc.strerror}") from exc
    found = []
    for path in (folder / name for name in names if _NAME.fullmatch(name)):
        mode = _require_own(path)
        if stat.S_ISREG(mode) and mode & 0o111:
            found.append(path)
    return tuple(found)


def oddities(folder: Path) -> tuple[str, ...]:
    """What lies there and is never called, one line each: who has put it there may believe that
    it is."""
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        return ()
    return tuple(f"{path!s} is never called: {why}" for path in entries if (why := _oddity(path)))


def _oddity(path: Path) -> str:
    try:
        mode = path.lstat().st_mode
    except OSError as exc:
        return exc.strerror or "it is gone"
    if stat.S_ISDIR(mode):
        return "it is a folder"
    if not _NAME.fullmatch(path.name):
        return "its name has other signs than letters, digits, _ and -"
    return "" if mode & 0o111 else "it is not executable"


def _require_own(path: Path) -> int:
    """Its mode."""
    try:
        status = path.lstat()
    except OSError as exc:
        raise ConfigurationError(f"{path}:1: {exc.strerror}") from exc
    is_kind = stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)
    if not is_kind or status.st_uid not in (0, os.geteuid()) or status.st_mode & _OTHERS_MAY_WRITE:
        raise ConfigurationError(
            f"{path}:1: it is called as root, and is not root's alone",
            remedy=f"no link; chown root {path}; chmod go-w {path}",
            code="HOOK_UNSAFE",
        )
    return status.st_mode


def _line(document: dict[str, Any]) -> bytes:
    return json.dumps(document).encode() + b"\n"
