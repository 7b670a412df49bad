"""How the coordinator has a command run: through a port, for only host/runner.py starts one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """text: what it wrote to stderr."""

    exit_status: int
    text: str = ""


# (argv, stdin, timeout_s). Raises AgentError where the command did not end by itself.
RunCommand = Callable[[tuple[str, ...], bytes, float], Ended]
