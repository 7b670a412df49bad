"""The file with a volume's secret: made once, and used only where it is root's alone."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from storage_agent.host.pair.secret import has_secret, make_secret, read_secret
from storage_agent.model.errors import OperationFailed

FILE = "etc/storage-agent/pair/data.secret"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "etc/storage-agent").mkdir(parents=True)
    return tmp_path


def test_it_is_made_once_and_is_nobody_elses(root: Path) -> None:
    assert read_secret("data", root) is None
    assert not has_secret("data", root)
    assert make_secret("data", root)
    path = root / FILE
    made = path.read_text()
    assert (path.stat().st_mode & 0o7777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert read_secret("data", root) == bytes.fromhex(made)
    assert not make_secret("data", root)
    assert path.read_text() == made
    assert make_secret("logs", root)
    assert read_secret("logs", root) != read_secret("data", root)


def test_of_many_at_once_one_makes_it(root: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        made = list(pool.map(lambda _: make_secret("data", root), range(16)))
    assert sorted(made) == [False] * 15 + [True]
    assert [file.name for file in (root / FILE).parent.iterdir()] == ["data.secret"]


@pytest.mark.parametrize(
    ("content", "mode", "why"),
    [
        ("0" * 64, 0o640, "not root's alone"),
        ("0" * 64, 0o604, "not root's alone"),
        ("", 0o600, "64 hexadecimal"),
        ("0" * 63 + "\n", 0o600, "64 hexadecimal"),
        ("0" * 64 + "\n\n", 0o600, "64 hexadecimal"),
        ("G" * 64, 0o600, "64 hexadecimal"),
    ],
)
def test_another_file_is_no_secret(root: Path, content: str, mode: int, why: str) -> None:
    path = root / FILE
    path.parent.mkdir()
    path.write_text(content)
    path.chmod(mode)
    with pytest.raises(OperationFailed, match=why) as caught:
        read_secret("data", root)
    assert caught.value.code == "PAIR_SECRET_UNUSABLE"
    assert has_secret("data", root)


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_what_is_no_plain_file_is_not_read(root: Path, kind: str) -> None:
    path = root / FILE
    path.parent.mkdir()
    if kind == "link":
        (root / "elsewhere").write_text("0" * 64)
        path.symlink_to(root / "elsewhere")
    elif kind == "pipe":
        os.mkfifo(path, 0o600)
    else:
        path.mkdir()
    with pytest.raises(OperationFailed):
        read_secret("data", root)


def test_where_it_cannot_be_written_that_is_said(root: Path) -> None:
    (root / "etc/storage-agent/pair").write_text("in the way")
    with pytest.raises(OperationFailed) as caught:
        make_secret("data", root)
    assert caught.value.code == "PAIR_SECRET_UNUSABLE"
