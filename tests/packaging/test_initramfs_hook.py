"""The initramfs hook takes our part of mdadm's configuration along."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.packaging.conftest import ROOT

HOOK = ROOT / "debian/initramfs-tools/hooks/storage-agent"
FILE = "etc/mdadm/mdadm.conf.d/storage-agent.conf"


def run_hook(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {
        "PATH": "/usr/bin:/bin",
        "DESTDIR": str(root / "initramfs"),
        "STORAGE_AGENT_ROOT": str(root),
    }
    return subprocess.run(
        [HOOK, *arguments], env=env, capture_output=True, text=True, timeout=10, check=True
    )


def test_our_lines_are_copied(tmp_path: Path) -> None:
    (tmp_path / FILE).parent.mkdir(parents=True)
    (tmp_path / FILE).write_text("ARRAY <ignore> UUID=1:2:3:4\n")
    run_hook(tmp_path)
    assert (tmp_path / "initramfs" / FILE).read_text() == "ARRAY <ignore> UUID=1:2:3:4\n"


def test_a_host_without_volumes_adds_nothing(tmp_path: Path) -> None:
    run_hook(tmp_path)
    assert not (tmp_path / "initramfs").exists()


def test_it_comes_after_mdadms(tmp_path: Path) -> None:
    assert run_hook(tmp_path, "prereqs").stdout == "mdadm\n"
    assert not (tmp_path / "initramfs").exists()
