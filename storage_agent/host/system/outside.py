"""The host's own mounts, as seen from a unit that has others.

systemd gives a unit with ProtectSystem= and the like a mount namespace that follows the host's and
gives nothing back: what is mounted in it the host never sees, and a volume that was mounted before
the unit started may be read-only in it. So what makes or ends a mount of the host's, and what
writes to a volume or makes its mount point, goes outside for that: a command (`Runner.run`), a fork
(`run_apart`) or a path (`tree`). All else stays inside.
"""

from __future__ import annotations

import os
from pathlib import Path

from storage_agent.host.system import syscalls
from storage_agent.model.errors import OperationFailed

# The process whose mounts are the host's own.
HOST = "1"


def is_outside() -> bool:
    """There is nothing to leave, or this is not root, who alone could. Raises OperationFailed: a
    mount made in the wrong place would hold a volume where nobody looks."""
    try:
        return os.readlink(mounts_path()) == os.readlink("/proc/self/ns/mnt")
    except OSError as exc:
        if os.geteuid() != 0:
            return True
        raise OperationFailed(
            f"the host's own mounts cannot be reached: {mounts_path()}: {exc.strerror}",
            remedy="its unit must leave it CAP_SYS_PTRACE: systemctl cat storage-agentd",
        ) from exc


def mounts_path() -> str:
    """The host's mount namespace, for setns(2)."""
    return f"/proc/{HOST}/ns/mnt"


def command(argv: tuple[str, ...]) -> tuple[str, ...]:
    """The same command, started among the host's mounts. argv: with an absolute path."""
    return argv if is_outside() else ("nsenter", f"--mount={mounts_path()}", "--", *argv)


def tree(root: Path = Path("/")) -> Path:
    """The host's folders, as the host has them mounted. root: of a test's own tree, unchanged."""
    return root if root != Path("/") or is_outside() else Path(f"/proc/{HOST}/root")


def leave() -> None:
    """For good, and only for a process of one thread: a fork of ours. Raises OSError,
    OperationFailed."""
    if is_outside():
        return
    descriptor = os.open(mounts_path(), os.O_RDONLY | os.O_CLOEXEC)
    try:
        syscalls.setns(descriptor, syscalls.CLONE_NEWNS)
    finally:
        os.close(descriptor)
