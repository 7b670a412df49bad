"""Free bytes and inodes of a mounted filesystem. Runs no host tool.

statvfs(2) may hang on a dead or frozen device, so it never runs in the caller's thread.
"""

from __future__ import annotations

import os
from pathlib import Path

from storage_agent.host.system.bounded import BoundedCalls
from storage_agent.model.errors import Missing
from storage_agent.model.filesystem import Capacity

TIMEOUT_S = 2.0


class CapacityReader:
    """One per daemon: it remembers which filesystem hangs."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        self._calls = BoundedCalls()

    def read(self, mount_point: str, *, timeout_s: float = TIMEOUT_S) -> Capacity:
        """Of the filesystem that `mount_point` lies on; the caller knows that it is mounted.

        Raises Missing (no such path), CommandStuck (code `CALL_STUCK`).
        """
        path = self._root / mount_point.lstrip("/")
        return self._calls.run(f"statvfs {mount_point}", lambda: _read(path), timeout_s=timeout_s)


def _read(path: Path) -> Capacity:
    # Here and not above: most users of this module never get this far, psutil is slow to load.
    import psutil

    try:
        usage = psutil.disk_usage(os.fspath(path))
        inodes = os.statvfs(path)
    except OSError as exc:
        raise Missing(
            f"{path}: {exc.strerror or exc}", remedy=f"look at it: df {path}", code="NO_CAPACITY"
        ) from exc
    return Capacity(
        size_bytes=usage.total,
        free_bytes=usage.free,
        inodes=inodes.f_files,
        free_inodes=inodes.f_favail,
    )
