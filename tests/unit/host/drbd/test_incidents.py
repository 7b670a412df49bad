"""The handler's files: read strictly, answered atomically."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from storage_agent.host.drbd.incidents import last_change_ns, read_incident, write_answer
from storage_agent.model.errors import OperationFailed, ParseError
from storage_agent.model.incident import Incident, IncidentAnswer
from tests.unit.incidents import NONCE, incident

BOOT = "4e4c0a0e-4a5c-4b8f-9f7e-0a4a6f3f9d10"
LINE = f"incident {BOOT} {NONCE} 1700000000 77\n"
OPEN = incident(boot_id=BOOT)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "run/storage-agent/incidents").mkdir(parents=True)
    (tmp_path / "proc/77").mkdir(parents=True)
    (tmp_path / "proc/77/comm").write_text("fence-peer\n")
    return tmp_path


def put(root: Path, text: str, mode: int = 0o600) -> Path:
    path = root / "run/storage-agent/incidents/data"
    path.write_text(text)
    path.chmod(mode)
    return path


def answered(answer: str, epoch: int) -> Incident:
    return incident(answer, epoch, boot_id=BOOT)


def test_none(root: Path, tmp_path: Path) -> None:
    assert read_incident("data", root) is None
    assert read_incident("data", tmp_path / "nowhere") is None


def test_an_open_one(root: Path) -> None:
    put(root, LINE)
    assert read_incident("data", root) == OPEN
    assert read_incident("other", root) is None


@pytest.mark.parametrize("comm", [None, "bash\n"])
def test_one_that_nobody_waits_for_is_none(root: Path, comm: str | None) -> None:
    put(root, LINE)
    (root / "proc/77/comm").unlink()
    if comm:
        (root / "proc/77/comm").write_text(comm)
    assert read_incident("data", root) is None
    write_answer(answered("deny", 7), root)
    assert read_incident("data", root) == answered("deny", 7)


@pytest.mark.parametrize("answer", ["continue", "deny"])
def test_an_answer_is_read_back(root: Path, answer: str) -> None:
    put(root, LINE)
    before = last_change_ns(root)
    write_answer(answered(answer, 12), root)
    assert read_incident("data", root) == answered(answer, 12)
    assert last_change_ns(root) != before
    path = root / "run/storage-agent/answers/data"
    assert path.read_text() == f"{answer} {BOOT} {NONCE} 12\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(path.parent) == ["data"]


@pytest.mark.parametrize(
    "line", [f"continue {BOOT} other 12\n", f"continue other {NONCE} 12\n", "torn", ""]
)
def test_what_is_no_answer_to_this_one_is_none(root: Path, line: str) -> None:
    put(root, LINE)
    write_answer(answered("continue", 12), root)
    (root / "run/storage-agent/answers/data").write_text(line)
    found = read_incident("data", root)
    assert found is not None
    assert (found.answer, found.epoch) == (IncidentAnswer.NONE, None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        LINE.strip(),
        LINE + LINE,
        "x" * 10_000,
        LINE.replace("77", "7 7"),
        LINE.replace(NONCE, "../../x"),
        LINE.replace(NONCE, "\x1b[2J"),
        LINE.replace("1700000000", "-1"),
        "\udcff",
    ],
)
def test_hostile_content_is_not_taken(root: Path, text: str) -> None:
    path = put(root, "")
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ParseError):
        read_incident("data", root)


def test_a_file_that_others_can_write_is_not_taken(root: Path) -> None:
    put(root, LINE, 0o622)
    with pytest.raises(ParseError):
        read_incident("data", root)


def test_neither_link_nor_pipe_nor_folder_is_taken(root: Path) -> None:
    path = put(root, LINE)
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")
    with pytest.raises(OSError, match="symbolic"):
        read_incident("data", root)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(ParseError):
        read_incident("data", root)


def test_an_answer_that_cannot_be_written_says_so(root: Path) -> None:
    (root / "run/storage-agent/answers").write_text("in the way")
    with pytest.raises(OperationFailed):
        write_answer(answered("continue", 12), root)
