"""Taking known keys out of a TOML table, and saying exactly what is wrong with the others."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from storage_agent.configuration.positions import KeyPath, dotted
from storage_agent.configuration.read import Document, Problem

# A rule returns what is wrong with a value, or nothing.
Rule = Callable[[str], str]


def nearest(word: str, known: Iterable[str]) -> str:
    """` (did you mean 'port'?)`, or the list of what is known."""
    # Only when something is wrong: loading must stay quick.
    import difflib

    names = sorted(str(name) for name in known)
    close = difflib.get_close_matches(word, names, 1, 0.65)
    if close:
        return f" (did you mean {close[0]!r}?)"
    return f" (known: {', '.join(names)})" if names else ""


def matching(pattern: str, wanted: str) -> Rule:
    """The whole value must match."""
    compiled = re.compile(pattern)
    return lambda value: "" if compiled.fullmatch(value) else f"{value!r} is not {wanted}"


def one_of(*known: str) -> Rule:
    return lambda value: "" if value in known else f"{value!r} is not known{nearest(value, known)}"


class Section:
    """A table, read key by key. Every value that is not as it should be becomes a problem, and
    the reading goes on with an empty one; nothing is built in the end where there are problems.
    """

    def __init__(self, document: Document, path: KeyPath, table: Mapping[str, Any]) -> None:
        self._document = document
        self._table = table
        self._taken: list[str] = []
        self.path = path

    def problem(self, message: str, *below: str | int) -> None:
        """At the line of the key `below` this table, or of what is nearest to it."""
        path = (*self.path, *below)
        text = f"{dotted(path)}: {message}" if path else message
        self._document.problems.append(Problem(origin=self._document.origin(path), message=text))

    def names(self) -> list[str]:
        return list(self._table)

    def text(self, key: str, rule: Rule, default: str | None = None) -> str:
        """A string. Required where there is no default."""
        value = self._take(key, default)
        if value is None:
            return ""
        if not isinstance(value, str):
            self.problem("a string is wanted", key)
            return ""
        if key in self._table and (wrong := rule(value)):
            self.problem(wrong, key)
            return ""
        return value

    def optional_text(self, key: str, rule: Rule) -> str | None:
        """A string, or None where the key is not there."""
        return self.text(key, rule, "") or None

    def number(self, key: str, low: int, high: int, default: int | None = None) -> int:
        """A whole number in these bounds; -1 where it is wrong."""
        value = self._take(key, default)
        # type() and not isinstance(): true is an int.
        if value is not None and type(value) is not int:
            self.problem("a whole number is wanted", key)
        elif value is not None and not low <= value <= high:
            self.problem(f"{value} is not between {low} and {high}", key)
        elif value is not None:
            return value
        return -1

    def flag(self, key: str, *, default: bool) -> bool:
        """true or false."""
        value = self._take(key, default)
        if type(value) is not bool:
            self.problem("true or false is wanted", key)
            return default
        return value

    def texts(
        self, key: str, rule: Rule, default: tuple[str, ...] | None = None
    ) -> tuple[str, ...]:
        """A list of strings, none of them twice. Required, and not empty, without a default."""
        value = self._take(key, default)
        if value is None or isinstance(value, tuple):
            return value or ()
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            self.problem("a list of strings is wanted", key)
            return ()
        if default is None and not value:
            self.problem("the list is empty", key)
        for number, item in enumerate(value):
            if wrong := rule(item):
                self.problem(wrong, key, number)
            if item in value[:number]:
                self.problem(f"{item!r} is listed twice", key, number)
        return tuple(value)

    def table(self, key: str) -> Section:
        """A table that must be there."""
        return self.optional_table(key) or self._missing_table(key)

    def optional_table(self, key: str) -> Section | None:
        value = self._take(key, {})
        if not isinstance(value, dict):
            self.problem("a table is wanted", key)
        elif key in self._table:
            return Section(self._document, (*self.path, key), value)
        return None

    def done(self) -> None:
        """Every key that nobody took is unknown."""
        for key in self._table:
            if key not in self._taken:
                self.problem(f"unknown key{nearest(key, self._taken)}", key)

    def _missing_table(self, key: str) -> Section:
        if key not in self._table:
            self.problem(f"the table [{dotted((*self.path, key))}] is missing")
        return _Absent(self._document, (*self.path, key), {})

    def _take(self, key: str, default: Any) -> Any:
        self._taken.append(key)
        value = self._table.get(key, default)
        if value is None:
            self.problem(f"the key {key!r} is missing")
        return value


class _Absent(Section):
    """Stands for a table whose absence has been said once already."""

    def problem(self, message: str, *below: str | int) -> None:
        return
