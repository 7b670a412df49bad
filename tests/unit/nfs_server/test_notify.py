"""What systemd is told, by a socket in its place."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage_agent.nfs_server.notify import Notifier


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(address)
        listener.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        monkeypatch.delenv("LISTEN_FDNAMES", raising=False)
        yield listener


@pytest.mark.sockets
def test_what_is_to_outlive_us_is_given_away(systemd: socket.socket, tmp_path: Path) -> None:
    Notifier().keep("nfsd", str(tmp_path))
    message, descriptors, _, _ = socket.recv_fds(systemd, 100, 2)
    assert message == b"FDSTORE=1\nFDNAME=nfsd"
    (descriptor,) = descriptors
    assert os.path.samestat(os.fstat(descriptor), tmp_path.stat())
    os.close(descriptor)


@pytest.mark.sockets
def test_what_is_held_already_is_not_given_again(
    systemd: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LISTEN_FDNAMES", "nfsd")
    notifier = Notifier()
    notifier.keep("nfsd", str(tmp_path))
    notifier.ready("standby")
    assert systemd.recv(100) == b"READY=1\nSTATUS=standby"


@pytest.mark.sockets
def test_a_systemd_that_takes_nothing_keeps_nobody_from_serving(
    systemd: socket.socket, tmp_path: Path
) -> None:
    notifier = Notifier()
    systemd.close()
    notifier.keep("nfsd", str(tmp_path))
    notifier.ready("standby")


def test_without_systemd_nothing_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notifier = Notifier()
    notifier.keep("nfsd", str(tmp_path / "not there"))
    notifier.ready("standby")
