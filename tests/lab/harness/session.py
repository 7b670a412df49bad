"""A program in a guest that answers line by line over one ssh session of its own: a few
milliseconds a question instead of a tenth of a second a command.
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess

from .deadline import Deadline
from .errors import LabError
from .process import close_pipes, environment
from .ssh import Host


class Session:
    """Runs until `end`, or until the guest goes."""

    def __init__(self, host: Host, command: str, *, timeout_s: float = 60) -> None:
        host.connect(timeout_s=timeout_s)
        self._name = f"{host.name}: {command}"
        self._rest = b""
        self._child = subprocess.Popen(
            [*host.ssh_argv(), command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
            start_new_session=True,
        )

    def ask(self, line: str, *, timeout_s: float) -> str:
        """One line there, one line back. Raises: LabTimeout; LabError if the program has ended."""
        deadline = Deadline(timeout_s, f"{self._name}: {line}")
        assert self._child.stdin
        assert self._child.stdout
        with contextlib.suppress(BrokenPipeError):
            self._child.stdin.write(line.encode() + b"\n")
            self._child.stdin.flush()
        while b"\n" not in self._rest:
            if not select.select([self._child.stdout], [], [], deadline.remaining_s())[0]:
                raise deadline.missed()
            part = os.read(self._child.stdout.fileno(), 1 << 16)
            if not part:
                raise LabError(f"{self._name} has ended: {self._last_words()}")
            self._rest += part
        answer, _, self._rest = self._rest.partition(b"\n")
        return answer.decode()

    def _last_words(self) -> str:
        assert self._child.stderr
        return self._child.stderr.read().decode(errors="replace").strip()[-1000:]

    def end(self) -> None:
        self._child.kill()
        self._child.wait()
        close_pipes(self._child)
