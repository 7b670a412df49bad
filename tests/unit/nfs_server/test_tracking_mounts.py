"""nfsdcld's folder bound and its records saved, with a process in its place that opens what it
opens. As root, in a mount namespace of a child."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from storage_agent.host.system import syscalls
from storage_agent.host.system.runner import Child, Runner
from storage_agent.host.volume.keeping import Held, hold, keep
from storage_agent.host.volume.own import FOLDER
from storage_agent.host.volume.reserve import DATABASE
from storage_agent.nfs_server import tracking
from storage_agent.nfs_server.tracking import Tracking
from tests.unit.host.volume.flags import lift_all

pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for a mount namespace"),
]
# Opens its database by path and keeps it open, as nfsdcld does.
PROGRAM = (
    "import os, sys, time; path = sys.argv[1] + '/main.sqlite'; "
    "os.open(path, os.O_RDWR | os.O_CREAT, 0o600); time.sleep(60)"
)


class Stand(Runner):
    """Starts that program for nfsdcld."""

    def daemon(self, argv: object) -> Child:
        return self._start((sys.executable, "-c", PROGRAM, tracking.PLACE), output=None)


def apart(call: Callable[[], None]) -> None:
    """In a child with its own mounts; what fails there fails here."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            signal.alarm(60)
            syscalls.unshare(syscalls.CLONE_NEWNS)
            syscalls.mount("none", "/", flags=syscalls.MS_REC | syscalls.MS_PRIVATE)
            call()
        except BaseException:
            os.write(writer, traceback.format_exc().encode()[-4000:])
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        told = pipe.read()
    os.waitpid(pid, 0)
    assert told == "", told


def wait_for_open(pid: int, timeout_s: float) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not any(
        os.readlink(f"/proc/{pid}/fd/{fd}").endswith(DATABASE)
        for fd in os.listdir(f"/proc/{pid}/fd")
    ):
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


Rows = list[tuple[int, int]]


def recorded(folder: Path) -> Rows:
    database = sqlite3.connect(folder / DATABASE)
    try:
        return list(database.execute("SELECT current, recovery FROM grace"))
    finally:
        database.close()


def test_records_go_along_when_the_folder_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, volume = tmp_path / "place", tmp_path / "volume"
    place.mkdir()
    volume.mkdir()
    monkeypatch.setattr(tracking, "PLACE", str(place))
    monkeypatch.setattr(tracking, "wait_for_inotify", wait_for_open)

    def course() -> None:
        # The volume is a filesystem of its own, as a real one is.
        syscalls.mount("none", str(volume), "tmpfs")
        held, _ = hold(str(volume))
        folder = volume / FOLDER / "nfs/nfsdcld"
        with sqlite3.connect(folder / DATABASE) as database:
            database.execute("CREATE TABLE grace (current INTEGER, recovery INTEGER)")
            database.execute("INSERT INTO grace VALUES (7, 6)")
        database.close()
        (folder / DATABASE).chmod(0o600)
        records = recorded(folder)
        (folder / "link").symlink_to("/etc/passwd")
        server = Tracking(Stand())
        assert server.start(held.tracking, str(volume)) == ()
        # By its place nothing is followed, and users' paths play no part.
        assert recorded(place) == records == [(7, 6)]
        with pytest.raises(OSError, match="Too many levels"):
            (place / "link").read_bytes()
        moved_then_removed(volume, held, server, records)
        server.stop()
        assert os.listdir(place) == []
        held.close()
        syscalls.unmount(str(volume))

    try:
        apart(course)
    finally:
        lift_all(tmp_path)


def moved_then_removed(
    volume: Path, held: Held, server: Tracking, records: list[tuple[int, int]]
) -> None:
    first = server.pid
    lift_all(volume)
    (volume / FOLDER).rename(volume / ".trash")
    assert keep(str(volume), held) != ()
    assert server.keep(held.tracking, str(volume)) == ()
    assert server.pid == first
    lift_all(volume)
    shutil.rmtree(volume / FOLDER)
    assert keep(str(volume), held) != ()
    (told,) = server.keep(held.tracking, str(volume))
    assert "1 of its files again" in told
    assert server.pid != first
    assert recorded(volume / FOLDER / "nfs/nfsdcld") == records
    assert server.keep(held.tracking, str(volume)) == ()
