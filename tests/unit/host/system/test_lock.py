"""Locks that nobody but root can hold, and whose holder is named."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from storage_agent.host.system.lock import acquire, held
from storage_agent.model.errors import Busy, OperationFailed


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "lock"


@pytest.mark.processes
def test_who_holds_it_is_named_and_the_wait_ends(path: Path) -> None:
    code = (
        "import fcntl, os, sys, time\n"
        "fcntl.flock(os.open(sys.argv[1], os.O_RDWR), fcntl.LOCK_EX)\n"
        "print(flush=True); time.sleep(60)"
    )
    with held(path, "it"):
        pass
    argv = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as other:
        try:
            assert other.stdout is not None
            other.stdout.readline()
            begun_s = time.monotonic()
            with pytest.raises(Busy, match=rf"^it runs .*: process {other.pid} \(.+\)$") as caught:
                acquire(path, "it", 0.3)
            assert 0.2 < time.monotonic() - begun_s < 5
            assert caught.value.remedy
        finally:
            other.kill()
    with held(path, "it"), pytest.raises(Busy, match=f"process {os.getpid()} "):
        acquire(path, "it")


@pytest.mark.processes
def test_it_is_waited_for(path: Path) -> None:
    descriptor = acquire(path, "it")
    with subprocess.Popen(["sleep", "0.3"], pass_fds=(descriptor,)):
        os.close(descriptor)
        with pytest.raises(Busy):
            acquire(path, "it")
        with held(path, "it", 20.0):
            pass


def test_nobody_else_could_open_it(path: Path) -> None:
    before = os.umask(0)
    try:
        with held(path, "it"):
            assert path.stat().st_mode & 0o777 == 0o600
    finally:
        os.umask(before)


def readable(path: Path) -> None:
    path.touch(0o644)


def linked(path: Path) -> None:
    path.touch(0o600)
    os.link(path, path.with_name("other"))


@pytest.mark.parametrize("make", [readable, linked, os.mkfifo])
def test_a_file_that_others_could_hold_is_not_taken(
    path: Path, make: Callable[[Path], None]
) -> None:
    path.parent.mkdir()
    before = os.umask(0)
    try:
        make(path)
    finally:
        os.umask(before)
    with pytest.raises(OperationFailed) as caught:
        acquire(path, "it")
    assert (caught.value.code, caught.value.remedy) == ("UNSAFE_LOCK", f"rm {path}")


def test_a_link_is_not_followed(path: Path, tmp_path: Path) -> None:
    path.parent.mkdir()
    path.symlink_to(tmp_path / "victim")
    with pytest.raises(OSError, match="symbolic links"):
        acquire(path, "it")
    assert not (tmp_path / "victim").exists()


def test_the_folder_s_own_lock_keeps_nobody_out(path: Path) -> None:
    """Any local user may hold that of a folder that it can read."""
    path.parent.mkdir()
    folder = os.open(path.parent, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    try:
        with held(path, "it"):
            pass
    finally:
        os.close(folder)
