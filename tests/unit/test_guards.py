"""The guards of tests/conftest.py fire."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest

from tests.conftest import LONG_SHARES, is_in_share

Failed = pytest.fail.Exception


def test_a_process_fails_the_test() -> None:
    with pytest.raises(Failed, match=r"subprocess\.Popen"):
        subprocess.run(["true"], check=False)


def test_a_fork_fails_the_test() -> None:
    with pytest.raises(Failed, match=r"os\.fork"):
        os._exit(0) if os.fork() == 0 else None


def test_an_internet_socket_fails_the_test() -> None:
    with pytest.raises(Failed, match="socket"):
        socket.socket(socket.AF_INET)


def test_a_unix_socket_with_an_address_fails_the_test(tmp_path: Path) -> None:
    with (
        socket.socket(socket.AF_UNIX) as unix,
        pytest.raises(Failed, match=r"socket\.bind"),
    ):
        unix.bind(str(tmp_path / "s"))


def test_a_pair_of_sockets_reaches_nobody() -> None:
    left, right = socket.socketpair()
    with left, right:
        left.sendall(b"x")
        assert right.recv(1) == b"x"


@pytest.mark.processes
def test_a_marked_test_may_start_a_process() -> None:
    assert subprocess.run(["true"], check=False).returncode == 0


@pytest.mark.sockets
def test_a_marked_test_may_open_a_socket(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(tmp_path / "s"))
        assert (tmp_path / "s").is_socket()


def test_each_long_scenario_is_in_one_share() -> None:
    ids = [f"{n:040x}" for n in range(LONG_SHARES)]
    for name in ("tests/lab/test_a.py::test_b", "tests/lab/test_a.py::test_b[c]"):
        assert sum(is_in_share(name, commit) for commit in ids) == 1


def test_no_long_scenario_is_left_to_the_last_share() -> None:
    names = [f"tests/lab/test_{n}.py::test" for n in range(50 * LONG_SHARES)]
    sizes = [sum(is_in_share(name, f"{n:040x}") for name in names) for n in range(LONG_SHARES)]
    assert min(sizes) > 25
