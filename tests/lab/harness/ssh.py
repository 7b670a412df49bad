"""A guest as seen through ssh: run commands, move files, keep processes in the background.

All commands of a guest share one connection (a ControlMaster), which costs about 0.1 s a command
instead of a whole handshake. A command that touches frozen storage never ends in the guest: its
local side is killed at the deadline, the rest is left to the guest.

Host tools: ssh, scp.
"""

from __future__ import annotations

import contextlib
import shlex
import time
from collections.abc import Sequence
from pathlib import Path

from . import process
from .deadline import Deadline
from .errors import CommandFailed, LabError, LabTimeout
from .process import Completed
from .spawn import Spawned
from .state import LabState, StateFile, locked_file

# ssh's own status for "the connection failed"; a guest's command may use it too, but none of ours.
SSH_FAILED = 255


class Host:
    """One guest of a running lab."""

    def __init__(self, name: str, instance: StateFile) -> None:
        self.name = name
        self._instance = instance
        self._control = instance.runtime_folder() / f"ssh-{name}"
        self._log = instance.folder / f"ssh-{name}.log"

    # -- commands ---------------------------------------------------------------------------------

    def run(
        self,
        command: str | Sequence[str],
        *,
        timeout_s: float = 60,
        check: bool = True,
        stdin: bytes | str | None = None,
    ) -> Completed:
        """Runs a command as root: a str by the guest's shell, a sequence as it is.

        Raises: LabTimeout; CommandFailed where `check` is on; LabError where ssh itself failed.
        """
        line = command if isinstance(command, str) else shlex.join(command)
        given = stdin.encode() if isinstance(stdin, str) else stdin
        deadline = Deadline(timeout_s, f"{self.name}: {line[:200]}")
        self.connect(timeout_s=deadline.remaining_s())
        try:
            ended = process.run_tool(
                [*self.ssh_argv(), line],
                timeout_s=deadline.remaining_s(),
                stdin=given,
                check=False,
            )
        except LabTimeout:
            raise deadline.missed() from None
        if ended.exit_status == SSH_FAILED and check:
            raise LabError(f"{self.name}: no ssh: {ended.stderr.strip()[-300:]}")
        if check and ended.exit_status != 0:
            raise CommandFailed(deadline.what, ended.exit_status, ended.stdout, ended.stderr)
        return ended

    def spawn(self, command: str, *, timeout_s: float = 30) -> Spawned:
        """Starts a shell command in the background of the guest; it outlives the connection."""
        return Spawned.start(self.run, command, timeout_s=timeout_s)

    def write_file(
        self, path: str, content: str | bytes, *, mode: int = 0o644, timeout_s: float = 30
    ) -> None:
        """Writes a whole file, by a temporary one; makes its folder."""
        quoted, temporary = shlex.quote(path), shlex.quote(f"{path}.lab-new")
        folder = shlex.quote(str(Path(path).parent))
        self.run(
            f"mkdir -p {folder} && cat >{temporary} && chmod {mode:o} {temporary} "
            f"&& mv {temporary} {quoted}",
            stdin=content,
            timeout_s=timeout_s,
        )

    def read_file(self, path: str, *, timeout_s: float = 30) -> str:
        return self.run(["cat", "--", path], timeout_s=timeout_s).stdout

    def copy_in(self, source: Path, destination: str, *, timeout_s: float = 120) -> None:
        """Copies a file or folder from this machine into the guest."""
        self.connect(timeout_s=timeout_s)
        argv = ["scp", "-O", "-q", "-r", "-P", str(self._port()), *self._options()]
        process.run_tool([*argv, str(source), f"root@127.0.0.1:{destination}"], timeout_s=timeout_s)

    def copy_out(self, source: str, destination: Path, *, timeout_s: float = 120) -> None:
        """Copies a file or folder from the guest to this machine."""
        self.connect(timeout_s=timeout_s)
        argv = ["scp", "-O", "-q", "-r", "-P", str(self._port()), *self._options()]
        process.run_tool([*argv, f"root@127.0.0.1:{source}", str(destination)], timeout_s=timeout_s)

    def boot_id(self, *, timeout_s: float = 30) -> str:
        return self.read_file("/proc/sys/kernel/random/boot_id", timeout_s=timeout_s).strip()

    def set_clock(self, *, timeout_s: float = 30) -> None:
        """Sets the guest's clock to this machine's: after a restore it is behind."""
        self.run(f"date --set=@{time.time():.3f}", timeout_s=timeout_s)

    # -- the connection ---------------------------------------------------------------------------

    def ssh_argv(self) -> list[str]:
        """The ssh command line up to the command: also for a person's shell."""
        return ["ssh", "-p", str(self._port()), *self._options(), "root@127.0.0.1"]

    def _options(self) -> list[str]:
        state = self._instance.read()
        options = {
            "ControlPath": str(self._control),
            "IdentityFile": str(Path(state.layer) / "key"),
            "IdentitiesOnly": "yes",
            # A new lab has new keys on an old port; nothing but this machine answers there.
            "StrictHostKeyChecking": "no",
            "UserKnownHostsFile": "/dev/null",
            "LogLevel": "ERROR",
            "BatchMode": "yes",
            "ConnectTimeout": "15",
            # A guest that was reset never says goodbye.
            "ServerAliveInterval": "10",
            "ServerAliveCountMax": "6",
        }
        argv = ["-F", "/dev/null"]
        for name, value in options.items():
            argv += ["-o", f"{name}={value}"]
        return argv

    def _port(self) -> int:
        port = self._instance.read().ports.get(self.name)
        if port is None:
            raise LabError(f"{self.name} was never started in lab {self._instance.name}")
        return port

    def connect(self, *, timeout_s: float) -> None:
        """Opens the shared connection if there is none. Repeats until sshd answers.

        Raises: LabTimeout; LabError if the guest is not running.
        """
        if self._control.exists():
            return
        deadline = Deadline(timeout_s, f"ssh to {self.name}")
        # One at a time: a second master would stay without being one.
        with locked_file(self._control.with_suffix(".lock"), timeout_s, deadline.what):
            while not self._control.exists():
                self._require_running()
                self._start_master(deadline)

    def _start_master(self, deadline: Deadline) -> None:
        """Until the master listens, or has given up and may be tried again."""
        argv = self.ssh_argv()
        master = process.start([argv[0], "-M", "-N", *argv[1:]], log=self._log)
        try:
            while not self._control.exists():
                if not master.is_alive():
                    deadline.pause(0.2)
                    return
                deadline.pause()
        except LabTimeout:
            process.end(master, timeout_s=5)
            raise
        with self._instance.change() as state:
            if older := state.process(f"ssh-{self.name}"):
                process.end(older, timeout_s=5)
            state.remember(f"ssh-{self.name}", master)

    def disconnect(self, state: LabState) -> None:
        """Ends the shared connection, as before the guest goes. The caller holds the lock."""
        if master := state.process(f"ssh-{self.name}"):
            process.end(master, timeout_s=5)
        with contextlib.suppress(FileNotFoundError):
            self._control.unlink()

    def drop_connection(self) -> None:
        with self._instance.change() as state:
            self.disconnect(state)

    def _require_running(self) -> None:
        state = self._instance.read()
        if state.process(f"qemu-{self.name}") is None:
            remedy = f"scripts/lab --name {self._instance.name} power {self.name} on"
            raise LabError(f"{self.name} is off: {remedy}")
