"""A look at a filesystem's marker before the filesystem is really mounted. Runs no host tool.

In a child with a mount namespace of its own: nobody else sees the mount, it ends with the child,
and a child can be given up at its deadline where a thread of ours could not (a journal replay on
a dead or frozen device does not return).
"""

from __future__ import annotations

import os
import select
import time

from storage_agent.host import syscalls
from storage_agent.host.marker import SLOT_BYTES, newest_marker, read_slots
from storage_agent.host.runner import has_ended, wait_forked
from storage_agent.model.errors import AgentError, CommandStuck, CommandTimeout, OperationFailed
from storage_agent.model.operation import Marker

# With journal replay: without it a filesystem whose host has crashed shows files as they never
# were (EBADMSG, ext4 on 6.1). In a namespace of its own, because a read-only mount that the NFS
# server's namespace has seen stays read-only there when the host's becomes writable.
_FLAGS = syscalls.MS_RDONLY | syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC
_FOUND, _NONE, _FAILED = b"+", b"-", b"!"
_ANSWER_BYTES = 1 + 2 * SLOT_BYTES


def look_at_marker(device: str, kind: str, at: str, *, timeout_s: float) -> Marker | None:
    """Mounts read-only, reads, unmounts; nothing is written but the journal's own replay.

    at: an existing folder, unchanged for everybody else. None: the volume was never served.
    Raises OperationFailed (MOUNT_FAILED, MARKER_UNREADABLE), CommandTimeout, CommandStuck.
    """
    deadline_s = time.monotonic() + timeout_s
    answers, ours = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        try:
            os.write(ours, _answer(device, kind, at))
        finally:
            # Never back into the daemon.
            os._exit(0)
    os.close(ours)
    content = _read(answers, deadline_s)
    if not wait_forked(pid, timeout_s=max(0.0, deadline_s - time.monotonic())):
        raise _unfinished(device, pid, timeout_s)
    outcome, rest = content[:1], content[1:]
    if outcome == _FOUND:
        return newest_marker(rest, f"the marker on {device}")
    if outcome == _NONE:
        return None
    raise OperationFailed(
        f"{device} cannot be looked at read-only: {rest.decode() or 'the look died'}",
        remedy="see the kernel's reason: dmesg | tail",
        code="MOUNT_FAILED",
    )


def _read(answers: int, deadline_s: float) -> bytes:
    """To its end, or to the deadline: another look that began in the same moment holds this one's
    pipe open as long as it lives."""
    content = b""
    with os.fdopen(answers, "rb", buffering=0) as pipe:
        while select.select((pipe,), (), (), max(0.0, deadline_s - time.monotonic()))[0]:
            chunk = pipe.read(_ANSWER_BYTES)
            if not chunk:
                break
            content += chunk
    return content


def _unfinished(device: str, pid: int, timeout_s: float) -> AgentError:
    if has_ended(pid):
        return CommandTimeout(
            f"{device}: no read-only look within {timeout_s:g} s, ended",
            remedy="its device is frozen or dead: storage-agent status; dmesg",
        )
    stuck = CommandStuck(
        f"the read-only look at {device} (pid {pid}) does not end: it waits for I/O that does "
        "not return",
        remedy=f"see what it waits for: cat /proc/{pid}/stack",
    )
    stuck.still_runs = lambda: not has_ended(pid)  # type: ignore[method-assign]
    return stuck


def _answer(device: str, kind: str, at: str) -> bytes:
    try:
        syscalls.unshare(syscalls.CLONE_NEWNS)
        syscalls.mount("", "/", flags=syscalls.MS_REC | syscalls.MS_PRIVATE)
        syscalls.mount(device, at, kind, _FLAGS)
        try:
            slots = read_slots(at)
        finally:
            # Here and not at the end of the namespace, which comes later than that of the child.
            syscalls.unmount(at)
    except OSError as exc:
        return _FAILED + (exc.strerror or str(exc)).encode()
    return _NONE if slots is None else _FOUND + slots
