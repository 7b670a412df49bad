"""Ends a lab when the process that started it is gone, however it went.

A small child holds the other end of a pipe. The end of the pipe is the end of the lab, unless the
parent has said goodbye first. The parent may be killed at any moment, and threads may come and go,
which the kernel's own parent-death signal would take for the parent's death.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from .process import environment
from .state import StateFile
from .vm import end_recorded

ROOT = Path(__file__).resolve().parents[3]
GOODBYE = b"keep\n"


class Guard:
    """The parent's side."""

    def __init__(self, name: str) -> None:
        passed = {k: v for k, v in os.environ.items() if k.startswith("STORAGE_AGENT_LAB")}
        self._child = subprocess.Popen(
            [sys.executable, "-m", __name__, name],
            stdin=subprocess.PIPE,
            cwd=ROOT,
            env=environment() | passed,
            start_new_session=True,
        )

    def release(self) -> None:
        """The lab stays, or has been ended already."""
        self._child.communicate(GOODBYE, timeout=10)


def watch(name: str) -> None:
    """The child's side: waits for the end of the pipe."""
    if sys.stdin.buffer.read() == GOODBYE:
        return
    instance = StateFile(name)
    with instance.locked():
        if instance.exists():
            end_recorded(instance.read())
            instance.forget()
        for folder in ("disks", "snapshots"):
            shutil.rmtree(instance.folder / folder, ignore_errors=True)
    shutil.rmtree(instance.runtime_folder(), ignore_errors=True)


if __name__ == "__main__":
    watch(sys.argv[1])
