"""nfsdcld: the clients' records, by which they may reclaim their locks from the next server.

Its database lies on the volume and is opened by a process of root's, by path. So its folder is
bound from an open descriptor to a place in this namespace that no user can reach, where links
are not followed and devices are none; and what lies in it is looked at before.
"""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from storage_agent.host.system import syscalls
from storage_agent.host.system.runner import Child, Runner, end_stream
from storage_agent.host.volume.door import Folder, NotOurs
from storage_agent.host.volume.reserve import DATABASE
from storage_agent.model.errors import OperationFailed
from storage_agent.nfs_server.namespaces import STATE_FOLDER
from storage_agent.nfs_server.nfsd import wait_for_inotify
from storage_agent.nfs_server.notify import log
from storage_agent.nfs_server.room import hold_room

# What SQLite opens beside it, and would take for the newer state.
_FILES = (DATABASE, f"{DATABASE}-journal", f"{DATABASE}-wal", f"{DATABASE}-shm")
# A record of one client is below 4 KiB (nfs4_cld's limits, include/uapi/linux/nfsd/cld.h).
LIMIT_BYTES = 64 << 20
_MAGIC = b"SQLite format 3\0"
PLACE = f"{STATE_FOLDER}/nfsdcld"
READY_S = 10.0
_UNMOUNT_TRIES, _UNMOUNT_PAUSE_S = 20, 0.05
_GUARDED = (
    syscalls.MS_BIND
    | syscalls.MS_REMOUNT
    | syscalls.MS_NOSUID
    | syscalls.MS_NODEV
    | syscalls.MS_NOEXEC
    | syscalls.MS_NOSYMFOLLOW
)


class Tracking:
    """One nfsdcld; used inside the namespaces."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._child: Child | None = None
        self._bound: tuple[int, int] | None = None

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child is not None else None

    def runs(self) -> bool:
        return self._child is not None and self._child.poll() is None

    def start(self, folder: Folder, mount_point: str) -> tuple[str, ...]:
        """On the records in that folder of the volume. Returns when it has its database open, with
        what had to be set aside for it: then the clients of before cannot reclaim their locks.
        Raises AgentError, OSError."""
        self.stop()
        aside = clean(folder)
        self._bind(folder)
        self._run(mount_point)
        try:
            self._wait()
        except OperationFailed:
            if self.runs():
                raise
            # It has ended over what it found there.
            aside += self._begin_anew(folder, mount_point)
        return aside

    def keep(self, folder: Folder, mount_point: str) -> tuple[str, ...]:
        """As start, where it has died, or where that folder is another one by now: its records,
        which no path leads to any more, go along."""
        if self._bound != folder.identity():
            records = self._records()
            for name, content in records:
                folder.make_file(name, content)
            told = self.start(folder, mount_point)
            return (f"{folder.where} has {len(records)} of its files again", *told)
        return () if self.runs() else ("nfsdcld had ended", *self.start(folder, mount_point))

    def stop(self) -> None:
        """It holds nothing of the volume any more. Raises OSError."""
        self._end()
        if self._bound is not None:
            _unmount()
            self._bound = None

    def _bind(self, folder: Folder) -> None:
        syscalls.mount(f"/proc/self/fd/{folder.descriptor}", PLACE, flags=syscalls.MS_BIND)
        self._bound = folder.identity()
        try:
            syscalls.mount("none", PLACE, flags=_GUARDED)
        except OSError:
            self.stop()
            raise

    def _records(self) -> list[tuple[str, bytes]]:
        """What it has open, whatever became of the names; it stands still meanwhile, and ends
        before it goes on."""
        if self._child is None or not self.runs():
            return []
        os.kill(self._child.pid, signal.SIGSTOP)
        try:
            return list(_open_files(self._child.pid))
        finally:
            os.kill(self._child.pid, signal.SIGTERM)
            os.kill(self._child.pid, signal.SIGCONT)

    def _begin_anew(self, folder: Folder, mount_point: str) -> tuple[str, ...]:
        """With an empty database; the old one comes back where that does not help either."""
        self._end()
        moved = [(name, folder.set_aside(name)) for name in _FILES if folder.has(name)]
        try:
            self._run(mount_point)
            self._wait()
        except OperationFailed:
            self._end()
            for name, aside in moved:
                syscalls.rename(folder.descriptor, aside, folder.descriptor, name)
            raise
        return tuple(f"{folder.where}/{aside}, which nfsdcld does not open" for _, aside in moved)

    def _run(self, mount_point: str) -> None:
        hold_room(mount_point, PLACE)
        self._child = self._runner.daemon(("nfsdcld", "-F", "-s", PLACE))

    def _wait(self) -> None:
        assert self._child is not None
        wait_for_inotify(self._child.pid, READY_S)

    def _end(self) -> None:
        if self._child is not None:
            end_stream(self._child)
            self._child = None


def _unmount() -> None:
    """nfsdcld's files may be closed a moment after it has ended."""
    for left in reversed(range(_UNMOUNT_TRIES)):
        try:
            syscalls.unmount(PLACE)
            return
        except OSError as exc:
            if exc.errno != errno.EBUSY or not left:
                raise
        time.sleep(_UNMOUNT_PAUSE_S)


def _open_files(pid: int) -> Iterator[tuple[str, bytes]]:
    """Of a process that stands still: by its descriptors, which also lead to removed files."""
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        name = os.readlink(entry).rpartition("/")[2].removesuffix(" (deleted)")
        if name not in _FILES:
            continue
        with open(entry, "rb") as file:
            content = file.read(LIMIT_BYTES)
        if content:
            yield name, content


def clean(folder: Folder) -> tuple[str, ...]:
    """Sets aside what nfsdcld must not open: anything but files of root's with one name, none of
    them larger than LIMIT_BYTES, the database with SQLite's mark or empty. Raises OSError."""
    aside = []
    for name in _FILES:
        try:
            problem = _problem(folder, name)
        except NotOurs as exc:
            problem = exc.strerror or "is not ours"
        if problem:
            new = folder.set_aside(name)
            log(f"{folder.where}/{name} {problem}: set aside as {new}")
            aside.append(f"{folder.where}/{new}, which {problem}")
    return tuple(aside)


def _problem(folder: Folder, name: str) -> str:
    """Empty: none, or there is no such file. Raises NotOurs."""
    size = folder.size(name)
    if not size:
        return ""
    if size > LIMIT_BYTES:
        return f"is {size} bytes long"
    if name == DATABASE and folder.read(name, len(_MAGIC)) != _MAGIC:
        return "is no database"
    return ""
