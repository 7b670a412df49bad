"""Keeps each served volume's currency marker moving, so that an old copy of it can be told.

What this host remembers of it: every tick in memory (the coordinator reads it in `status`), each
KEEP_EVERY-th and the last before an unmount on disk. A power cut so forgets a minute's ticks at
most, which makes the comparison weaker and never wrong.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import structlog

from storage_agent.model.configuration import VolumeConfig
from storage_agent.model.errors import AgentError, CommandStuck, OperationFailed
from storage_agent.model.filesystem import FilesystemView
from storage_agent.model.operation import Marker
from storage_agent.model.plan import StepKind
from storage_agent.model.replica import Replica, Role
from storage_agent.model.snapshot import HostSnapshot, VolumeSnapshot

TICK_S = 30.0
# How often it is looked whether somebody has disturbed one; then it is written at once.
LOOK_S = 3.0
# A write that waits for the peer ends with ko-count (17.5 s), with a lost peer sooner.
WRITE_TIMEOUT_S = 60.0
REST_TIMEOUT_S = 5.0
KEEP_EVERY = 2
# Around these the marker is somebody else's, or its file must not be open.
_RESTS = frozenset({StepKind.MOUNT, StepKind.WRITE_MARKER, StepKind.UNMOUNT})

Read = Callable[[VolumeConfig], Marker | None]
Write = Callable[[VolumeConfig, Marker], tuple[Marker, str]]
Base = Callable[[str, Marker | None], Marker | None]
Keep = Callable[[str, Marker], None]
log = structlog.get_logger()


class Ticks:
    """Safe to use from several threads. At most one write a volume is under way: while one is
    stuck, none is begun.

    read, write: may hang; write also says what it had to put back.  base: which one to count on
    from, given what lies on the volume, which its users may have written.  seen: each marker
    written.  keep: makes one durable.  tried: each time, with why it could not be written, or an
    empty text; not for a disk that does not answer, which says so elsewhere.
    """

    def __init__(
        self,
        *,
        read: Read,
        write: Write,
        base: Base,
        seen: Keep,
        keep: Keep,
        tried: Callable[[str, str], None],
    ) -> None:
        self._read, self._write_file, self._base = read, write, base
        self._seen, self._keep, self._tried = seen, keep, tried
        self._lock = threading.Lock()
        self._threads: dict[str, threading.Thread] = {}
        self._stuck: dict[str, CommandStuck] = {}
        self._resting: set[str] = set()
        self._rests: dict[str, int] = {}
        self._newest: dict[str, Marker] = {}
        self._kept: dict[str, int] = {}
        # Tried again with each look: somebody may be mending it, and a move waits for that.
        self._failing: set[str] = set()
        self._stop = threading.Event()

    def start(
        self,
        volumes: Callable[[], dict[str, VolumeConfig]],
        snapshot: Callable[[], HostSnapshot],
    ) -> None:
        def run() -> None:
            each = round(TICK_S / LOOK_S)
            number = 0
            while not self._stop.wait(LOOK_S):
                number += 1
                self.turn(volumes(), snapshot(), only_disturbed=number % each != 0)

        threading.Thread(target=run, name="markers", daemon=True).start()

    def stop(self) -> None:
        self._stop.set()

    def turn(
        self,
        volumes: dict[str, VolumeConfig],
        snapshot: HostSnapshot,
        *,
        only_disturbed: bool = False,
    ) -> None:
        """Begins a write for each volume that is served and has none under way."""
        for name, volume in volumes.items():
            view = snapshot.volumes.get(name)
            if view is not None and serves(volume, view):
                if not only_disturbed or is_disturbed(view) or name in self._failing:
                    self._begin(volume, snapshot)
            else:
                self._newest.pop(name, None)
                self._note_try(name, "")

    def resting(self, kind: StepKind, volume: VolumeConfig) -> AbstractContextManager[None]:
        """Around a step: nothing of ours is open on the volume while it unmounts."""
        return self._rest(volume.name) if kind in _RESTS else nullcontext()

    @contextmanager
    def _rest(self, name: str) -> Iterator[None]:
        with self._lock:
            self._resting.add(name)
            thread = self._threads.get(name)
        try:
            if thread is not None:
                thread.join(REST_TIMEOUT_S)
            # Read again afterwards: the step, or another host, writes a newer one.
            with self._lock:
                self._rests[name] = self._rests.get(name, 0) + 1
                newest = self._newest.pop(name, None)
            if newest is not None and newest.counter != self._kept.get(name):
                self._remember(name, newest)
            yield
        finally:
            with self._lock:
                self._resting.discard(name)

    def _begin(self, volume: VolumeConfig, snapshot: HostSnapshot) -> None:
        name = volume.name
        with self._lock:
            thread, stuck = self._threads.get(name), self._stuck.get(name)
            is_busy = thread is not None and thread.is_alive()
            if is_busy or name in self._resting or (stuck is not None and stuck.still_runs()):
                return
            self._stuck.pop(name, None)
            thread = threading.Thread(
                target=self._tick, args=(volume, snapshot), name=f"marker {name}", daemon=True
            )
            self._threads[name] = thread
            thread.start()

    def _tick(self, volume: VolumeConfig, snapshot: HostSnapshot) -> None:
        name = volume.name
        rests = self._rests.get(name, 0)
        try:
            before = self._newest.get(name) or self._base(name, self._found(volume))
            # Until its promotion has written one there is none of this host's and boot's.
            mine = (snapshot.host, snapshot.boot_id)
            if before is None or (before.host, before.boot_id) != mine:
                return
            marker, told = self._write_file(volume, before)
        except AgentError as exc:
            self._newest.pop(name, None)
            if isinstance(exc, CommandStuck):
                self._stuck[name] = exc
            else:
                self._note_try(name, exc.message)
            log.warning("the marker was not written", volume=name, error=exc.message)
            return
        if told:
            log.warning("the marker was put back", volume=name, found=told)
        with self._lock:
            if self._rests.get(name, 0) != rests:
                return  # It came too late: a step has written a newer one.
            self._newest[name] = marker
        self._note_try(name, "")
        self._seen(name, marker)
        if marker.counter >= self._kept.get(name, -KEEP_EVERY) + KEEP_EVERY:
            self._remember(name, marker)

    def _note_try(self, name: str, problem: str) -> None:
        (self._failing.add if problem else self._failing.discard)(name)
        self._tried(name, problem)

    def _found(self, volume: VolumeConfig) -> Marker | None:
        """None also where it cannot be read for what its users have made of it."""
        try:
            return self._read(volume)
        except OperationFailed as exc:
            log.warning("the marker was not read", volume=volume.name, error=exc.message)
            return None

    def _remember(self, name: str, marker: Marker) -> None:
        try:
            self._keep(name, marker)
            self._kept[name] = marker.counter
        except AgentError as exc:
            log.warning("the marker was not kept", volume=name, error=exc.message)


def is_disturbed(view: VolumeSnapshot) -> bool:
    """Somebody has moved, removed or replaced what is the agent's on the volume."""
    return isinstance(view.filesystem, FilesystemView) and bool(view.filesystem.disturbed)


def serves(volume: VolumeConfig, view: VolumeSnapshot) -> bool:
    """Mounted for writing here, and writes flow."""
    replica, filesystem = view.replica, view.filesystem
    if volume.replica is not None:
        if not isinstance(replica, Replica) or replica.role is not Role.PRIMARY:
            return False
        if replica.suspended:
            return False
    return isinstance(filesystem, FilesystemView) and any(
        mount.mount_point == volume.mount_point and not mount.read_only
        for mount in filesystem.mounts
    )
