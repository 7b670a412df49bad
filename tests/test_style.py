"""ruff, mypy and shellcheck as tests: `pytest` is the one command."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
WITH_SCRIPTS = ("scripts", "libexec", "debian", ".ci", "tests")


def check(*argv: str | Path) -> None:
    """Passes if the tool finds nothing; its findings are the failure."""
    ended = subprocess.run(
        argv, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if ended.returncode != 0:
        pytest.fail(f"{Path(argv[0]).name}:\n{ended.stdout}{ended.stderr}", pytrace=False)


def shell_scripts() -> list[Path]:
    files = (path for folder in WITH_SCRIPTS for path in (ROOT / folder).rglob("*"))
    return sorted(path for path in files if path.is_file() and is_shell_script(path))


def is_shell_script(path: Path) -> bool:
    with path.open("rb") as file:
        first_line = file.readline(64)
    return first_line.startswith(b"#!") and first_line.split()[-1] in (
        b"#!/bin/sh",
        b"#!/bin/bash",
        b"sh",
        b"bash",
    )


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
    found = {str(path.relative_to(ROOT)) for path in shell_scripts()}
    assert {"scripts/test", "scripts/build-deb", "libexec/fence-peer", ".ci/run"} <= found


@pytest.mark.parametrize("script", shell_scripts(), ids=lambda p: str(p.relative_to(ROOT)))
def test_shellcheck_finds_nothing(script: Path) -> None:
    check("shellcheck", "--", script)
