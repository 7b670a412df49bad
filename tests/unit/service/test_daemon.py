"""Lock, listener and systemd's variables. The daemon as a whole is tested in the lab."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from storage_agent.configuration.read import Paths
from storage_agent.model.errors import Busy
from storage_agent.service import systemd
from storage_agent.service.daemon import open_listener, take_lock, user_id
from storage_agent.service.wiring import load_setup


def test_there_is_one_daemon_a_host(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    first = take_lock(folder)
    with pytest.raises(Busy) as caught:
        take_lock(folder)
    assert caught.value.exit_status == 5
    os.close(first)
    os.close(take_lock(folder))


@pytest.mark.sockets
def test_the_listener_replaces_a_left_over_one_and_is_not_for_everybody(tmp_path: Path) -> None:
    for _ in range(2):
        listener = open_listener(tmp_path)
        mode = (tmp_path / "agent.sock").stat().st_mode
        assert stat.S_ISSOCK(mode)
        assert stat.S_IMODE(mode) == 0o660
        listener.close()


def test_a_user_that_does_not_exist_has_no_id() -> None:
    assert user_id("root") == 0
    assert user_id("no-such-user-here") is None


def test_a_socket_for_another_process_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LISTEN_PID", "1")
    monkeypatch.setenv("LISTEN_FDS", "1")
    assert systemd.passed_listener() is None
    assert "LISTEN_FDS" not in os.environ


@pytest.mark.parametrize(
    ("limit", "pid", "expected"),
    [("60000000", None, 20.0), ("60000000", "1", None), ("", None, None), ("x", None, None)],
)
def test_the_watchdog_is_petted_thrice_in_its_time(
    monkeypatch: pytest.MonkeyPatch, limit: str, pid: str | None, expected: float | None
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", limit)
    monkeypatch.setenv("WATCHDOG_PID", pid or str(os.getpid()))
    assert systemd.watchdog_period_s() == expected


@pytest.mark.sockets
def test_only_systemd_is_notified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        systemd.notify("READY=1", "STATUS=serving")
        assert manager.recv(100) == b"READY=1\nSTATUS=serving"
        monkeypatch.delenv("NOTIFY_SOCKET")
        systemd.notify("READY=1")
        with pytest.raises(BlockingIOError):
            manager.recv(100)


def test_without_a_configuration_the_agent_says_so(tmp_path: Path) -> None:
    paths = Paths(main=tmp_path / "agent.toml", folder=tmp_path / "agent.d")
    setup = load_setup(paths)
    assert setup.problem is None
    assert setup.config.volumes == {}
    assert setup.note == f"not configured: there is no {paths.main}"


def test_a_wrong_configuration_is_kept_with_its_line(tmp_path: Path) -> None:
    paths = Paths(main=tmp_path / "agent.toml", folder=tmp_path / "agent.d")
    paths.main.write_text("[hosts\n")
    setup = load_setup(paths)
    assert setup.problem is not None
    assert f"{paths.main}:1: " in setup.problem.message
    assert setup.config.volumes == {}
