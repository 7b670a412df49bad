"""A serving host keeps its package, unless its name is given; an upgrade is never in the way."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.packaging.conftest import Run

IDLE = "version: 8.4.11\n 0: cs:Connected ro:Secondary/Primary ds:UpToDate/UpToDate C r-----\n"
SERVING = IDLE.replace("Secondary/Primary", "Primary/Secondary")
MOUNTED = "/dev/vda1 / ext4 rw 0 0\n/dev/drbd0 /srv/data ext4 rw 0 0\n"
WORD = "STORAGE_AGENT_REMOVE_WHILE_SERVING"


class Host:
    """Runs the package's own part of prerm on a host where storage-agent is a stub."""

    def __init__(self, control: Path, folder: Path, run: Run) -> None:
        own = (control / "prerm").read_text().partition("# Automatically added")[0]
        self.own = own.replace(" /proc/", f" {folder}/proc/")
        self.folder = folder
        self.run = run
        (folder / "bin").mkdir()
        (folder / "proc").mkdir()
        self.kernel(IDLE, "/dev/vda1 / ext4 rw 0 0\n")

    def kernel(self, drbd: str, mounts: str = "") -> None:
        (self.folder / "proc/drbd").write_text(drbd)
        (self.folder / "proc/mounts").write_text(mounts)

    def agent(self, status: int, said: str = "") -> None:
        """Answers so, and only if it is asked whether it serves."""
        stub = self.folder / "bin/storage-agent"
        stub.write_text(
            f'#!/bin/sh\n[ "$*" = "safe-to-terminate --serving" ] || exit 0\n'
            f"echo '{said}'\nexit {status}\n"
        )
        stub.chmod(0o755)

    def prerm(self, action: str = "remove", **env: str) -> subprocess.CompletedProcess[str]:
        given = (f"{name}={value}" for name, value in env.items())
        path = f"PATH={self.folder / 'bin'}:/usr/bin:/bin"
        return self.run("env", path, *given, "sh", "-c", self.own, "prerm", action)


@pytest.fixture
def host(control: Path, tmp_path: Path, run: Run) -> Host:
    return Host(control, tmp_path, run)


def test_a_host_that_serves_nobody_lets_it_go(host: Host) -> None:
    host.agent(0, "nobody is served")
    done = host.prerm()
    assert (done.returncode, done.stderr) == (0, "")


def test_a_serving_host_keeps_it_and_says_who_is_served(host: Host) -> None:
    host.agent(3, "clients: 10.9.0.21:900 (9 opens, 3 locks)")
    done = host.prerm()
    assert done.returncode == 1
    assert "10.9.0.21:900 (9 opens, 3 locks)" in done.stderr
    assert "storage-agent demote VOLUME" in done.stderr
    assert f"env {WORD}={os.uname().nodename} apt-get remove storage-agent" in done.stderr


def test_only_the_name_of_this_host_is_a_word(host: Host) -> None:
    host.agent(3, "alpha is Primary")
    for other in ("1", "yes", "another-host", ""):
        assert host.prerm(**{WORD: other}).returncode == 1
    done = host.prerm(**{WORD: os.uname().nodename})
    assert done.returncode == 0
    assert "alpha is Primary" in done.stderr


@pytest.mark.parametrize("status", [1, 4, 124, 127])
@pytest.mark.parametrize(
    ("drbd", "mounts", "ends"),
    [(IDLE, "", 0), (SERVING, "", 1), (IDLE, MOUNTED, 1), ("", "", 0)],
    ids=["idle", "primary", "mounted", "no DRBD"],
)
def test_an_agent_that_cannot_tell_leaves_it_to_the_kernel(
    host: Host, status: int, drbd: str, mounts: str, ends: int
) -> None:
    host.agent(status, "Traceback")
    host.kernel(drbd, mounts)
    done = host.prerm()
    assert done.returncode == ends
    assert ("Traceback" in done.stderr) is bool(ends)


@pytest.mark.parametrize("action", ["upgrade", "deconfigure", "failed-upgrade"])
def test_an_upgrade_is_not_asked_about(host: Host, action: str) -> None:
    host.agent(3, "alpha is Primary")
    done = host.prerm(action)
    assert (done.returncode, done.stderr) == (0, "")
