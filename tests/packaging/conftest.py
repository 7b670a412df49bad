"""The packages, built once for all tests of this folder, and their parts."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
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
def coordinator_deb(deb: Path) -> Path:
    """scripts/build-deb makes both."""
    return deb.with_name(deb.name.replace("storage-agent_", "storage-coordinator_"))


def unpacked(what: str, deb: Path, factory: pytest.TempPathFactory) -> Path:
    """what: `--extract` or `--control`."""
    folder = factory.mktemp(what.strip("-"))
    assert run_tool("dpkg-deb", what, deb, folder).returncode == 0
    return folder


@pytest.fixture(scope="session")
def tree(deb: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that the package installs."""
    return unpacked("--extract", deb, tmp_path_factory)


@pytest.fixture(scope="session")
def control(deb: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """control, conffiles and the maintainer scripts."""
    return unpacked("--control", deb, tmp_path_factory)


@pytest.fixture(scope="session")
def coordinator_tree(coordinator_deb: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpacked("--extract", coordinator_deb, tmp_path_factory)


@pytest.fixture(scope="session")
def coordinator_control(coordinator_deb: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpacked("--control", coordinator_deb, tmp_path_factory)


def files(tree: Path) -> set[str]:
    return {str(p.relative_to(tree)) for p in tree.rglob("*") if p.is_symlink() or p.is_file()}


def field(control: Path, name: str) -> str:
    """One field of the binary package's control file."""
    found = re.search(rf"^{name}: (.*)$", (control / "control").read_text(), re.MULTILINE)
    assert found is not None
    return found[1]


@dataclass(frozen=True)
class Unit:
    """The settings of a unit file, in order; one may occur more than once."""

    lines: list[tuple[str, str]]

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.lines if key == name]


def read_unit(path: Path) -> Unit:
    text = path.read_text().replace("\\\n", " ")
    settings = [line.split("=", 1) for line in text.splitlines() if line[:1] not in ("#", ";", "[")]
    return Unit([(s[0].strip(), s[1].strip()) for s in settings if len(s) == 2])
