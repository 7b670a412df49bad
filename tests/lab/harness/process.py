"""Processes on this machine: short tools with a deadline, and long ones (QEMU, vde_switch, ssh)
that are remembered by pid and start time, so that a reused pid is never taken for ours.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import CommandFailed, LabTimeout, MissingTool

PACKAGE_OF = {
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "vde_switch": "vde2",
    "ssh": "openssh-client",
    "scp": "openssh-client",
    "ssh-keygen": "openssh-client",
    "mmdebstrap": "mmdebstrap",
    "mkfs.ext4": "e2fsprogs",
    "unshare": "util-linux",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """A command that ended."""

    stdout: str
    stderr: str
    exit_status: int
    duration_s: float


@dataclass(frozen=True, slots=True)
class ProcessId:
    """One process for good: `start_ticks` is field 22 of /proc/PID/stat."""

    pid: int
    start_ticks: int

    def is_alive(self) -> bool:
        return _start_ticks(self.pid) == self.start_ticks


# Children of this interpreter, kept so that they are reaped.
_children: dict[int, subprocess.Popen[bytes]] = {}


def _start_ticks(pid: int) -> int | None:
    """None where there is no such process, or only its zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name, field 2, may hold blanks and brackets.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


def identify(pid: int) -> ProcessId:
    """A running process that another tool of ours has started."""
    return ProcessId(pid, _start_ticks(pid) or 0)


def missing(tool: str) -> MissingTool:
    package = PACKAGE_OF.get(tool, tool)
    return MissingTool(f"{tool} is missing: apt-get install {package} (tests/lab/packages.txt)")


def environment() -> dict[str, str]:
    """Debian's tools, whatever the caller's PATH has first; proxies and HOME stay."""
    kept = {k: v for k, v in os.environ.items() if k.lower().endswith("_proxy") or k == "HOME"}
    return kept | {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC"}


def start(argv: Sequence[str], *, log: Path, pass_fds: Sequence[int] = ()) -> ProcessId:
    """Starts a process that outlives this one. What it says goes to `log`."""
    with log.open("ab") as output:
        try:
            child = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment(),
                pass_fds=pass_fds,
                start_new_session=True,
            )
        except FileNotFoundError:
            raise missing(argv[0]) from None
    _children[child.pid] = child
    return identify(child.pid)


def end(process: ProcessId, *, timeout_s: float, how: signal.Signals = signal.SIGKILL) -> None:
    """Ends a process of ours and waits until it is gone. Nothing happens if it is gone already."""
    try:
        pidfd = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    try:
        # Asked after the pidfd is held: the pid cannot change hands in between.
        if not process.is_alive():
            return
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(pidfd, how)
        if not select.select([pidfd], [], [], timeout_s)[0]:
            raise LabTimeout(f"process {process.pid} did not end within {timeout_s:g} s")
    finally:
        os.close(pidfd)
        if child := _children.pop(process.pid, None):
            child.poll()


def run_tool(
    argv: Sequence[str], *, timeout_s: float, stdin: bytes | None = None, check: bool = True
) -> Completed:
    """Runs a tool of this machine to its end; at the deadline its process group is killed.

    Raises: LabTimeout, MissingTool; CommandFailed where `check` is on.
    """
    began_s = time.monotonic()
    try:
        child = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
            start_new_session=True,
        )
    except FileNotFoundError:
        raise missing(argv[0]) from None
    try:
        stdout, stderr = child.communicate(stdin, timeout=timeout_s)
    except subprocess.TimeoutExpired:
        raise LabTimeout(f"{argv[0]}: did not end within {timeout_s:g} s") from None
    finally:
        if child.returncode is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            close_pipes(child)
    ended = Completed(
        stdout=stdout.decode(errors="replace"),
        stderr=stderr.decode(errors="replace"),
        exit_status=child.returncode,
        duration_s=time.monotonic() - began_s,
    )
    if check and ended.exit_status != 0:
        raise CommandFailed(argv[0], ended.exit_status, ended.stdout, ended.stderr)
    return ended


def close_pipes(child: subprocess.Popen[bytes]) -> None:
    for pipe in (child.stdin, child.stdout, child.stderr):
        if pipe:
            with contextlib.suppress(OSError):
                pipe.close()
