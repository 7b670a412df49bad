"""Forks are waited for, but not for ever."""

from __future__ import annotations

import os
import signal

import pytest

from storage_agent.host.runner import wait_forked

pytestmark = pytest.mark.processes


def is_reaped(pid: int) -> bool:
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return True
    return False


def test_a_fork_that_ends() -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    assert wait_forked(pid, timeout_s=30)
    assert is_reaped(pid)


def test_a_fork_that_does_not_end_is_killed() -> None:
    pid = os.fork()
    if pid == 0:
        while True:
            signal.pause()
    assert not wait_forked(pid, timeout_s=0.01)
    assert is_reaped(pid)
