"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage_agent.host.system.files import open_folder, replace_file, replace_in


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """What was there before."""
    made = tmp_path / "file"
    made.write_text("before")
    return made


@contextlib.contextmanager
def largest_file(size_bytes: int) -> Iterator[None]:
    """As on a full disk, a longer write fails in the middle."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("content", [b"", b"after", bytes(100_000)])
def test_replaced_whole_with_nothing_beside(file: Path, content: bytes) -> None:
    replace_file(file, content)
    assert file.read_bytes() == content
    assert names(file.parent) == ["file"]


def test_made_where_there_was_none(tmp_path: Path) -> None:
    replace_file(tmp_path / "new", b"after")
    assert (tmp_path / "new").read_bytes() == b"after"


def test_whoever_has_it_open_reads_the_old_one_to_its_end(file: Path) -> None:
    with file.open() as opened:
        replace_file(file, b"after, and longer")
        assert opened.read() == "before"


@pytest.mark.parametrize(
    ("mode", "umask", "made"),
    [(0o644, 0o022, 0o644), (0o644, 0o077, 0o600), (0o600, 0o022, 0o600)],
)
def test_mode(file: Path, mode: int, umask: int, made: int) -> None:
    file.chmod(0o777)
    before = os.umask(umask)
    try:
        replace_file(file, b"after", mode=mode)
    finally:
        os.umask(before)
    assert file.stat().st_mode & 0o777 == made


def test_a_link_is_replaced_and_not_followed(file: Path) -> None:
    link = file.with_name("link")
    link.symlink_to(file)
    replace_file(link, b"after")
    assert not link.is_symlink()
    assert file.read_text() == "before"


def test_a_write_that_fails_leaves_the_old_one_alone(file: Path) -> None:
    with largest_file(4), pytest.raises(OSError, match="File too large"):
        replace_file(file, b"after")
    assert file.read_text() == "before"
    assert names(file.parent) == ["file"]


def test_a_rename_that_fails_leaves_nothing_beside(tmp_path: Path) -> None:
    (tmp_path / "file").mkdir()
    with pytest.raises(IsADirectoryError):
        replace_file(tmp_path / "file", b"after")
    assert names(tmp_path) == ["file"]


def test_without_a_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        replace_file(tmp_path / "none/file", b"after")


def test_in_a_folder_that_is_out_of_sight(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    with open_folder(tmp_path / "here") as folder:
        (tmp_path / "here").rename(tmp_path / "away")
        replace_in(folder, "file", b"after")
    assert (tmp_path / "away/file").read_bytes() == b"after"


def test_no_descriptor_is_left_open(file: Path) -> None:
    before = os.listdir("/proc/self/fd")
    replace_file(file, b"after")
    file.unlink()
    file.mkdir()
    with pytest.raises(IsADirectoryError):
        replace_file(file, b"after")
    assert os.listdir("/proc/self/fd") == before
