"""host/system/apart.py with real children."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

import pytest

from storage_agent.host.system.apart import run_apart
from storage_agent.model.errors import CommandTimeout, OperationFailed

pytestmark = pytest.mark.processes


def hold_descriptors() -> bytes:
    """What its open ones lead to; the one of this look itself is closed by then."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            found.append(os.readlink(f"/proc/self/fd/{name}"))
    return "\n".join(found).encode()


def failure(call: object) -> OperationFailed:
    with pytest.raises(OperationFailed) as caught:
        run_apart("the work", call, code="NO_WORK", timeout_s=10)  # type: ignore[arg-type]
    assert caught.value.code == "NO_WORK"
    return caught.value


def test_what_it_returns_comes_back_from_another_process() -> None:
    pid = run_apart("the work", lambda: b"%d" % os.getpid(), code="NO_WORK", timeout_s=10)
    assert int(pid) != os.getpid()
    assert run_apart("the work", lambda: b"", code="NO_WORK", timeout_s=10) == b""


def test_it_holds_nothing_of_ours(tmp_path: Path) -> None:
    """A lock belongs to whoever has the description open, also in a child that cannot be ended."""

    lock = tmp_path / "lock"
    with lock.open("w"):
        held = run_apart("the work", hold_descriptors, code="NO_WORK", timeout_s=10).decode()
    assert "pipe:" in held
    assert str(lock) not in held


def test_why_it_failed_comes_back() -> None:
    def fail() -> bytes:
        raise OperationFailed("a reason of ours")

    assert failure(fail).message == "the work: a reason of ours"
    missing = failure(lambda: os.open("/nonexistent/file", os.O_RDONLY))
    assert missing.message == "the work: No such file or directory"


def test_a_child_that_dies_has_done_nothing() -> None:
    assert failure(lambda: os.kill(os.getpid(), 9)).message == "the work: its process died"


def test_what_does_not_return_is_given_up() -> None:
    def hang() -> bytes:
        time.sleep(60)
        return b""

    begun_s = time.monotonic()
    with pytest.raises(CommandTimeout, match=r"the work: not done within 0\.2 s"):
        run_apart("the work", hang, code="NO_WORK", timeout_s=0.2)
    assert time.monotonic() - begun_s < 30
