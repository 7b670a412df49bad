"""The name of a volume's network namespace, from within a unit's mounts. As root."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from storage_agent.host.filesystem.mounts import read_mount_lines
from storage_agent.host.system import outside, syscalls
from storage_agent.host.system.runner import Runner
from storage_agent.nfs_server.host_side import HostSide
from storage_agent.nfs_server.namespaces import enter_network
from tests.unit.host.confined import confined

pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for namespaces"),
]
NAME = "/run/netns/storage-agent-data"


def named(by: str) -> bool:
    return any(line.mount.mount_point == NAME for line in read_mount_lines(by, Path("/")))


def unit() -> None:
    host = HostSide("data")
    own = os.readlink("/proc/self/ns/net")
    assert not enter_network("data", Runner())
    made = os.readlink("/proc/self/ns/net")
    assert made != own
    assert named(outside.HOST)
    assert named("self")
    # The supervisor's mounts are of these; the unit's own end with that.
    syscalls.unshare(syscalls.CLONE_NEWNS)
    syscalls.mount("none", "/", flags=syscalls.MS_REC | syscalls.MS_SLAVE)
    host.write_note("a note")
    assert Path("/run/storage-agent/nfs/data.put-right").read_text() == "a note"
    assert enter_network("data", Runner()), "as a supervisor that takes over"
    assert os.readlink("/proc/self/ns/net") == made
    host.clean()
    assert not named(outside.HOST)
    assert not named("self")
    assert not Path(NAME).exists()


def test_it_is_made_and_removed_among_the_hosts_mounts() -> None:
    run = Path("/run")
    confined(unit, read_only=(), before=lambda: syscalls.mount("tmpfs", str(run), "tmpfs"))
