"""Exactly what `create` wrote is taken back: not a byte of what somebody else did."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from storage_agent.host.made import MadeFiles
from storage_agent.model.creation import FileState
from storage_agent.model.errors import OperationFailed, Refused

RES = Path("etc/drbd.d/storage-agent-data.res")
TOML = Path("etc/storage-agent/agent.d/data.toml")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for path in (RES, TOML):
        (tmp_path / path).parent.mkdir(parents=True)
    return tmp_path


def make(root: Path, path: Path, text: str) -> MadeFiles:
    made = MadeFiles("data", root)
    made.will_write(path, text.encode())
    (root / path).write_text(text)
    return made


def test_what_was_not_there_is_removed(root: Path) -> None:
    made = make(root, RES, "resource data {}\n")
    make(root, TOML, "[volumes]\n")
    folder = Path("srv/data")
    made.will_make_folder(str(folder))
    (root / folder).mkdir(parents=True)
    assert set(made.states().values()) == {FileState.WRITTEN}
    made.take_back()
    assert not (root / RES).exists()
    assert not (root / TOML).exists()
    assert not (root / folder).exists()
    assert made.states() == {}
    made.take_back()


def test_what_was_there_comes_back_whatever_was_written_between(root: Path) -> None:
    (root / TOML).write_text("the other host's\n")
    (root / TOML).chmod(0o640)
    made = make(root, TOML, "first\n")
    (root / TOML).chmod(0o644)
    make(root, TOML, "second\n")
    made.take_back()
    assert stat.S_IMODE((root / TOML).stat().st_mode) == 0o640
    assert (root / TOML).read_text() == "the other host's\n"


def test_noted_and_not_written_yet(root: Path) -> None:
    """Ended between the note and the file."""
    (root / TOML).write_text("before\n")
    made = MadeFiles("data", root)
    made.will_write(TOML, b"after\n")
    made.will_write(RES, b"x\n")
    made.will_make_folder("/srv/data")
    assert made.states() == {
        str(TOML): FileState.WRITTEN,
        str(RES): FileState.GONE,
        "srv/data": FileState.GONE,
    }
    made.take_back()
    assert (root / TOML).read_text() == "before\n"


def test_what_somebody_has_changed_stays_and_so_does_all_the_rest(root: Path) -> None:
    made = make(root, RES, "resource data {}\n")
    make(root, TOML, "[volumes]\n")
    (root / TOML).write_text("edited\n")
    assert made.states()[str(TOML)] is FileState.CHANGED
    with pytest.raises(Refused) as caught:
        made.take_back()
    assert caught.value.code == "CREATION_CHANGED"
    assert (root / RES).exists()
    assert (root / TOML).read_text() == "edited\n"


def test_a_folder_that_was_there_or_holds_something_stays(root: Path) -> None:
    there, used = Path("srv/there"), Path("srv/used")
    (root / there).mkdir(parents=True)
    made = MadeFiles("data", root)
    made.will_make_folder(str(there))
    made.will_make_folder(str(used))
    (root / used).mkdir()
    (root / used / "file").write_text("")
    made.take_back()
    assert (root / there).is_dir()
    assert (root / used / "file").exists()


def test_what_cannot_be_read_is_told(root: Path) -> None:
    made = MadeFiles("data", root)
    (root / RES).mkdir()
    with pytest.raises(OperationFailed, match="Is a directory"):
        made.will_write(RES, b"")
    (root / RES).rmdir()
    make(root, RES, "x")
    (root / RES).unlink()
    (root / RES).mkdir()
    with pytest.raises(OperationFailed, match="Is a directory"):
        made.states()
    record = root / "var/lib/storage-agent/made-data"
    for content in ("{", "[]", '{"a": {}}'):
        record.write_text(content)
        with pytest.raises(OperationFailed) as caught:
            made.states()
        assert caught.value.code == "CREATION_DAMAGED"
    record.unlink()
    record.mkdir()
    with pytest.raises(OperationFailed):
        made.states()


def test_what_cannot_be_written_or_removed_is_told(root: Path) -> None:
    state = root / "var/lib/storage-agent"
    state.parent.mkdir(parents=True)
    state.write_text("")
    with pytest.raises(OperationFailed):
        MadeFiles("data", root).will_write(RES, b"")
    state.unlink()
    made = make(root, RES, "x")
    (root / RES).unlink()
    (root / RES.parent).rmdir()
    (root / RES.parent).write_text("")
    with pytest.raises(OperationFailed):
        made.states()
