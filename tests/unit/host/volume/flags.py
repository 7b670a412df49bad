"""Takes the immutable flag off whatever a test has left, so that its folder can be removed."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from storage_agent.host.system import syscalls


def lift_all(folder: Path) -> None:
    """Follows no link, opens no FIFO."""
    for path, folders, files in os.walk(folder):
        for name in (*folders, *files):
            with contextlib.suppress(OSError):
                _lift(os.path.join(path, name))


def _lift(path: str) -> None:
    opened = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        syscalls.set_immutable(opened, on=False)
    finally:
        os.close(opened)
