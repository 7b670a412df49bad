"""Files that cannot be read, or not be believed."""

from __future__ import annotations

import os

import pytest

from storage_agent.model.errors import ConfigurationError
from tests.unit.configuration.files import BASE, Files

# -- files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a = 1\nb = = 2\n", "2: not TOML: Invalid value"),
        ("a = 1\na = 2\n", "2: not TOML: Cannot overwrite a value"),
        ('a = 1\nb = "x\n', "2: not TOML: Illegal character '\\n'"),
        ("a = 1\nb = [\n", "2: not TOML: "),
        ("a = " + "[" * 5000, "1: nested too deeply"),
        ("\ufeffa = 1\n", "1: begins with a byte order mark"),
    ],
)
def test_not_toml(files: Files, text: str, problem: str) -> None:
    (found,) = files.problems(text)
    assert found.startswith(problem)


def test_not_text(files: Files) -> None:
    files.write(BASE)
    (files.paths.folder / "a.toml").write_bytes(b"# one\n# \xff\n")
    assert files.problems() == ["a.toml:2: not UTF-8 text"]


def test_no_file(files: Files) -> None:
    (problem,) = files.problems()
    assert problem.startswith("1: there is no such file; begin with /usr/share/doc/")
    with pytest.raises(ConfigurationError, match=r"agent\.toml:1: there is no such file"):
        files.load()


def test_no_folder(files: Files) -> None:
    files.paths.folder.rmdir()
    assert "data" in files.load(BASE).volumes


@pytest.mark.parametrize("mode", [0o666, 0o664, 0o646])
def test_files_that_others_may_write(files: Files, mode: int) -> None:
    files.write(BASE).chmod(mode)
    assert files.problems() == [f"1: others may write it (mode {mode:04o}): chmod go-w"]
    files.write(BASE)
    files.paths.folder.chmod(0o777)
    (problem,) = files.problems()
    assert "others may write it" in problem


def test_files_that_are_none(files: Files) -> None:
    files.write(BASE)
    (files.paths.folder / "a.toml").mkdir()
    os.mkfifo(files.paths.folder / "b.toml")
    (files.paths.folder / "c.toml").symlink_to("nowhere")
    assert [p.split(": ", 1)[1] for p in files.problems()] == [
        "not a regular file",
        "not a regular file",
        "No such file or directory",
    ]


def test_a_file_that_is_too_large(files: Files) -> None:
    files.write("#" * (1 << 20) + "\n")
    assert files.problems() == ["1: larger than 1048576 bytes"]
