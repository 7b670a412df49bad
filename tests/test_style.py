"""ruff, mypy, shellcheck and the size of files as tests: `pytest` is the one command."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
WITH_SCRIPTS = ("scripts", "libexec", "debian", ".ci", "tests")
WITH_PYTHON = ("storage_agent", "scripts", "libexec", "tests")
MAX_LINES = 400


def check(*argv: str | Path) -> None:
    """Passes if the tool finds nothing; its findings are the failure."""
    ended = subprocess.run(
        argv, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if ended.returncode != 0:
        pytest.fail(f"{Path(argv[0]).name}:\n{ended.stdout}{ended.stderr}", pytrace=False)


def files_in(folders: tuple[str, ...]) -> list[Path]:
    files = (path for folder in folders for path in (ROOT / folder).rglob("*"))
    return sorted(path for path in files if path.is_file())


def interpreter(path: Path) -> str:
    """What its first line names, like `bash`; empty where it names none."""
    with path.open("rb") as file:
        first_line = file.readline(64)
    words = first_line.split() if first_line.startswith(b"#!") else []
    return Path(words[-1].decode()).name if words else ""


def shell_scripts() -> list[Path]:
    return [path for path in files_in(WITH_SCRIPTS) if interpreter(path) in ("sh", "bash")]


def python_scripts() -> list[Path]:
    """Those without a suffix."""
    files = (path for path in files_in(WITH_PYTHON) if not path.suffix)
    return [path for path in files if interpreter(path) == "python3"]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def tool(name: str) -> Path:
    """A tool of the environment that runs the tests, whatever else is in PATH."""
    return Path(sys.prefix) / "bin" / name


def test_ruff_finds_nothing() -> None:
    check(tool("ruff"), "check", ".")


def test_files_are_formatted() -> None:
    check(tool("ruff"), "format", "--check", ".")


def test_types_are_right() -> None:
    check(sys.executable, "-m", "mypy")


def test_shell_scripts_are_found() -> None:
    found = {name_of(path) for path in shell_scripts()}
    assert {"scripts/test", "scripts/build-deb", "libexec/fence-peer", ".ci/run"} <= found


@pytest.mark.parametrize("script", shell_scripts(), ids=name_of)
def test_shellcheck_finds_nothing(script: Path) -> None:
    check("shellcheck", "--", script)


def test_ruff_knows_the_scripts_without_a_suffix() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    known = settings["tool"]["ruff"]["extend-include"]
    assert known == [name_of(path) for path in python_scripts()]


def test_files_are_short() -> None:
    python = [p for p in files_in(WITH_PYTHON) if p.suffix == ".py"] + python_scripts()
    lengths = {name_of(path): len(path.read_text().splitlines()) for path in python}
    assert {name: n for name, n in lengths.items() if n > MAX_LINES} == {}
