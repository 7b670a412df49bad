"""The package, built once for all tests of this folder, and its parts."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

Run = Callable[..., "subprocess.CompletedProcess[str]"]
Build = Callable[..., Path]


def run_tool(*argv: str | Path) -> subprocess.CompletedProcess[str]:
    """Never raises for an exit status: the test judges it."""
    return subprocess.run(
        argv,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.fixture(scope="session")
def run() -> Run:
    return run_tool


@pytest.fixture(scope="session")
def build() -> Build:
    """scripts/build-deb with arguments; the path it prints."""

    def build_deb(*arguments: str | Path) -> Path:
        ended = run_tool(ROOT / "scripts/build-deb", *arguments)
        assert ended.returncode == 0, ended.stderr
        return Path(ended.stdout.splitlines()[-1])

    return build_deb


@pytest.fixture(scope="session")
def deb(build: Build) -> Path:
    return build()


@pytest.fixture(scope="session")
def tree(deb: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that the package installs."""
    folder = tmp_path_factory.mktemp("tree")
    assert run_tool("dpkg-deb", "--extract", deb, folder).returncode == 0
    return folder


@pytest.fixture(scope="session")
def control(deb: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """control, conffiles and the maintainer scripts."""
    folder = tmp_path_factory.mktemp("control")
    assert run_tool("dpkg-deb", "--control", deb, folder).returncode == 0
    return folder
