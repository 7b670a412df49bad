"""The gateway as a process: what it is given for stdin and stdout, signals, broken connections,
many at once. Rows 14, 28 and 30 to 33 of the hostile inputs."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from storage_agent.service.api.access import Role
from storage_agent.service.api.places import PLACES
from tests.gateway.host import StorageHost, code_of, frame, wait_for

PING = frame("ping")
PROMOTE = frame("promote", volume="nowhere", operation_id="op-cut", epoch=6, coordinator="c")


class Gateway:
    """One without sshd around it."""

    def __init__(self, host: StorageHost, role: str = "observe", **given: Any) -> None:
        argv = host.gateway_argv("--role", role, "--key-id", host.key_id(role))
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        self.process = subprocess.Popen(argv, **{**pipes, **given})

    def send(self, content: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(content)
        self.process.stdin.flush()

    def receive(self) -> Any:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def ended(self) -> tuple[list[Any], str, int]:
        """Answers, stderr and exit status."""
        out, errors = self.process.communicate(timeout=60)
        lines = (out or b"").splitlines()
        status = self.process.returncode
        return [json.loads(line) for line in lines], (errors or b"").decode(), status

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=60)


@pytest.fixture(autouse=True)
def nothing_left(host: StorageHost) -> Iterator[None]:
    """Neither a gateway nor a connection outlives its caller."""
    before = (len(host.gateways()), host.connections())
    yield
    wait_for(lambda: len(host.gateways()) <= before[0], "gateways end")
    wait_for(lambda: host.connections() <= before[1], "connections end")


# -- stdin and stdout -----------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["requests", "/dev/zero", "/dev/null", "/dev/full"])
@pytest.mark.parametrize("side", ["stdin", "stdout"])
def test_what_is_no_pipe_is_refused(
    host: StorageHost, tmp_path: Path, side: str, path: str
) -> None:
    """sshd makes pipes. The daemon reads and writes them itself: nothing that it could wait for
    gets that far."""
    file = tmp_path / path
    if not file.exists():
        file.write_bytes(PING * 3)
    descriptor = os.open(file, os.O_RDWR)
    try:
        given: dict[str, Any] = {side: descriptor}
        answers, errors, status = Gateway(host, **given).ended()
    finally:
        os.close(descriptor)
    assert [code_of(answer) for answer in answers] == ["bad-request"] * (side == "stdin")
    assert (errors, status) == ("", 1)
    if side == "stdout" and path == "requests":
        assert b"must be pipes" in file.read_bytes()


def test_a_folder_is_no_stdin(host: StorageHost) -> None:
    """Python itself refuses to start."""
    descriptor = os.open("/", os.O_RDONLY)
    try:
        answers, errors, status = Gateway(host, stdin=descriptor).ended()
    finally:
        os.close(descriptor)
    assert (answers, status) == ([], 1)
    assert "is a directory" in errors


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-"])
def test_descriptors_that_are_closed_are_not_taken_for_others(
    host: StorageHost, closed: str
) -> None:
    argv = host.gateway_argv("--role", "observe", "--key-id", host.key_id("observe"))
    shell = ["sh", "-c", f'exec "$@" {closed}', "sh", *argv]
    ended = subprocess.run(shell, input=PING, capture_output=True, timeout=60, check=False)
    expected = b"" if ">&-" in closed.split() else b'"code":"bad-request"'
    if "<&-" not in closed.split() and ">&-" not in closed.split():
        expected = b'"protocol":1'
    assert expected in ended.stdout
    assert ended.stderr == b""
    assert ended.returncode == (0 if expected == b'"protocol":1' else 1)


def test_a_reader_that_is_gone_ends_it_quietly(host: StorageHost) -> None:
    gateway = Gateway(host)
    gateway.send(PING)
    gateway.receive()
    assert gateway.process.stdout is not None
    gateway.process.stdout.close()
    gateway.process.stdout = None
    with contextlib.suppress(BrokenPipeError):
        gateway.send(PING)
    _, errors, status = gateway.ended()
    assert (errors, status) == ("", 1)


def test_a_gateway_that_is_killed_ends_its_session(host: StorageHost) -> None:
    """Its socket ends with it; the pipes, which the caller still holds, do not."""
    before = host.connections()
    session = host.session("observe")
    session.ask("ping")
    (pid,) = host.gateways()
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: host.connections() == before, "the daemon lets go")
    assert session.wait() != 0


def test_whoever_never_reads_is_dropped_and_others_are_served(host: StorageHost) -> None:
    gateway = Gateway(host)
    begun_s = time.monotonic()
    with contextlib.suppress(BrokenPipeError):
        for _ in range(2000):
            gateway.send(frame("status"))
            if gateway.process.poll() is not None:
                break
    assert code_of(host.local(PING)[0]) == "ok"
    gateway.process.wait(60)
    assert time.monotonic() - begun_s < 40
    assert gateway.process.returncode == 1
    gateway.kill()


def test_a_request_that_does_not_end_is_given_up(host: StorageHost) -> None:
    """Slow loris: a byte now and then does not put the deadline off."""
    gateway = Gateway(host, "operate")
    begun_s = time.monotonic()
    with contextlib.suppress(BrokenPipeError):
        for byte in PROMOTE:
            gateway.send(bytes([byte]))
            time.sleep(0.3)
            if gateway.process.poll() is not None:
                break
    answers, errors, status = gateway.ended()
    assert 4 < time.monotonic() - begun_s < 30
    assert (answers, errors, status) == ([], "", 1)


# -- broken off -----------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["operate"])
def test_a_request_broken_off_at_any_byte_does_nothing(host: StorageHost, role: str) -> None:
    refused = 0
    for at in range(0, len(PROMOTE), 4):
        gateway = Gateway(host, role)
        gateway.send(PROMOTE[:at])
        gateway.kill()
    for at in range(1, len(PROMOTE) - 1, 4):
        gateway = Gateway(host, role)
        gateway.send(PROMOTE[:at])
        answers, errors, _ = gateway.ended()
        refused += [code_of(answer) for answer in answers] == ["bad-json"]
        assert errors == ""
    assert refused == len(range(1, len(PROMOTE) - 1, 4))
    (answer,) = host.local(frame("operation.show", operation_id="op-cut"))
    assert code_of(answer) == "UNKNOWN_OPERATION"


def test_an_answer_broken_off_at_any_byte_harms_nobody(host: StorageHost) -> None:
    for at in (0, 1, 7, 100, 4095, 4096, 4097):
        gateway = Gateway(host)
        gateway.send(frame("status") * 3)
        assert gateway.process.stdout is not None
        assert len(gateway.process.stdout.read(at)) == at
        gateway.kill()
    assert code_of(host.local(PING)[0]) == "ok"


def in_step(lines: list[Any], kind: str) -> bool:
    """Whether the last that was told of an operation is this step, not yet done."""
    told = [line["params"]["steps"] for line in lines if line.get("method") == "operation.progress"]
    last = told[-1][-1] if told and told[-1] else {}
    return (last.get("kind"), last.get("outcome")) == (kind, "running")


def test_an_operation_outlives_its_session(host: StorageHost) -> None:
    """The client is killed in the middle of a step; the answer is there for whoever asks."""
    given = host.next_epoch()
    operation_id = f"op-outlives-{given['epoch']}"
    session = host.session("operate")
    session.ask("ping")
    session.send(frame("promote", volume="data", operation_id=operation_id, **given))
    wait_for(lambda: in_step(session.lines, "start-server"), "it is in the middle")
    session.kill()
    (answer,) = host.local(frame("operation.show", operation_id=operation_id))
    cut = answer["result"]
    assert cut["state"] == "running"
    assert in_step([{"method": "operation.progress", "params": cut}], "start-server")

    def ended() -> Any:
        (answer,) = host.local(frame("operation.show", operation_id=operation_id))
        record = answer.get("result", {})
        return record if record.get("state") not in (None, "running") else None

    record = wait_for(ended, "the operation ends")
    assert record["state"] == "succeeded"
    assert record["request"]["origin"] == f"ssh key {host.key_id('operate')}"
    other = host.session("observe")
    assert other.ask("operation.show", operation_id=operation_id)["result"] == record
    assert other.end() == 0
    back = host.local(frame("demote", volume="data", operation_id=f"{operation_id}-back"))
    assert back[-1]["result"]["state"] == "succeeded"


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE,
                                    signal.SIGUSR1, signal.SIGALRM, signal.SIGQUIT])  # fmt: skip
def test_a_signal_ends_it_without_a_word_or_not_at_all(
    host: StorageHost, number: signal.Signals
) -> None:
    gateway = Gateway(host)
    gateway.send(PING)
    assert code_of(gateway.receive()) == "ok"
    gateway.process.send_signal(number)
    time.sleep(0.05)
    if gateway.process.poll() is None:
        gateway.send(PING)
    answers, errors, _ = gateway.ended()
    assert [code_of(answer) for answer in answers] in ([], ["ok"])
    assert "Traceback" not in errors


# -- the daemon -----------------------------------------------------------------------------------


def test_without_the_daemon_it_says_so(host: StorageHost) -> None:
    open_one = host.session("observe")
    open_one.ask("ping")
    host.stop_daemon()
    try:
        # The daemon's end is the session's end.
        assert open_one.wait() == 1
        answers, status = host.exchange(PING)
        assert [code_of(answer) for answer in answers] == ["DAEMON_DOWN"]
        assert answers[0]["id"] is None
        assert (answers[0]["error"]["data"]["exit_status"], status) == (7, 7)
        assert "systemctl start" in answers[0]["error"]["data"]["remedy"]
        assert host.inside("rm", "/run/storage-agent/agent.sock").returncode == 0
        answers, status = host.exchange(PING)
        assert ([code_of(answer) for answer in answers], status) == (["DAEMON_DOWN"], 7)
    finally:
        host.start_daemon()
    assert host.exchange(PING)[1] == 0


SILENT = """\
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.bind("/run/storage-agent/agent.sock")
import os; os.chmod("/run/storage-agent/agent.sock", 0o666)
s.listen(8)
print("listening", flush=True)
kept = []
while True:
    c = s.accept()[0]
    kept.append(c)
    c.recv(4096)
    c.sendall(sys.argv[1].encode())
    if sys.argv[2] == "close":
        c.close()
"""


@pytest.mark.parametrize(
    ("said", "then", "code", "status"),
    [
        ("", "close", "DAEMON_SILENT", 6),
        ("garbage", "close", "DAEMON_SILENT", 6),
        ("", "wait", "DAEMON_SILENT", 6),
        ('{"jsonrpc":"2.0","id":"hello","error":{"code":1,"data":{"code":"X"}}}\n', "wait", "X", 1),
    ],
)
def test_a_daemon_that_does_not_take_the_session(
    host: StorageHost, said: str, then: str, code: str, status: int
) -> None:
    """Something else listens, or the daemon hangs: one error, in bounded time."""
    host.stop_daemon()
    host.inside("rm", "-f", "/run/storage-agent/agent.sock")
    try:
        argv = ("/usr/bin/python3", "-c", SILENT, said, then)
        with host.started(*argv) as other:
            assert other.stdout is not None
            assert other.stdout.readline() == b"listening\n"
            gateway = Gateway(host)
            answers, errors, ended = gateway.ended()
            assert [code_of(answer) for answer in answers] == [code]
            assert answers[0]["id"] is None
            assert (errors, ended) == ("", status)
    finally:
        host.inside("rm", "-f", "/run/storage-agent/agent.sock")
        host.start_daemon()


# -- many -----------------------------------------------------------------------------------------


def test_one_keys_flood_leaves_room_for_the_others(host: StorageHost) -> None:
    before = host.connections()
    flood = [Gateway(host, "observe") for _ in range(200)]
    try:
        answers = []
        for gateway in flood:
            with contextlib.suppress(BrokenPipeError):
                gateway.send(PING)
        answers = [gateway.receive() for gateway in flood]
        codes = [code_of(answer) for answer in answers]
        assert set(codes) == {"ok", "TOO_MANY_CONNECTIONS"}
        assert 1 <= codes.count("ok") <= PLACES[Role.OBSERVE]
        assert host.connections() - before <= PLACES[Role.OBSERVE] + PLACES[Role.NONE]
        assert code_of(host.local(PING)[0]) == "ok"
        (answer,), status = host.exchange(PING, "operate")
        assert (code_of(answer), status) == ("ok", 0)
    finally:
        for gateway in flood:
            gateway.kill()


def test_a_connection_without_hello_is_not_kept(host: StorageHost) -> None:
    """Only the gateway's own fault or a process of its user: it holds no place for long."""
    idle = "import socket,time; s=socket.socket(socket.AF_UNIX); s.connect('/run/storage-agent/agent.sock'); s.settimeout(20); print(len(s.recv(9)))"  # noqa: E501
    user = ("setpriv", "--reuid", "storage-agent", "--regid", "storage-agent", "--clear-groups")
    begun_s = time.monotonic()
    ended = host.inside(*user, "/usr/bin/python3", "-c", idle)
    assert ended.stdout == "0\n"
    assert 4 < time.monotonic() - begun_s < 19
