"""Reads /etc/storage-agent: agent.toml, then agent.d/*.toml by name. Later files win key by key:
tables are merged, everything else, also an array, is replaced. Remembers where each value is from.
"""

from __future__ import annotations

import os
import re
import stat
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from storage_agent.configuration.positions import KeyPath, key_lines

SIZE_LIMIT_BYTES = 1 << 20
_PLACE = re.compile(r"(.*) \(at (?:line (\d+), column \d+|end of document)\)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Paths:
    """Where the configuration lies."""

    main: Path = Path("/etc/storage-agent/agent.toml")
    folder: Path = Path("/etc/storage-agent/agent.d")

    def exist(self) -> bool:
        """Any file of them: without one the host is not configured, which is no mistake."""
        return self.main.exists() or any(self.folder.glob("*.toml"))


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Origin:
    """A place in a file."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    origin: Origin
    message: str

    def __str__(self) -> str:
        return f"{self.origin}: {self.message}"


@dataclass(slots=True, kw_only=True)
class Document:
    """The merged files. main: where a problem of the whole is shown."""

    main: str
    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[KeyPath, Origin] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def origin(self, path: KeyPath) -> Origin:
        """Of the key, or of the nearest table above it."""
        while path and path not in self.origins:
            path = path[:-1]
        return self.origins.get(path) or Origin(file=self.main, line=1)

    def merge(self, file: str, text: str) -> None:
        """Takes another file in; one that is not TOML becomes a problem and changes nothing."""
        if text.startswith("\ufeff"):
            # tomllib calls it an invalid statement, and nobody sees it in an editor.
            message = (
                "begins with a byte order mark, which TOML does not know; take it away: "
                f"sed -i '1s/^\\xef\\xbb\\xbf//' {file}"
            )
            self.problems.append(Problem(origin=Origin(file=file, line=1), message=message))
            return
        try:
            values = tomllib.loads(text)
            lines = key_lines(text)
        except tomllib.TOMLDecodeError as exc:
            self.problems.append(_syntax_problem(file, text, str(exc)))
            return
        except RecursionError:
            origin = Origin(file=file, line=1)
            self.problems.append(Problem(origin=origin, message="nested too deeply"))
            return
        self._merge_table((), self.values, values)
        for path, line in lines.items():
            known_table = path in self.origins and isinstance(_at(values, path), dict)
            if not known_table:
                self.origins[path] = Origin(file=file, line=line)

    def _merge_table(self, path: KeyPath, into: dict[str, Any], new: dict[str, Any]) -> None:
        for key, value in new.items():
            below = (*path, key)
            if isinstance(value, dict) and isinstance(into.get(key), dict):
                self._merge_table(below, into[key], value)
                continue
            into[key] = value
            # What is replaced leaves no places behind: an array may be shorter now.
            for old in [p for p in self.origins if p[: len(below)] == below]:
                del self.origins[old]


def read_documents(paths: Paths) -> Document:
    """All files merged. What cannot be read or is unsafe is among the problems."""
    document = Document(main=str(paths.main))
    if not os.path.lexists(paths.main):
        # By Debian's policy a package's examples lie there.
        example = f"/usr/share/doc/{paths.main.parent.name}/examples/{paths.main.name}"
        problem = f"there is no such file; begin with {example}"
        document.problems.append(_file_problem(paths.main, problem))
        return document
    for file in _files(paths, document.problems):
        text = _read(file, document.problems)
        if text is not None:
            document.merge(str(file), text)
    return document


def _files(paths: Paths, problems: list[Problem]) -> Iterator[Path]:
    yield paths.main
    try:
        names = sorted(os.listdir(paths.folder))
    except FileNotFoundError:
        return
    except OSError as exc:
        problems.append(_file_problem(paths.folder, exc.strerror or str(exc)))
        return
    if _unsafe(os.stat(paths.folder)):
        problems.append(_file_problem(paths.folder, _unsafe(os.stat(paths.folder))))
    for name in names:
        # Hidden files are editors' leftovers.
        if name.endswith(".toml") and not name.startswith("."):
            yield paths.folder / name


def _read(file: Path, problems: list[Problem]) -> str | None:
    """None, and a problem, for a file that must not be believed."""
    try:
        # Non-blocking: a FIFO of that name must not hold us up.
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as exc:
        problems.append(_file_problem(file, exc.strerror or str(exc)))
        return None
    try:
        found = os.fstat(descriptor)
        wrong = "" if stat.S_ISREG(found.st_mode) else "not a regular file"
        wrong = wrong or _unsafe(found)
        raw = b"" if wrong else os.read(descriptor, SIZE_LIMIT_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(raw) > SIZE_LIMIT_BYTES:
        wrong = f"larger than {SIZE_LIMIT_BYTES} bytes"
    if wrong:
        problems.append(_file_problem(file, wrong))
        return None
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as exc:
        origin = Origin(file=str(file), line=raw.count(b"\n", 0, exc.start) + 1)
        problems.append(Problem(origin=origin, message="not UTF-8 text"))
        return None


def _unsafe(found: os.stat_result) -> str:
    """Whoever can write the configuration decides what root does."""
    # Owned by whoever runs this: a file that is only checked before it is installed.
    if found.st_uid not in (0, os.geteuid()):
        return f"owned by user {found.st_uid} and not by root: chown root"
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"others may write it (mode {stat.S_IMODE(found.st_mode):04o}): chmod go-w"
    return ""


def _file_problem(file: Path, message: str) -> Problem:
    return Problem(origin=Origin(file=str(file), line=1), message=message)


def _syntax_problem(file: str, text: str, message: str) -> Problem:
    found = _PLACE.fullmatch(message)
    last = text.count("\n") + (0 if text.endswith("\n") else 1)
    line = int(found[2]) if found and found[2] else max(1, last)
    what = found[1] if found else message
    return Problem(origin=Origin(file=file, line=line), message=f"not TOML: {what}")


def _at(values: Any, path: KeyPath) -> Any:
    for part in path:
        values = values[part]
    return values
