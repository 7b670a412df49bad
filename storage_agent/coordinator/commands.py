"""How the coordinator has a command run: by a port, as only host/system/runner.py starts one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """text: what it wrote to stderr.  out: to stdout."""

    exit_status: int
    text: str = ""
    out: str = ""


# (argv, stdin, timeout_s). Raises AgentError where the command did not end by itself.
RunCommand = Callable[[tuple[str, ...], bytes, float], Ended]


SHOWN_LIMIT = 300


def shown(text: str) -> str:
    """What a command has written, for a message: one line, escaped, and of much the end alone,
    where the reason is."""
    line = " ".join(text.split())
    escaped = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)
    return escaped if len(escaped) <= SHOWN_LIMIT else f"…{escaped[-SHOWN_LIMIT:]}"
