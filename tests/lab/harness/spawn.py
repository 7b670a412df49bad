"""Background processes in a guest. They belong to the guest, not to a connection: cutting the
control link or losing ssh does not end them.
"""

from __future__ import annotations

import itertools
import os
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from .deadline import wait_until
from .errors import LabError
from .process import Completed

Run = Callable[..., Completed]
FOLDER = "/run/lab-spawn"

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spawned:
    """A shell command that runs in a guest, in a session (and process group) of its own."""

    run: Run
    folder: str
    pid: int
    command: str

    @classmethod
    def start(cls, run: Run, command: str, *, timeout_s: float) -> Spawned:
        folder = f"{FOLDER}/{os.getpid()}-{next(_numbers)}"
        inner = (
            f"sh -c {shlex.quote(command)} >{folder}/out 2>{folder}/err; echo $? >{folder}/new; "
        )
        inner += f"mv {folder}/new {folder}/status"
        script = (
            f"rm -rf {folder}; mkdir -p {folder}; "
            f"setsid sh -c {shlex.quote(f'echo $$ >{folder}/pid; {inner}')} "
            f"</dev/null >/dev/null 2>&1 & "
            f"while [ ! -s {folder}/pid ]; do sleep 0.02; done; cat {folder}/pid"
        )
        pid = int(run(script, timeout_s=timeout_s).stdout)
        return cls(run=run, folder=folder, pid=pid, command=command)

    def poll(self, *, timeout_s: float = 30) -> int | None:
        """The command's exit status, None while it runs. Killed from outside counts as -9."""
        script = (
            f"if [ -e {self.folder}/status ]; then cat {self.folder}/status; "
            f"elif kill -0 -{self.pid} 2>/dev/null; then echo runs; else echo -9; fi"
        )
        said = self.run(script, timeout_s=timeout_s).stdout.strip()
        return None if said == "runs" else int(said)

    def wait(self, *, timeout_s: float) -> int:
        """Waits for the end and returns the exit status. Raises: LabTimeout."""
        what = f"end of: {self.command[:200]}"
        look = partial(self._ended, timeout_s)
        return wait_until(what, look, timeout_s=timeout_s, poll_s=0.2)[0]

    def _ended(self, timeout_s: float) -> tuple[int, ...]:
        status = self.poll(timeout_s=timeout_s)
        return () if status is None else (status,)

    def signal(self, name: str = "TERM", *, timeout_s: float = 30) -> None:
        """Sends a signal to the command and all its children. Gone already is no error."""
        self.run(f"kill -{name} -{self.pid} 2>/dev/null || true", timeout_s=timeout_s)

    def kill(self, *, timeout_s: float = 30) -> None:
        self.signal("KILL", timeout_s=timeout_s)

    def output(self, *, timeout_s: float = 30) -> str:
        return self.run(["cat", f"{self.folder}/out"], timeout_s=timeout_s).stdout

    def errors(self, *, timeout_s: float = 30) -> str:
        return self.run(["cat", f"{self.folder}/err"], timeout_s=timeout_s).stdout

    def require_success(self, *, timeout_s: float) -> str:
        """Waits; returns the output. Raises: LabError where the command failed."""
        if status := self.wait(timeout_s=timeout_s):
            raise LabError(f"{self.command[:200]}: exit status {status}: {self.errors()[-1000:]}")
        return self.output()
