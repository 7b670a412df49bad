"""split-brain leaves a note, and decides nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.libexec.conftest import Run, Tool

pytestmark = pytest.mark.processes


def test_it_leaves_a_note_and_a_line(run_script: Run, tool: Tool, tmp_path: Path) -> None:
    tool("logger", f"echo \"$*\" >> '{tmp_path}/log'")
    notes = tmp_path / "notes"
    done = run_script("split-brain", notes, env={"DRBD_RESOURCE": "home"})
    assert (done.returncode, [p.name for p in notes.iterdir()]) == (0, ["home"])
    assert (
        "SPLIT BRAIN: on both hosts: storage-agent split-brain home"
        in (tmp_path / "log").read_text()
    )
    again = run_script("split-brain", notes, env={"DRBD_RESOURCE": "home"})
    assert again.returncode == 0


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "-f", "a b", "a;b"])
def test_a_name_that_is_no_file_name_is_not_used(
    run_script: Run, tool: Tool, tmp_path: Path, name: str
) -> None:
    tool("logger", "exit 0")
    notes = tmp_path / "notes"
    assert run_script("split-brain", notes, env={"DRBD_RESOURCE": name}).returncode == 1
    assert not notes.exists()
