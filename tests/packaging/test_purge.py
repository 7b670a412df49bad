"""Purge removes the agent's state only from a host without volumes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.packaging.conftest import Run


@pytest.fixture
def host(tmp_path: Path) -> Path:
    for folder in ("var/lib/storage-agent", "etc/drbd.d", "etc/storage-agent/agent.d"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "etc/mdadm/mdadm.conf.d").mkdir(parents=True)
    (tmp_path / "var/lib/storage-agent/epoch").write_text("7\n")
    (tmp_path / "etc/drbd.d/r0.res").write_text("resource r0 { }\n")
    return tmp_path


def purge(control: Path, host: Path, run: Run) -> str:
    """The package's own part of postrm, on that tree. Gives its stderr."""
    own = (control / "postrm").read_text().partition("# Automatically added")[0]
    for folder in ("/etc/", "/var/"):
        own = own.replace(f" {folder}", f" {host}{folder}")
    ended = run("sh", "-c", own, "postrm", "purge")
    assert ended.returncode == 0, ended.stderr
    return ended.stderr


def test_a_host_without_volumes_is_left_clean(control: Path, host: Path, run: Run) -> None:
    (host / "etc/storage-agent/authorized_keys").write_text("x\n")
    (host / "etc/storage-agent/pair").mkdir()
    (host / "etc/storage-agent/pair/data.secret").write_text("x\n")
    assert purge(control, host, run) == ""
    assert not (host / "etc/storage-agent/pair").exists()
    assert not (host / "var/lib/storage-agent").exists()
    assert not (host / "etc/storage-agent/authorized_keys").exists()
    assert (host / "etc/drbd.d/r0.res").exists()


@pytest.mark.parametrize(
    "file",
    [
        "etc/drbd.d/storage-agent-home.res",
        "etc/mdadm/mdadm.conf.d/storage-agent.conf",
        "etc/storage-agent/agent.toml",
        "etc/storage-agent/agent.d/home.toml",
    ],
)
def test_a_volume_keeps_its_state(control: Path, host: Path, run: Run, file: str) -> None:
    (host / file).write_text("x\n")
    assert str(host / file) in purge(control, host, run)
    assert (host / file).exists()
    assert (host / "var/lib/storage-agent/epoch").read_text() == "7\n"
