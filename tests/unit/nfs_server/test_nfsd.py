"""Nfsd on a tree of files."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage_agent.model.errors import OperationFailed
from storage_agent.nfs_server.nfsd import Nfsd, wait_for_inotify

HEAD = "head\n"
SOCKET = "   0: 0A00090A:0801 0300090A:03C8 {} {} 00:00000000 00000000     0\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "proc/net").mkdir(parents=True)
    (tmp_path / "proc/net/tcp").write_text(HEAD)
    return tmp_path


def thread(
    root: Path, pid: int, name: str, *, waits_in: str = "svc_recv", started: int = 0
) -> None:
    folder = root / "proc" / str(pid)
    folder.mkdir(parents=True)
    (folder / "comm").write_text(f"{name}\n")
    (folder / "wchan").write_text(waits_in)
    fields = " ".join(["S"] + ["0"] * 18 + [str(started)] + ["0"] * 30)
    (folder / "stat").write_text(f"{pid} ({name}) {fields}\n")


def test_idle_without_sockets_and_requests(root: Path) -> None:
    thread(root, 70, "nfsd")
    assert Nfsd(root).is_idle((70,))


def test_a_thread_that_waits_for_the_disk_is_not_idle(root: Path) -> None:
    thread(root, 70, "nfsd")
    thread(root, 71, "nfsd", waits_in="jbd2_log_wait_commit")
    assert not Nfsd(root).is_idle((70, 71))


def test_a_running_thread_is_not_idle(root: Path) -> None:
    thread(root, 70, "nfsd", waits_in="0")
    assert not Nfsd(root).is_idle((70,))


def test_an_ended_thread_is_idle(root: Path) -> None:
    assert Nfsd(root).is_idle((70,))


@pytest.mark.parametrize("queues", ["00000001:00000000", "00000000:00000001"])
def test_bytes_in_a_queue_are_work(root: Path, queues: str) -> None:
    (root / "proc/net/tcp").write_text(HEAD + SOCKET.format("01", queues))
    assert not Nfsd(root).is_idle(())


def test_who_has_not_acknowledged(root: Path) -> None:
    assert Nfsd(root).unacknowledged() == ()
    lines = SOCKET.format("01", "00000080:00000000") + SOCKET.format("01", "00000000:00000080")
    (root / "proc/net/tcp").write_text(HEAD + lines)
    assert Nfsd(root).unacknowledged() == ("10.9.0.3:968",)


def test_a_listeners_queue_is_not_an_answer(root: Path) -> None:
    (root / "proc/net/tcp").write_text(HEAD + SOCKET.format("0A", "00000000:00000001"))
    assert Nfsd(root).is_idle(())


def test_threads_are_found_by_name_and_start(root: Path) -> None:
    thread(root, 70, "nfsd", started=100)
    thread(root, 71, "nfsd", started=500)
    thread(root, 72, "kworker/0:1", started=500)
    (root / "proc/2/task/2").mkdir(parents=True)
    (root / "proc/2/task/2/children").write_text("70 71 72 73 ")
    assert Nfsd(root).find_threads(400, 600) == (71,)
    assert Nfsd(root).find_threads() == (70, 71)


def test_nfsdcld_is_ready_once_it_watches(tmp_path: Path) -> None:
    folder = tmp_path / "812/fdinfo"
    folder.mkdir(parents=True)
    (folder / "3").write_text("pos:\t0\nflags:\t02\n")
    with pytest.raises(OperationFailed) as caught:
        wait_for_inotify(812, 0.02, tmp_path)
    assert caught.value.code == "NFSDCLD_START"
    (folder / "4").write_text("pos:\t0\ninotify wd:1 ino:2 sdev:3 mask:100\n")
    wait_for_inotify(812, 0.02, tmp_path)
