"""The currency marker, written again and again while a volume is served.

In a child process: a write to a frozen device hangs in D state, and a thread of the daemon's that
hung so would keep it from ending, and the next one from starting.
"""

from __future__ import annotations

import dataclasses
import time

from storage_agent.host.system.apart import run_apart
from storage_agent.host.volume.door import Folder, enter
from storage_agent.host.volume.marker import newest_marker, read_slots, write_into
from storage_agent.host.volume.own import own_folder
from storage_agent.model.configuration import VolumeConfig
from storage_agent.model.errors import OperationFailed
from storage_agent.model.operation import Marker


def read_apart(volume: VolumeConfig, *, timeout_s: float) -> Marker | None:
    """The newer slot; None where there is no file. Raises AgentError, OperationFailed where
    neither slot makes sense."""
    at = volume.mount_point
    what = f"the marker on {at}"
    found = run_apart(
        f"reading {what}",
        lambda: b"" if (slots := read_slots(at)) is None else b"+" + slots,
        code="MARKER_UNREADABLE",
        timeout_s=timeout_s,
    )
    return newest_marker(found[1:], what) if found else None


def write_apart(volume: VolumeConfig, before: Marker, *, timeout_s: float) -> tuple[Marker, str]:
    """One count further; and what had to be put back for it (see write_marker). Writes nothing
    where the volume is not mounted any more. Raises AgentError."""
    marker = dataclasses.replace(before, counter=before.counter + 1, wall_s=time.time())

    def write() -> bytes:
        with enter(volume.mount_point) as root:
            if not root.is_mounted():
                raise OperationFailed(f"nothing is mounted at {volume.mount_point}")
            if volume.nfs is not None:
                _require_own(root)
            return write_into(root, marker).encode()

    what = f"writing the marker on {volume.mount_point}"
    told = run_apart(what, write, code="MARKER_UNWRITABLE", timeout_s=timeout_s, outside=True)
    return marker, told.decode(errors="replace")


def _require_own(root: Folder) -> None:
    """The NFS server holds the folder open and knows where it went (keeping.py): a new one would
    be in its way. Raises OperationFailed."""
    try:
        own_folder(root).close()
    except OSError as exc:
        raise OperationFailed(
            f"{exc.filename}: {exc.strerror}; the volume's NFS server puts it back"
        ) from exc
