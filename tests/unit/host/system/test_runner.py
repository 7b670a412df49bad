"""Real child processes: what comes back of them, and that none outlives its deadline.

A child that does not even die of SIGKILL (D state) cannot be made here.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from storage_agent.host.system.runner import (
    ENVIRONMENT,
    OUTPUT_LIMIT_BYTES,
    Completed,
    Runner,
    end_stream,
    tool_path,
    wait_forked,
)
from storage_agent.model.errors import CommandFailed, CommandTimeout, Missing, ParseError

pytestmark = pytest.mark.processes

# Plenty for a command that ends by itself; for one that does not, long enough to set its traps.
TIMEOUT_S = 30.0
SHORT_S = 0.3


def sh(script: str, timeout_s: float = TIMEOUT_S, **more: object) -> Completed:
    return Runner().run(("sh", "-c", script), timeout_s=timeout_s, **more)  # type: ignore[arg-type]


def running(mark: str) -> list[int]:
    """Processes with this word in their command line."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        gone = process.info["status"] == psutil.STATUS_ZOMBIE
        if not gone and any(mark in word for word in process.info["cmdline"] or ()):
            found.append(process.pid)
    return found


@pytest.fixture
def mark(request: pytest.FixtureRequest) -> Iterator[str]:
    """A number of seconds to sleep that no other process sleeps; who still does is ended."""
    word = f"5{time.monotonic_ns()}"
    yield word
    for pid in running(word):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


# -- what comes back -------------------------------------------------------------------------------


def test_both_outputs_and_the_exit_status_come_back() -> None:
    ended = sh("echo out; echo err >&2; exit 3", ok=frozenset({0, 3}))
    assert (ended.exit_status, ended.stdout, ended.stderr) == (3, "out\n", "err\n")
    assert ended.argv == ("sh", "-c", "echo out; echo err >&2; exit 3")
    assert 0 <= ended.duration_s < TIMEOUT_S


def test_another_exit_status_is_a_failure_that_says_what_the_tool_said() -> None:
    with pytest.raises(CommandFailed) as caught:
        sh("echo out; echo no medium >&2; exit 3", ok=frozenset({0, 1}))
    assert (caught.value.tool_exit_status, caught.value.stderr) == (3, "no medium\n")
    assert caught.value.stdout == "out\n"
    assert caught.value.message.endswith("exit 3: no medium")


def test_a_child_that_a_signal_ended_did_not_succeed() -> None:
    with pytest.raises(CommandFailed) as caught:
        sh("kill -KILL $$")
    assert caught.value.tool_exit_status == -signal.SIGKILL


def test_what_is_not_utf_8_is_replaced() -> None:
    assert sh(r"printf 'a\377b'").stdout == "a\N{REPLACEMENT CHARACTER}b"


def test_input_is_fed_and_otherwise_there_is_none() -> None:
    assert sh("cat", stdin=b"resource data {}\n").stdout == "resource data {}\n"
    assert sh("cat").stdout == ""


def test_a_child_that_does_not_read_its_input_says_why_by_its_status() -> None:
    with pytest.raises(CommandFailed) as caught:
        sh("exec <&-; exit 10", stdin=b"x" * 4096)
    assert caught.value.tool_exit_status == 10


def test_both_outputs_may_be_longer_than_a_pipe_holds() -> None:
    ended = sh("yes out | head -c 300000; yes err | head -c 300000 >&2")
    assert (len(ended.stdout), len(ended.stderr)) == (300_000, 300_000)


def test_an_output_that_had_to_be_cut_is_not_taken_for_the_whole() -> None:
    whole = sh(f"head -c {OUTPUT_LIMIT_BYTES} /dev/zero")
    assert len(whole.stdout) == OUTPUT_LIMIT_BYTES
    with pytest.raises(ParseError, match="more than 8388608 bytes"):
        sh(f"head -c {OUTPUT_LIMIT_BYTES + 1} /dev/zero")
    assert len(sh(f"head -c {2 * OUTPUT_LIMIT_BYTES} /dev/zero >&2").stderr) < (
        2 * OUTPUT_LIMIT_BYTES
    )


# -- what it runs in -------------------------------------------------------------------------------


def test_the_environment_is_built_from_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OF_A_CALLER", "1")
    lines = Runner().run(("env",), timeout_s=TIMEOUT_S).stdout.splitlines()
    assert dict(line.split("=", 1) for line in lines) == ENVIRONMENT


def test_it_runs_in_the_root_folder_in_a_group_of_its_own() -> None:
    ended = sh('pwd; echo $$; cut -d" " -f5 /proc/$$/stat')
    folder, pid, group = ended.stdout.split()
    assert (folder, group) == ("/", pid)
    assert int(group) != os.getpgrp()


def test_no_file_of_ours_is_open_in_it(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.touch()
    descriptor = os.open(secret, os.O_RDONLY)
    os.set_inheritable(descriptor, True)
    try:
        assert "secret" not in sh("ls -l /proc/$$/fd").stdout
    finally:
        os.close(descriptor)


# -- what is not there -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["no-such-tool", "/no/such/hook", "/etc/passwd"])
def test_what_is_not_installed_is_named(name: str) -> None:
    runner = Runner()
    with pytest.raises(Missing, match=f"'{name}' is not installed"):
        runner.run((name,), timeout_s=TIMEOUT_S)
    assert runner.started == 0


@pytest.mark.parametrize("start", ["run", "stream", "daemon"])
@pytest.mark.parametrize(
    ("content", "why"),
    [("#!/no/such/interpreter\n", "No such file"), ("echo no shebang\n", "Exec format error")],
)
def test_a_hook_that_cannot_be_started_is_named(
    start: str, content: str, why: str, tmp_path: Path
) -> None:
    hook = tmp_path / "hook"
    hook.write_text(content)
    hook.chmod(0o755)
    more = {"timeout_s": TIMEOUT_S} if start == "run" else {}
    with pytest.raises(Missing, match=f"hook cannot be started: {why}"):
        getattr(Runner(), start)((str(hook),), **more)


def test_a_tool_that_was_removed_meanwhile_is_missing(tmp_path: Path) -> None:
    hook = tmp_path / "hook"
    hook.write_text("#!/bin/sh\necho here\n")
    hook.chmod(0o755)
    assert Runner().run((str(hook),), timeout_s=TIMEOUT_S).stdout == "here\n"
    hook.unlink()
    with pytest.raises(Missing, match="is not installed"):
        tool_path(str(hook))


# -- the deadline ----------------------------------------------------------------------------------

# Each `sleep` is one that the test can find again.
OVERDUE = {
    "sleeps": "sleep {mark}",
    "ignores TERM": "trap '' TERM; sleep {mark}; sleep {mark}",
    "has closed its outputs": "exec >&- 2>&-; sleep {mark}",
    "writes without end": "yes {mark}",
    "has a child that ignores TERM": "(trap '' TERM; sleep {mark}; sleep {mark}) & sleep {mark}",
    "has ended and left a child that ignores TERM": "(trap '' TERM; sleep {mark}; sleep {mark}) &",
}


@pytest.mark.parametrize("script", OVERDUE.values(), ids=OVERDUE)
def test_nothing_of_it_is_left_after_the_deadline(script: str, mark: str) -> None:
    with pytest.raises(CommandTimeout, match=r"no answer within 0\.3 s, ended") as caught:
        sh(script.format(mark=mark), timeout_s=SHORT_S)
    assert "storage-agent status" in caught.value.remedy
    assert running(mark) == []


def test_a_child_may_clean_up_when_it_is_told_to_end(tmp_path: Path, mark: str) -> None:
    note = tmp_path / "note"
    with pytest.raises(CommandTimeout):
        sh(f"trap 'echo cleaned > {note}; exit' TERM; sleep {mark} & wait", timeout_s=2.0)
    assert note.read_text() == "cleaned\n"
    assert running(mark) == []


# -- what runs along -------------------------------------------------------------------------------


def test_a_stream_is_read_for_as_long_as_it_is_wanted(mark: str) -> None:
    runner = Runner()
    child = runner.stream(("sh", "-c", f"echo exists; sleep {mark}; sleep {mark}"))
    assert child.stdout is not None
    assert child.stdout.readline() == b"exists\n"
    end_stream(child)
    assert (runner.started, child.returncode, child.stdout.closed) == (1, -signal.SIGTERM, True)
    assert running(mark) == []


def test_a_daemon_writes_where_we_write(mark: str) -> None:
    child = Runner().daemon(("sleep", mark))
    for descriptor in (1, 2):
        ours, its = (os.readlink(f"/proc/{pid}/fd/{descriptor}") for pid in ("self", child.pid))
        assert its == ours
    assert os.readlink(f"/proc/{child.pid}/fd/0") == "/dev/null"
    end_stream(child)
    assert running(mark) == []


# -- forks -----------------------------------------------------------------------------------------


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
