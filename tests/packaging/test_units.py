"""The systemd units: understood by systemd, exposed no more than they must be, and safe for
volumes that are being served while the package changes."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.packaging.conftest import Run, Unit, read_unit

UNITS = "lib/systemd/system"
HOST_UNITS = Path("/lib/systemd/system")
# Ten times the score of `systemd-analyze security`; drbd.service and nfs-server have 95 and more.
# What is left is what the work takes: root, the host's network, its links and its block devices.
# That they keep what they need: tests/unit/host/test_units.py. Lower them, never raise.
MAX_EXPOSURE = {
    "storage-agentd.service": 42,
    "storage-agent-nfs@.service": 47,
    "storage-agent-shutdown.service": 15,
}

# Debian's, as far as our drop-in changes it.
DRBD_SERVICE = """\
[Unit]
Description=DRBD
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/lib/drbd/scripts/drbd start
ExecStop=/lib/drbd/scripts/drbd stop
"""


def unit(tree: Path, name: str) -> Unit:
    return read_unit(tree / UNITS / name)


@pytest.fixture(scope="module")
def root(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package's files, Debian's own units and the programs they name: what `verify` reads."""
    folder = tmp_path_factory.mktemp("root") / "root"
    shutil.copytree(tree, folder, symlinks=True)
    for source in HOST_UNITS.iterdir():
        target = folder / UNITS / source.name
        if source.is_file() and not target.exists():
            shutil.copyfile(source, target)
    (folder / UNITS / "drbd.service").write_text(DRBD_SERVICE)
    for program in (
        "usr/bin/python3",
        "bin/kill",
        "bin/true",
        "sbin/modprobe",
        "lib/drbd/scripts/drbd",
    ):
        path = folder / program
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
    return folder


@pytest.mark.parametrize(
    "name",
    [
        "storage-agentd.service",
        "storage-agent.socket",
        "storage-agent-nfs@home.service",
        "storage-agent-shutdown.service",
        "drbd.service",
    ],
)
def test_systemd_understands_it(root: Path, run: Run, name: str) -> None:
    ended = run("systemd-analyze", f"--root={root}", "--man=no", "verify", name)
    ours = [line for line in ended.stderr.splitlines() if "storage-agent" in line or name in line]
    assert ours == []
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("name", sorted(MAX_EXPOSURE))
def test_it_is_exposed_no_more_than_it_must_be(tree: Path, run: Run, name: str) -> None:
    ended = run(
        "systemd-analyze",
        "security",
        "--offline=true",
        f"--threshold={MAX_EXPOSURE[name]}",
        tree / UNITS / name,
    )
    assert ended.returncode == 0, ended.stdout[-400:]


@pytest.mark.parametrize("name", ["storage-agentd.service", "storage-agent-nfs@.service"])
def test_a_stopped_service_takes_no_shared_folder_with_it(tree: Path, name: str) -> None:
    """RuntimeDirectory= is removed when its service stops, with what the others keep there."""
    service = unit(tree, name)
    if service.values("RuntimeDirectory"):
        assert service.values("RuntimeDirectoryPreserve") == ["yes"]


def test_a_servers_life_is_its_own(tree: Path) -> None:
    """No stop, restart or failure of the daemon reaches a volume's NFS server."""
    server = unit(tree, "storage-agent-nfs@.service")
    for setting in ("Requires", "Requisite", "BindsTo", "PartOf", "Conflicts"):
        assert [v for v in server.values(setting) if "storage-agent" in v] == []
    daemon = unit(tree, "storage-agentd.service")
    for setting in ("PropagatesStopTo", "Conflicts", "Upholds"):
        assert daemon.values(setting) == []
    assert server.values("WantedBy") == [], "nobody but the agent starts a volume's server"


@pytest.mark.parametrize("name", sorted(MAX_EXPOSURE))
def test_start_and_stop_are_bounded(tree: Path, name: str) -> None:
    service = unit(tree, name)
    for setting in ("TimeoutStartSec", "TimeoutStopSec"):
        assert service.values(setting), f"{setting}= is not given"
        assert re.fullmatch(r"\d+(s|min)?", service.values(setting)[-1])


def test_at_a_shutdown_it_stops_before_all_that_it_needs(tree: Path) -> None:
    """Stopping goes the other way round than starting: what it comes after outlives it."""
    last = unit(tree, "storage-agent-shutdown.service")
    after = set(" ".join(last.values("After")).split())
    assert after >= {"storage-agentd.service", "storage-agent.socket", "network.target"}
    assert "storage-agent-shutdown.service" in unit(tree, "storage-agent-nfs@.service").values(
        "Before"
    )
    assert last.values("RemainAfterExit") == ["yes"], "what is not active is not stopped"
    for setting in ("Requires", "Requisite", "BindsTo", "PartOf"):
        assert last.values(setting) == [], "no stop of the daemon may reach it"


@pytest.mark.parametrize(
    "name", ["storage-agentd.service", "storage-agent.socket", "storage-agent-shutdown.service"]
)
def test_boot_waits_for_nothing_of_ours(tree: Path, name: str) -> None:
    ours = unit(tree, name)
    assert ours.values("DefaultDependencies") in ([], ["yes"])
    assert ours.values("RequiredBy") == []
    for before in ours.values("Before"):
        assert not re.search(r"multi-user|network-online|ssh|local-fs|sysinit|basic", before)


def test_a_daemon_that_dies_comes_back(tree: Path) -> None:
    service = unit(tree, "storage-agentd.service")
    assert service.values("Type") == ["notify"]
    assert service.values("Restart")[-1:] in (["on-failure"], ["always"])


def test_drbd_service_is_skipped_where_all_is_ours_and_else_left_as_it_is(tree: Path) -> None:
    drop_in = unit(tree, "drbd.service.d/storage-agent.conf")
    assert drop_in.lines == [
        ("ExecCondition", "/usr/lib/storage-agent/other-drbd-resources"),
    ]
