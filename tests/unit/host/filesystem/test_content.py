"""Which filesystem begins on a device: the first 4 KiB of what mkfs has made, and of what not."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from storage_agent.host.filesystem.content import (
    START_BYTES,
    ContentReader,
    is_pristine,
    parse_content,
)
from storage_agent.model.filesystem import Content
from tests.unit.fakes import FILESYSTEM_UUID

RECORDED = Path(__file__).parents[3] / "data/filesystem-start"
EXT4 = (RECORDED / "ext4-1.47.0-64MiB").read_bytes()
XFS = (RECORDED / "xfs-6.1.0-320MiB").read_bytes()


@pytest.mark.parametrize(("start", "kind", "mib"), [(EXT4, "ext4", 64), (XFS, "xfs", 320)])
def test_what_mkfs_has_made(start: bytes, kind: str, mib: int) -> None:
    wanted = Content(type=kind, uuid=FILESYSTEM_UUID, size_bytes=mib << 20)
    assert parse_content(start) == wanted


def test_more_blocks_than_fit_in_32_bits() -> None:
    start = bytearray(EXT4)
    struct.pack_into("<I", start, 1024 + 0x150, 1)
    large, small = parse_content(bytes(start)), parse_content(EXT4)
    assert large is not None
    assert small is not None
    block_bytes = 1024 << EXT4[1024 + 0x18]
    assert large.size_bytes == small.size_bytes + (block_bytes << 32)


def test_the_upper_half_counts_only_where_the_filesystem_has_one() -> None:
    start = bytearray(EXT4)
    struct.pack_into("<I", start, 1024 + 0x150, 1)
    (features,) = struct.unpack_from("<I", start, 1024 + 0x60)
    struct.pack_into("<I", start, 1024 + 0x60, features & ~0x80)
    assert parse_content(bytes(start)) == parse_content(EXT4)


@pytest.mark.parametrize("start", [bytes(START_BYTES), b"XFS?" * 1024, b"\xff" * START_BYTES])
def test_anything_else_is_none(start: bytes) -> None:
    assert parse_content(start) is None


def test_it_is_read_from_the_device_itself(tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/md127").write_bytes(EXT4)
    found = ContentReader(tmp_path).read("/dev/md127")
    assert found is not None
    assert found.uuid == FILESYSTEM_UUID


def test_a_device_that_is_shorter_than_a_page_has_none(tmp_path: Path) -> None:
    (tmp_path / "short").write_bytes(EXT4[:512])
    assert ContentReader(tmp_path).read("/short") is None


def test_a_new_filesystem_is_pristine_and_a_used_one_is_not(tmp_path: Path) -> None:
    assert is_pristine(EXT4) is True
    assert is_pristine(XFS) is True
    assert is_pristine(bytes(START_BYTES)) is None
    mounted, used = bytearray(EXT4), bytearray(XFS)
    struct.pack_into("<I", mounted, 1024 + 0x2C, 1_700_000_000)
    struct.pack_into(">Q", used, 136, 1)
    assert is_pristine(bytes(mounted)) is False
    assert is_pristine(bytes(used)) is False
    (tmp_path / "md127").write_bytes(mounted)
    assert ContentReader(tmp_path).is_pristine("/md127") is False


def test_a_mkfs_that_was_interrupted_has_made_nothing() -> None:
    """mkfs.xfs says so in its superblock, which it writes first; mke2fs writes its own last."""
    start = bytearray(XFS)
    start[126] = 1
    assert parse_content(bytes(start)) is None
    assert is_pristine(bytes(start)) is None


def test_no_device_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        ContentReader(tmp_path).read("/dev/md127")
