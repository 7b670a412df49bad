"""One output stream as the renderers see it: is it a terminal, may there be colour, which signs.

The one door to it: whatever a host, a tool, a volume or a library has said goes through `line`,
`transient` or `ask`, and nothing that steers a terminal comes out but our own colours.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TextIO

from storage_agent.cli.text import clean


class Tone(StrEnum):
    OK = "ok"
    WARN = "warn"
    BAD = "bad"
    UNKNOWN = "unknown"
    BOLD = "bold"
    DIM = "dim"
    PLAIN = "plain"


_CODES = {
    Tone.OK: "32",
    Tone.WARN: "33",
    Tone.BAD: "1;31",
    Tone.UNKNOWN: "1;35",
    Tone.BOLD: "1",
    Tone.DIM: "2",
}
# Ours alone: whoever writes a colour's real code into what he says does not know this.
_MARK = f"\x00{secrets.token_hex(8)}"
_PAINT = re.compile(f"{_MARK}([0-9;]+)m")


def _width(stream: TextIO) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError):
        return 80


@dataclass(slots=True, kw_only=True)
class Screen:
    """is_terminal: lines may be rewritten in place. colour: off also by NO_COLOR (no-color.org).
    unicode: the stream can take check marks."""

    stream: TextIO
    is_terminal: bool = False
    colour: bool = False
    unicode: bool = True
    width: int = 80
    transient_shown: bool = False

    @classmethod
    def of(cls, stream: TextIO, environment: Mapping[str, str]) -> Screen:
        is_terminal = stream.isatty()
        capable = is_terminal and environment.get("TERM", "dumb") != "dumb"
        return cls(
            stream=stream,
            is_terminal=capable,
            colour=capable and not environment.get("NO_COLOR"),
            unicode=(stream.encoding or "").lower().replace("-", "") == "utf8",
            width=_width(stream) if capable else 80,
        )

    def paint(self, text: str, tone: Tone) -> str:
        code = _CODES.get(tone)
        return f"{_MARK}{code}m{text}{_MARK}0m" if self.colour and code else text

    def line(self, text: str = "") -> None:
        """A line that stays."""
        self.drop_transient()
        self._write(self._clean(text) + "\n")

    def transient(self, text: str) -> None:
        """A line that the next one replaces; nothing where it could not be replaced."""
        if self.is_terminal:
            self._write("\r\x1b[K" + self._clean(text)[: self.width - 1])
            self.transient_shown = True

    def ask(self, question: str) -> None:
        """The answer is typed behind it."""
        self.drop_transient()
        self._write(f"{self._clean(question)} ")

    def drop_transient(self) -> None:
        if self.transient_shown:
            self._write("\r\x1b[K")
            self.transient_shown = False

    def clear(self) -> None:
        if self.is_terminal:
            self._write("\x1b[H\x1b[2J")

    def _clean(self, text: str) -> str:
        """With our colours, where there may be any, and nothing else that is not to be read."""
        if not self.colour:
            return clean(text)
        parts = _PAINT.split(text)
        return "".join(f"\x1b[{part}m" if n % 2 else clean(part) for n, part in enumerate(parts))

    def _write(self, text: str) -> None:
        if not self.unicode:
            text = text.encode("ascii", errors="replace").decode()
        self.stream.write(text)
        self.stream.flush()
