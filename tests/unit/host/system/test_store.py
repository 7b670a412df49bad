"""The agent's own state: what is kept, and what a write that did not end leaves of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage_agent.host.system.store import FileStore
from storage_agent.model.errors import OperationFailed


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
        assert f"ls -ld {store.folder}" in caught.value.remedy
