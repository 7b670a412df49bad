"""Work on a filesystem in a child of our own: a child can be given up at its deadline where a
thread of ours could not, and would keep the daemon from ending (a write to a frozen device, a
journal replay on a dead one). Runs no host tool."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from storage_agent.host.system import outside as host_mounts
from storage_agent.host.system.runner import has_ended, is_readable, wait_forked
from storage_agent.model.errors import AgentError, CommandStuck, CommandTimeout, OperationFailed

# Fits into a pipe, so that the child never waits for us.
ANSWER_BYTES = 16 << 10
# Above any that a process may have (proc(5), fs.nr_open).
_DESCRIPTORS = 1 << 30
_DONE, _FAILED = b"+", b"!"


def run_apart(
    what: str,
    call: Callable[[], bytes],
    *,
    code: str,
    timeout_s: float,
    outside: bool = False,
) -> bytes:
    """What `call` returns, at most ANSWER_BYTES - 1 of it. what: its name, for people.
    outside: among the host's own mounts (outside.py).

    Raises OperationFailed with this code (it has failed: OSError or AgentError), CommandTimeout
    (ended at the deadline), CommandStuck (cannot be ended).
    """
    deadline_s = time.monotonic() + timeout_s
    answers, ours = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        try:
            # Not the daemon's lock and sockets: one that cannot be ended would keep them.
            os.closerange(3, ours)
            os.closerange(ours + 1, _DESCRIPTORS)
            os.write(ours, _answer(call, outside=outside))
        finally:
            # Never back into the daemon.
            os._exit(0)
    os.close(ours)
    content = _read(answers, deadline_s)
    if not wait_forked(pid, timeout_s=max(0.0, deadline_s - time.monotonic())):
        raise _unfinished(what, pid, timeout_s)
    if content[:1] == _DONE:
        return content[1:]
    raise OperationFailed(
        f"{what}: {content[1:].decode(errors='replace') or 'its process died'}",
        remedy="see the kernel's reason: dmesg | tail",
        code=code,
    )


def _answer(call: Callable[[], bytes], *, outside: bool) -> bytes:
    try:
        if outside:
            host_mounts.leave()
        return _DONE + call()
    except AgentError as exc:
        return _FAILED + exc.message.encode()
    except OSError as exc:
        return _FAILED + (exc.strerror or str(exc)).encode()


def _read(answers: int, deadline_s: float) -> bytes:
    """To its end, or to the deadline: another child that began in the same moment holds this one's
    pipe open as long as it lives."""
    content = b""
    with os.fdopen(answers, "rb", buffering=0) as pipe:
        while is_readable(pipe.fileno(), deadline_s - time.monotonic()):
            chunk = pipe.read(ANSWER_BYTES)
            if not chunk:
                break
            content += chunk
    return content


def _unfinished(what: str, pid: int, timeout_s: float) -> AgentError:
    if has_ended(pid):
        return CommandTimeout(
            f"{what}: not done within {timeout_s:g} s, ended",
            remedy="its device is frozen or dead: storage-agent status; dmesg",
        )
    stuck = CommandStuck(
        f"{what} (pid {pid}) does not end: it waits for I/O that does not return",
        remedy=f"see what it waits for: cat /proc/{pid}/stack",
    )
    stuck.still_runs = lambda: not has_ended(pid)  # type: ignore[method-assign]
    return stuck
