"""Scripts of libexec/ run with stand-ins for the host's tools."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

LIBEXEC = Path(__file__).parents[3] / "libexec"

Run = Callable[..., "subprocess.CompletedProcess[str]"]
Tool = Callable[[str, str], None]


@pytest.fixture
def tool(tmp_path: Path) -> Tool:
    """Puts a shell script of that name first in PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()

    def make(name: str, body: str) -> None:
        path = folder / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)

    return make


@pytest.fixture
def run_script(tmp_path: Path) -> Run:
    def run(
        name: str, *arguments: str | Path, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [LIBEXEC / name, *arguments],
            env={"PATH": f"{tmp_path}/bin:/usr/sbin:/usr/bin:/sbin:/bin", **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )

    return run
