"""Whether DRBD's metadata lie at the end of a device: as recorded (byte 60 of the last 4 KiB of an
array under 8.4.11: 83 74 02 6c), and what keeps from looking."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage_agent.host.drbd.metadata import BLOCK_BYTES, MetadataReader, is_metadata
from tests.unit.host.tree import Tree

SIZE_BYTES = 256 << 10


def device(root: Path, magic: str, *, extra_bytes: int = 0) -> MetadataReader:
    """/dev/md/data -> /dev/md127, a file of 256 KiB and a bit."""
    tree = Tree(root)
    tree.folder("sys/block/md127/holders")
    tree.folder("dev/md")
    end = bytearray(BLOCK_BYTES)
    end[60:64] = bytes.fromhex(magic)
    content = bytes(SIZE_BYTES - BLOCK_BYTES) + bytes(end) + b"\1" * extra_bytes
    (root / "dev/md127").write_bytes(content)
    (root / "dev/md/data").symlink_to("../md127")
    return MetadataReader(root)


@pytest.mark.parametrize(
    ("magic", "expected"),
    [("8374026b", True), ("8374026c", True), ("8374026d", True), ("00000000", False)],
)
def test_the_magic(magic: str, expected: bool) -> None:
    assert is_metadata(bytes(60) + bytes.fromhex(magic) + bytes(4032)) is expected


@pytest.mark.parametrize("extra_bytes", [0, 512])
def test_the_end_of_a_device(tmp_path: Path, extra_bytes: int) -> None:
    reader = device(tmp_path, "8374026c", extra_bytes=extra_bytes)
    assert reader.look("/dev/md/data") is True
    (tmp_path / "dev/md127").write_bytes(bytes(SIZE_BYTES))
    assert reader.look("/dev/md/data") is False


def test_what_drbd_holds_or_is_not_there_is_not_judged(tmp_path: Path) -> None:
    reader = device(tmp_path, "00000000")
    (tmp_path / "sys/block/md127/holders/drbd0").mkdir()
    assert reader.look("/dev/md/data") is None
    assert reader.look("/dev/md/other") is None
