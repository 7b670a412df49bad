"""Every branch of what decides and of what acts on it is taken by that room's own unit tests.

A measure of what was run, not of what was asserted: the simulation's seeded bugs show that. It
sees lines and the jumps between them, not each operand of `and` and `or`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# Also where other work has most of the machine.
TIMEOUT_S = 900


@pytest.mark.parametrize("room", ["policy", "engine"])
def test_every_branch_is_taken(room: str, tmp_path: Path) -> None:
    environment = {**os.environ, "COVERAGE_FILE": str(tmp_path / "coverage")}

    def coverage(*argv: str) -> None:
        ended = subprocess.run(
            [sys.executable, "-m", "coverage", *argv],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        if ended.returncode != 0:
            lines = (line for line in ended.stdout.splitlines() if not line.endswith("100%"))
            pytest.fail("\n".join((f"coverage {argv[0]}:", *lines)), pytrace=False)

    # With --source, a module that no test imports counts as well.
    source = f"--source=storage_agent.{room}"
    coverage("run", source, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"tests/unit/{room}")
    coverage("report")
