"""What the server keeps on its volume while clients use it: folders, marker, nfsdcld's records.

Once it serves, all of it is done in a thread of its own, one look at a time: a write to a frozen
volume never returns, and the supervisor must still be able to take the link down.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable

from storage_agent.host.system.runner import Runner
from storage_agent.host.volume.keeping import Held, Told, hold, keep, release
from storage_agent.model.errors import AgentError
from storage_agent.nfs_server.notify import log
from storage_agent.nfs_server.tracking import Tracking

LOOK_S = 2.0
AGAIN_S = 10.0


class OnVolume:
    """tell: what was put back or set aside, for the daemon and for people."""

    def __init__(self, runner: Runner, tell: Callable[[str], None]) -> None:
        self._tracking = Tracking(runner)
        self._tell = tell
        self._held: Held | None = None
        self._thread: threading.Thread | None = None
        self._next_s = 0.0

    @property
    def pid(self) -> int | None:
        """nfsdcld's."""
        return self._tracking.pid

    def begin(self, mount_point: str) -> None:
        """nfsdcld runs. Raises AgentError, OSError."""
        self._held, told = hold(mount_point)
        try:
            told += self._tracking.start(self._held.tracking, mount_point)
        except (AgentError, OSError):
            self._close()
            raise
        self._say(told)
        self._next_s = time.monotonic() + LOOK_S

    def look_soon(self, mount_point: str) -> None:
        """A look, where one is due and none under way; the first one begins."""
        now_s = time.monotonic()
        if now_s < self._next_s or self._is_busy():
            return
        self._next_s = now_s + LOOK_S
        self._start(lambda: self._look(mount_point))

    def end(self, timeout_s: float) -> bool:
        """Nothing of ours is open on the volume any more; False where that does not end."""
        if self._thread is not None:
            self._thread.join(timeout_s)
        if not self._is_busy():
            self._start(self._try_close).join(timeout_s)
        return not self._is_busy() and self._held is None

    def _start(self, call: Callable[[], None]) -> threading.Thread:
        self._thread = threading.Thread(target=call, daemon=True)
        self._thread.start()
        return self._thread

    def _is_busy(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _look(self, mount_point: str) -> None:
        try:
            if self._held is None:
                self.begin(mount_point)
                return
            told = keep(mount_point, self._held)
            self._say(told + self._tracking.keep(self._held.tracking, mount_point))
        except (AgentError, OSError) as exc:
            log(f"looking at {mount_point}: {exc}")
            self._next_s = time.monotonic() + AGAIN_S

    def _try_close(self) -> None:
        try:
            self._close()
        except (AgentError, OSError) as exc:
            log(f"letting go of the volume: {exc}")

    def _close(self) -> None:
        self._tracking.stop()
        held, self._held = self._held, None
        if held is not None:
            with contextlib.suppress(OSError):
                release(held)
            held.close()

    def _say(self, told: Told) -> None:
        for what in told:
            log(f"on the volume: {what}")
        if told:
            with contextlib.suppress(OSError):
                self._tell("; ".join(told))
