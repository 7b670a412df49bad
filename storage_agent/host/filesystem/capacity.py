"""Free bytes and inodes of a mounted filesystem, and what is held on it. Runs no host tool.

statvfs(2) may hang on a dead or frozen device, so it never runs in the caller's thread.
"""

from __future__ import annotations

import os
from pathlib import Path

from storage_agent.host.system.bounded import BoundedCalls
from storage_agent.host.volume.door import NotOurs
from storage_agent.host.volume.reserve import Lack, lack
from storage_agent.model.errors import Missing
from storage_agent.model.filesystem import Capacity

TIMEOUT_S = 2.0


class CapacityReader:
    """One per daemon: it remembers which filesystem hangs."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        self._calls = BoundedCalls()

    def read(
        self, mount_point: str, *, is_exported: bool, timeout_s: float = TIMEOUT_S
    ) -> Capacity:
        """Of the filesystem that `mount_point` lies on; the caller knows that it is mounted.
        is_exported: also what its NFS server would lack.

        Raises Missing (no such path), CommandStuck (code `CALL_STUCK`).
        """
        path = self._root / mount_point.lstrip("/")
        return self._calls.run(
            f"statvfs {mount_point}",
            lambda: read_capacity(path, is_exported=is_exported),
            timeout_s=timeout_s,
        )


def read_capacity(path: Path, *, is_exported: bool) -> Capacity:
    """In the caller's own thread. Raises Missing."""
    try:
        seen = os.statvfs(path)
        lacking = lack(os.fspath(path)) if is_exported else Lack()
    except NotOurs:
        # What lies in the place of ours is told where it is looked at.
        lacking = Lack()
    except OSError as exc:
        raise Missing(
            f"{path}: {exc.strerror or exc}", remedy=f"look at it: df {path}", code="NO_CAPACITY"
        ) from exc
    return Capacity(
        size_bytes=seen.f_blocks * seen.f_frsize,
        free_bytes=seen.f_bavail * seen.f_frsize,
        inodes=seen.f_files,
        free_inodes=seen.f_favail,
        root_free_bytes=seen.f_bfree * seen.f_frsize,
        lacking_bytes=lacking.size_bytes,
        lacking_inodes=lacking.inodes,
    )
