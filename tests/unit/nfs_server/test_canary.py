"""What counts as a proof through NFS, on a file and what is shown as the same one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage_agent.host.volume.reserve import PROBE_BYTES
from storage_agent.nfs_server.canary import exchange


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "probe"
    path.write_bytes(bytes(PROBE_BYTES))
    return path


@pytest.fixture
def probe(file: Path) -> Iterator[int]:
    descriptor = os.open(file, os.O_RDWR)
    yield descriptor
    os.close(descriptor)


def test_the_same_file_passes(file: Path, probe: int) -> None:
    assert exchange(probe, os.fspath(file)) == ""
    assert file.stat().st_size == PROBE_BYTES
    assert file.stat().st_blocks * 512 == PROBE_BYTES, "nothing new was taken"


def test_another_volumes_file_does_not(probe: int, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(bytes(PROBE_BYTES))
    with pytest.raises(OSError, match="what is read is not what lies on the volume"):
        exchange(probe, os.fspath(other))
    assert other.read_bytes() == bytes(PROBE_BYTES)


def test_a_link_is_not_followed(probe: int, tmp_path: Path, file: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(file)
    with pytest.raises(OSError, match="symbolic"):
        exchange(probe, os.fspath(link))
