"""A look at a filesystem's marker before the filesystem is really mounted. Runs no host tool.

In a child with a mount namespace of its own: nobody else sees the mount, and it ends with the
child.
"""

from __future__ import annotations

from storage_agent.host.system import syscalls
from storage_agent.host.system.apart import run_apart
from storage_agent.host.volume.marker import newest_marker, read_slots
from storage_agent.model.errors import OperationFailed
from storage_agent.model.operation import Marker

# With journal replay: without it a filesystem whose host has crashed shows files as they never
# were (EBADMSG, ext4 on 6.1). In a namespace of its own, because a read-only mount that the NFS
# server's namespace has seen stays read-only there when the host's becomes writable.
_FLAGS = (
    syscalls.MS_RDONLY
    | syscalls.MS_NOSUID
    | syscalls.MS_NODEV
    | syscalls.MS_NOEXEC
    | syscalls.MS_NOSYMFOLLOW
)
_FOUND, _NONE, _UNREADABLE = b"+", b"-", b"!"


def look_at_marker(device: str, kind: str, at: str, *, timeout_s: float) -> Marker | None:
    """Mounts read-only, reads, unmounts; nothing is written but the journal's own replay.

    at: an existing folder, unchanged for everybody else. None: the volume was never served.
    Raises OperationFailed (MOUNT_FAILED, MARKER_UNREADABLE), CommandTimeout, CommandStuck.
    """
    found = run_apart(
        f"the read-only look at {device}",
        lambda: _look(device, kind, at),
        code="MOUNT_FAILED",
        timeout_s=timeout_s,
    )
    where = f"the marker on {device}"
    if found[:1] == _UNREADABLE:
        why = found[1:].decode(errors="replace")
        raise OperationFailed(f"{where}: {why}", code="MARKER_UNREADABLE")
    # An empty file is a damaged marker, not a missing one.
    return None if found == _NONE else newest_marker(found[1:], where)


def _look(device: str, kind: str, at: str) -> bytes:
    syscalls.unshare(syscalls.CLONE_NEWNS)
    syscalls.mount("", "/", flags=syscalls.MS_REC | syscalls.MS_PRIVATE)
    syscalls.mount(device, at, kind, _FLAGS)
    try:
        slots = read_slots(at)
        return _NONE if slots is None else _FOUND + slots
    except OSError as exc:
        return _UNREADABLE + f"{exc.filename or at} {exc.strerror}".encode(errors="replace")
    finally:
        # Here and not at the end of the namespace, which comes later than that of the child.
        syscalls.unmount(at)
