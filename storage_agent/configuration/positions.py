"""On which line each key of a TOML text stands: tomllib gives values without positions.

Only for text that tomllib has accepted, so nothing is checked here twice.
"""

from __future__ import annotations

import json
import re

KeyPath = tuple[str | int, ...]

_SPACE = re.compile(r"[ \t]*")
_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_STRINGS = (
    re.compile(r'"""(?:\\.|[^\\])*?"{3,5}(?!")', re.DOTALL),
    re.compile(r"'''.*?'{3,5}(?!')", re.DOTALL),
    re.compile(r'"(?:\\.|[^"\\])*"'),
    re.compile(r"'[^']*'"),
)
_SCALAR = re.compile(r"[^,\]}#\n]*")
_ESCAPE = re.compile(r"\\(u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|.)", re.DOTALL)
_ESCAPED = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", '"': '"', "\\": "\\"}


def dotted(path: KeyPath) -> str:
    """`volumes.data.nfs`, as a person would type it; numbers of array elements are left out."""
    parts = (part for part in path if isinstance(part, str))
    return ".".join(part if _BARE.fullmatch(part) else json.dumps(part) for part in parts)


def key_lines(text: str) -> dict[KeyPath, int]:
    """Line of every table, key and array element by its path, e.g. ("hosts", "alpha", "address")
    or ("volumes", "data", "nfs", "clients", 0). A table has the line where it first comes up."""
    return _Scanner(text).scan()


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._counted_to = 0
        self._line = 1
        self._lines: dict[KeyPath, int] = {}
        self._elements: dict[KeyPath, int] = {}

    def scan(self) -> dict[KeyPath, int]:
        table: KeyPath = ()
        while True:
            self._skip(_BLANK)
            if self._is_at_end():
                return self._lines
            if self._peek("[["):
                name = self._header(2)
                number = self._elements[name] = self._elements.get(name, -1) + 1
                table = (*name, number)
                self._note(table)
            elif self._peek("["):
                table = self._header(1)
            else:
                self._pair(table)

    def _header(self, brackets: int) -> KeyPath:
        self._at += brackets
        path = self._key(())
        self._at += brackets
        return path

    def _pair(self, table: KeyPath) -> None:
        path = self._key(table)
        self._at += 1  # the equals sign
        self._value(path)

    def _key(self, table: KeyPath) -> KeyPath:
        """Reads a key, dotted or not; notes each part and stops behind the key."""
        path = table
        while True:
            self._skip(_SPACE)
            path = (*path, self._key_part())
            self._note(path)
            self._skip(_SPACE)
            if not self._peek("."):
                return path
            self._at += 1

    def _key_part(self) -> str:
        if self._peek("'"):
            return self._take(_STRINGS[3])[1:-1]
        if self._peek('"'):
            return _ESCAPE.sub(_unescaped, self._take(_STRINGS[2])[1:-1])
        return self._take(_BARE)

    def _value(self, path: KeyPath) -> None:
        self._skip(_SPACE)
        if self._peek("["):
            self._array(path)
        elif self._peek("{"):
            self._inline_table(path)
        else:
            string = next((s for s in _STRINGS if s.match(self._text, self._at)), None)
            self._take(string or _SCALAR)

    def _array(self, path: KeyPath) -> None:
        self._at += 1
        number = 0
        while True:
            self._skip(_BLANK)
            if self._peek("]") or self._is_at_end():
                self._at += 1
                return
            if self._peek(","):
                self._at += 1
                continue
            self._note((*path, number))
            self._value((*path, number))
            number += 1

    def _inline_table(self, path: KeyPath) -> None:
        self._at += 1
        while True:
            self._skip(_BLANK)
            if self._peek("}") or self._is_at_end():
                self._at += 1
                return
            if self._peek(","):
                self._at += 1
                continue
            self._pair(path)

    def _note(self, path: KeyPath) -> None:
        self._line += self._text.count("\n", self._counted_to, self._at)
        self._counted_to = self._at
        self._lines.setdefault(path, self._line)

    def _peek(self, what: str) -> bool:
        return self._text.startswith(what, self._at)

    def _is_at_end(self) -> bool:
        return self._at >= len(self._text)

    def _skip(self, pattern: re.Pattern[str]) -> None:
        self._take(pattern)

    def _take(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._at)
        if found is None:
            # Not reached with text that tomllib accepts; ends the scan rather than loop.
            self._at = len(self._text)
            return ""
        self._at = found.end()
        return found[0]


def _unescaped(found: re.Match[str]) -> str:
    code = found[1]
    return _ESCAPED[code] if code in _ESCAPED else chr(int(code[1:], 16))
