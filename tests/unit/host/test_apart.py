"""host/apart.py with real children."""

from __future__ import annotations

import os
import time

import pytest

from storage_agent.host.apart import run_apart
from storage_agent.model.errors import CommandTimeout, OperationFailed

pytestmark = pytest.mark.processes


def failure(call: object) -> OperationFailed:
    with pytest.raises(OperationFailed) as caught:
        run_apart("the work", call, code="NO_WORK", timeout_s=10)  # type: ignore[arg-type]
    assert caught.value.code == "NO_WORK"
    return caught.value


def test_what_it_returns_comes_back_from_another_process() -> None:
    pid = run_apart("the work", lambda: b"%d" % os.getpid(), code="NO_WORK", timeout_s=10)
    assert int(pid) != os.getpid()
    assert run_apart("the work", lambda: b"", code="NO_WORK", timeout_s=10) == b""


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
