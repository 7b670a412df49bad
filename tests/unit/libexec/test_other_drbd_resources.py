"""other-drbd-resources tells ours from the host's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.libexec.conftest import Run, Tool

pytestmark = pytest.mark.processes

OTHERS = 0
NONE = 1


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """/etc/drbd.d with two resources of ours."""
    folder = tmp_path / "drbd.d"
    folder.mkdir()
    (folder / "global_common.conf").write_text("global { usage-count no; }\n")
    (folder / "storage-agent-home.res").write_text("# ours\nresource home {\n  net { }\n}\n")
    (folder / "storage-agent-mail.res").write_text('resource "mail.2"{\n}\n')
    return folder


@pytest.mark.parametrize("printed", ["", "home", "home mail.2", "home\nmail.2"])
def test_only_ours(run_script: Run, tool: Tool, folder: Path, printed: str) -> None:
    tool("drbdadm", f'[ "$*" = sh-resources ] && echo "{printed}"')
    ended = run_script("other-drbd-resources", folder)
    assert (ended.returncode, ended.stdout) == (NONE, "")


@pytest.mark.parametrize("printed", ["r0 home mail.2", "home\nr0\nmail.2", "r0"])
def test_one_of_the_host(run_script: Run, tool: Tool, folder: Path, printed: str) -> None:
    tool("drbdadm", f'echo "{printed}"')
    ended = run_script("other-drbd-resources", folder)
    assert (ended.returncode, ended.stdout) == (OTHERS, "r0\n")


def test_a_name_that_only_resembles_ours(run_script: Run, tool: Tool, folder: Path) -> None:
    tool("drbdadm", "echo home home2 mail mail.2 ome")
    ended = run_script("other-drbd-resources", folder)
    assert (ended.returncode, ended.stdout) == (OTHERS, "home2\nmail\nome\n")


def test_no_file_of_ours(run_script: Run, tool: Tool, tmp_path: Path) -> None:
    tool("drbdadm", "echo home")
    ended = run_script("other-drbd-resources", tmp_path)
    assert (ended.returncode, ended.stdout) == (OTHERS, "home\n")


def test_where_drbdadm_cannot_tell_drbd_service_runs(
    run_script: Run, tool: Tool, folder: Path
) -> None:
    tool("drbdadm", "echo 'drbd.d/x.res:3: Parse error' >&2; exit 10")
    ended = run_script("other-drbd-resources", folder)
    assert (ended.returncode, ended.stdout) == (OTHERS, "")
    assert "Parse error" in ended.stderr
