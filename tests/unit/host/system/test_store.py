"""The agent's own state: what is kept, and what a write that did not end leaves of it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from storage_agent.host.system.store import (
    ROOM_INODES,
    FileStore,
    full_remedy,
    state_folder_finding,
)
from storage_agent.model.errors import OperationFailed
from storage_agent.model.finding import Finding


def test_what_is_written_is_read(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "state")
    assert store.read("epoch-data") is None
    assert store.names("epoch-") == ()
    for content in (b"7\n", b"8\n"):
        store.replace("epoch-data", content)
        assert store.read("epoch-data") == content
    store.append("operation-1", b"accepted\n")
    store.append("operation-1", b"intent\n")
    assert store.read("operation-1") == b"accepted\nintent\n"
    assert store.names("operation-") == ("operation-1",)
    for _ in range(2):
        store.remove("operation-1")
    assert store.names("") == ("epoch-data",)


def test_only_its_owner_reads_it(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "state")
    store.replace("epoch-data", b"7\n")
    store.append("operation-1", b"accepted\n")
    assert store.folder.stat().st_mode & 0o777 == 0o700
    for name in ("epoch-data", "operation-1"):
        assert (store.folder / name).stat().st_mode & 0o777 == 0o600


def test_what_a_crash_left_beside_is_no_operation(tmp_path: Path) -> None:
    (tmp_path / ".operation-1.0123abcd.new").write_text("half")
    assert FileStore(tmp_path).names("operation-") == ()


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("keep")
    store = FileStore(tmp_path / "state")
    store.folder.mkdir()
    (store.folder / "operation-1").symlink_to(precious)
    with pytest.raises(OperationFailed):
        store.read("operation-1")
    with pytest.raises(OperationFailed):
        store.append("operation-1", b"more")
    store.replace("operation-1", b"new")
    assert precious.read_text() == "keep"


def test_a_failure_names_the_file_and_the_folder(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("in the way")
    store = FileStore(tmp_path / "state")
    acts = (
        lambda: store.read("epoch-data"),
        lambda: store.replace("epoch-data", b""),
        lambda: store.append("epoch-data", b""),
        lambda: store.names("epoch-"),
        lambda: store.remove("epoch-data"),
    )
    for act in acts:
        with pytest.raises(OperationFailed, match=r"/state/epoch-") as caught:
            act()
        assert caught.value.code == "STATE_FOLDER"
        assert f"ls -ld {store.folder};" in caught.value.remedy


def test_a_folder_that_can_be_written_is_left_as_it_was(tmp_path: Path) -> None:
    FileStore(tmp_path).require_writable()
    assert list(tmp_path.iterdir()) == []


def refusal(folder: Path) -> Finding:
    with pytest.raises(OperationFailed) as caught:
        FileStore(folder).require_writable()
    (finding,) = caught.value.findings
    assert (finding.code, finding.summary) == ("STATE_FOLDER", caught.value.message)
    return finding


def test_a_folder_that_is_gone_is_made_anew_by_hand(tmp_path: Path) -> None:
    gone = refusal(tmp_path / "state")
    assert gone.measured == f"no {tmp_path / 'state'}"
    assert gone.remedy.startswith(f"mkdir -m 700 {tmp_path / 'state'}")


def test_where_others_may_write_nothing_is_believed(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    shared = refusal(tmp_path)
    assert "mode 777" in shared.measured
    assert f"chmod 700 {tmp_path}" in shared.remedy


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.EROFS, "findmnt -T"),
        (errno.ENOSPC, "df -h"),
        (errno.EDQUOT, "df -h"),
        (errno.EIO, "journalctl -k"),
        (errno.EPERM, "lsattr"),
    ],
)
def test_each_reason_has_a_remedy_of_its_own(tmp_path: Path, number: int, remedy: str) -> None:
    finding = state_folder_finding(tmp_path, tmp_path, OSError(number, os.strerror(number)))
    assert remedy in finding.remedy


def test_out_of_inodes_is_not_looked_for_in_bytes() -> None:
    assert "df -i" in full_remedy(Path("/var"), 0)
    assert "df -h" in full_remedy(Path("/var"), None)
    assert "df -h" in full_remedy(Path("/var"), ROOM_INODES)
