"""host/volume/look.py with real mounts; a real volume is read in every lab promotion."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from storage_agent.host.volume import look
from storage_agent.host.volume.look import look_at_marker
from storage_agent.model.errors import CommandTimeout, OperationFailed

pytestmark = pytest.mark.processes
MOUNTS = Path("/proc/self/mountinfo")


def test_a_filesystem_that_was_never_served(tmp_path: Path) -> None:
    before = MOUNTS.read_text()
    (tmp_path / "ours").touch()
    assert look_at_marker("none", "tmpfs", str(tmp_path), timeout_s=10) is None
    assert MOUNTS.read_text() == before
    assert os.listdir(tmp_path) == ["ours"]


def test_what_cannot_be_mounted_is_named(tmp_path: Path) -> None:
    with pytest.raises(OperationFailed, match=r"/dev/null.*Block device required") as caught:
        look_at_marker("/dev/null", "ext4", str(tmp_path), timeout_s=10)
    assert caught.value.code == "MOUNT_FAILED"
    with pytest.raises(OperationFailed, match="No such file or directory"):
        look_at_marker("none", "tmpfs", str(tmp_path / "gone"), timeout_s=10)


def test_a_look_that_does_not_return_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(look, "_look", lambda *_: time.sleep(60))
    with pytest.raises(CommandTimeout, match=r"/dev/drbd0: not done within 0\.2 s"):
        look_at_marker("/dev/drbd0", "ext4", str(tmp_path), timeout_s=0.2)
