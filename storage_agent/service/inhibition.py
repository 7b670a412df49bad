"""Sees to it that each volume that is served here has its shutdown inhibitor.

It is taken when a volume is seen to become served, and when a daemon finds one that is. Letting go
is not our business: systemd does it with the mount, also with no daemon there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog

from storage_agent.model.clock import Clock
from storage_agent.model.configuration import VolumeConfig
from storage_agent.model.errors import AgentError
from storage_agent.model.filesystem import FilesystemView
from storage_agent.model.nfs import ServerState
from storage_agent.model.observed import Unobserved
from storage_agent.model.snapshot import VolumeSnapshot

TRIES = 3
BUSY_PAUSES = 15
# systemd reads a new mount a moment later than the observer.
PAUSE_S = 2.0
Take = Callable[[VolumeConfig], None]
log = structlog.get_logger()


def _is_served(volume: VolumeConfig, snapshot: VolumeSnapshot) -> bool | None:
    """Mounted, and clients can come in. None: not seen."""
    files, server = snapshot.filesystem, snapshot.nfs
    if not isinstance(files, FilesystemView) or isinstance(server, Unobserved):
        return None
    is_mounted = any(mount.mount_point == volume.mount_point for mount in files.mounts)
    return is_mounted and (server is None or server.state is ServerState.SERVING)


class Inhibition:
    """Nothing here blocks; `follow` is for one thread, the observer's.

    is_busy: whether an operation holds the volume. Until it has ended, or BUSY_PAUSES have passed,
    the processes that taking needs would keep the clients waiting."""

    def __init__(self, *, take: Take, clock: Clock, is_busy: Callable[[str], bool]) -> None:
        self._take = take
        self._is_busy = is_busy
        self._clock = clock
        self._served: dict[str, bool] = {}

    def follow(self, volume: VolumeConfig, snapshot: VolumeSnapshot) -> None:
        is_served = _is_served(volume, snapshot)
        if is_served is None:
            return
        was_served = self._served.get(volume.name, False)
        self._served[volume.name] = is_served
        if is_served and not was_served:
            self.renew(volume)

    def renew(self, volume: VolumeConfig) -> None:
        """An operation may have taken the mount away and back between two looks."""
        if self._served.get(volume.name):
            threading.Thread(
                target=self._try, args=(volume,), name=f"inhibit {volume.name}", daemon=True
            ).start()

    def _try(self, volume: VolumeConfig) -> None:
        problem = ""
        # Bounded: an operation that broke off holds its volume until the next start.
        for _ in range(BUSY_PAUSES):
            if not self._is_busy(volume.name):
                break
            self._clock.sleep(PAUSE_S)
        for _ in range(TRIES):
            if not self._served[volume.name]:
                return
            try:
                self._take(volume)
                return
            except AgentError as exc:
                problem = exc.message
            self._clock.sleep(PAUSE_S)
        log.warning("a shutdown is not inhibited", volume=volume.name, problem=problem)
