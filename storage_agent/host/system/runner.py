"""The one place that starts processes.

argv lists only, absolute paths from a fixed table of folders, an environment built from
nothing, output capped, a deadline always. What does not even die of SIGKILL (D state: frozen
DRBD, dead disk) is reported as stuck and left behind, never waited for.
"""

from __future__ import annotations

import contextlib
import os
import select
import selectors
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from storage_agent.host.system import outside as host_mounts
from storage_agent.model.errors import (
    CommandFailed,
    CommandStuck,
    CommandTimeout,
    Missing,
    ParseError,
)

ENVIRONMENT = {
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    "LC_ALL": "C.UTF-8",
    "TZ": "UTC",
    "HOME": "/nonexistent",
}
OUTPUT_LIMIT_BYTES = 8 << 20
KILL_GRACE_S = 1.0
_LOOK_AGAIN_S = 0.01

# What is started here and ended by others.
Child = subprocess.Popen[bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """An ended command: text decoded as UTF-8, undecodable bytes replaced."""

    argv: tuple[str, ...]
    exit_status: int
    stdout: str
    stderr: str
    duration_s: float


def tool_path(name: str) -> str:
    """Absolute path of a host tool; one that is absolute already (a site's hook) stays. Raises
    Missing, naming the tool."""
    if name.startswith("/") and os.access(name, os.X_OK):
        return name
    for folder in ENVIRONMENT["PATH"].split(":"):
        path = f"{folder}/{name}"
        if os.access(path, os.X_OK):
            return path
    raise Missing(
        f"the command {name!r} is not installed",
        remedy=f"find its package: apt-file search bin/{name}",
    )


class Runner:
    """Runs host tools. `started` counts processes, for the benchmarks."""

    def __init__(self) -> None:
        self.started = 0

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float,
        ok: frozenset[int] = frozenset({0}),
        stdin: bytes = b"",
        outside: bool = False,
    ) -> Completed:
        """Runs one command to its end. outside: among the host's own mounts (outside.py).

        Raises Missing (tool not installed), CommandFailed (exit status not in `ok`), ParseError
        (stdout longer than OUTPUT_LIMIT_BYTES), CommandTimeout (ended at the deadline, with all
        that it had started), CommandStuck (cannot be ended).
        """
        begin = time.monotonic()
        child = self._start(argv, wants_stdin=bool(stdin), outside=outside)
        try:
            stdout, stderr = _communicate(child, stdin, begin + timeout_s)
        except TimeoutError:
            _end(child, tuple(argv))
            raise CommandTimeout(
                f"{' '.join(argv)}: no answer within {timeout_s:.3g} s, ended",
                remedy="look at the state before trying again: storage-agent status",
            ) from None
        status = child.returncode
        if status not in ok:
            raise CommandFailed(tuple(argv), status, _text(stderr), _text(stdout))
        if len(stdout) > OUTPUT_LIMIT_BYTES:
            raise ParseError(argv[0], f"more than {OUTPUT_LIMIT_BYTES} bytes of output")
        return Completed(
            argv=tuple(argv),
            exit_status=status,
            stdout=_text(stdout),
            stderr=_text(stderr),
            duration_s=time.monotonic() - begin,
        )

    def stream(self, argv: Sequence[str]) -> Child:
        """Starts a command whose stdout the caller reads for as long as it likes; the caller
        ends it with `end_stream`. Raises Missing."""
        return self._start(argv)

    def daemon(self, argv: Sequence[str]) -> Child:
        """Starts a command that runs along with us and writes where we write (the journal); the
        caller ends it with `end_stream`. Raises Missing."""
        return self._start(argv, output=None)

    def _start(
        self,
        argv: Sequence[str],
        *,
        wants_stdin: bool = False,
        output: int | None = subprocess.PIPE,
        outside: bool = False,
    ) -> Child:
        command = (tool_path(argv[0]), *argv[1:])
        if outside:
            entered = host_mounts.command(command)
            command = (tool_path(entered[0]), *entered[1:])
        self.started += 1
        try:
            return subprocess.Popen(
                command,
                stdin=subprocess.PIPE if wants_stdin else subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=ENVIRONMENT,
                cwd="/",
                close_fds=True,
                process_group=0,
            )
        except OSError as exc:
            # A hook without its interpreter or without a `#!` line, for one.
            raise Missing(
                f"{command[0]} cannot be started: {exc.strerror}",
                remedy=f"see what it is: file {command[0]}; head -1 {command[0]}",
            ) from exc


def end_stream(child: Child) -> None:
    """Ends what `Runner.stream` started."""
    _end(child, ("stream",))


def wait_forked(pid: int, *, timeout_s: float) -> bool:
    """Waits for a fork of this process; False if it did not end in time. It is killed then, and
    left behind if it does not even die of that."""
    descriptor = os.pidfd_open(pid)
    try:
        has_ended = is_readable(descriptor, timeout_s)
        if not has_ended:
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        if has_ended or is_readable(descriptor, KILL_GRACE_S):
            os.waitpid(pid, 0)
        return has_ended
    finally:
        os.close(descriptor)


def has_ended(pid: int) -> bool:
    """Of a fork of this process that `wait_forked` gave up."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True


def is_readable(descriptor: int, timeout_s: float) -> bool:
    """Or at its end, within that time. select(2) could not take descriptors above 1023."""
    looked = select.poll()
    looked.register(descriptor, select.POLLIN)
    return bool(looked.poll(max(0.0, timeout_s) * 1000))


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", errors="replace")


def _communicate(child: Child, stdin: bytes, deadline_s: float) -> tuple[bytes, bytes]:
    """Feeds and reads until both outputs are closed and the child has ended.

    Raises TimeoutError at the deadline, also for a child that closed its outputs and lives on.
    """
    assert child.stdout is not None
    assert child.stderr is not None
    if child.stdin is not None:
        # Inputs are a few KiB at most, less than a pipe holds: this cannot block. A child that ends
        # without reading says why by its exit status.
        with contextlib.suppress(BrokenPipeError), child.stdin:
            child.stdin.write(stdin)
    collected: dict[int, bytearray] = {child.stdout.fileno(): bytearray()}
    collected[child.stderr.fileno()] = bytearray()
    with selectors.DefaultSelector() as selector:
        for pipe in (child.stdout, child.stderr):
            selector.register(pipe, selectors.EVENT_READ)
        while selector.get_map():
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                raise TimeoutError
            for key, _ in selector.select(left_s):
                chunk = os.read(key.fd, 65536)
                if not chunk:
                    selector.unregister(key.fileobj)
                elif len(collected[key.fd]) <= OUTPUT_LIMIT_BYTES:
                    collected[key.fd] += chunk
    try:
        child.wait(max(0.0, deadline_s - time.monotonic()))
    except subprocess.TimeoutExpired:
        raise TimeoutError from None
    stdout, stderr = (bytes(collected[pipe.fileno()]) for pipe in (child.stdout, child.stderr))
    child.stdout.close()
    child.stderr.close()
    return stdout, stderr


def _end(child: Child, argv: tuple[str, ...]) -> None:
    """TERM, a grace, KILL to the child's whole group: what it started may outlive it (drbdadm's
    drbdsetup). Raises CommandStuck if that does not help."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, sign)
        left = _still_running(child.pid, KILL_GRACE_S)
        if not left:
            child.poll()
            for pipe in (child.stdin, child.stdout, child.stderr):
                if pipe is not None:
                    pipe.close()
            return
    stuck = CommandStuck(
        f"{' '.join(argv)} (pid {left[0]}) does not end: it waits for I/O that does not return",
        remedy=f"see what it waits for: cat /proc/{left[0]}/stack",
    )
    stuck.still_runs = lambda: bool(_members(child.pid))  # type: ignore[method-assign]
    raise stuck


def _still_running(group: int, timeout_s: float) -> list[int]:
    """Pids of the group that have not ended by then. Its leader is not reaped meanwhile, so that
    nobody else gets its number."""
    until_s = time.monotonic() + timeout_s
    while (left := _members(group)) and time.monotonic() < until_s:
        time.sleep(_LOOK_AGAIN_S)
    return left


def _members(group: int) -> list[int]:
    """From /proc/PID/stat (proc(5)). A zombie has ended; who reaps it is another matter."""
    found = []
    for name in filter(str.isdecimal, os.listdir("/proc")):
        try:
            stat = Path("/proc", name, "stat").read_text(errors="replace")
        except OSError:
            continue  # It has just ended.
        state, _parent, its_group = stat.rpartition(")")[2].split()[:3]
        if int(its_group) == group and state not in "ZX":
            found.append(int(name))
    return found
