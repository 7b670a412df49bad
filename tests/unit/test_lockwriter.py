"""The lab's client programs on a local file: what the scenarios' verdicts rest on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.clients.lockwriter import RECORD_BYTES, Writer, render_record
from tests.lab.clients.verify import compare, parse_record, read_acknowledged, read_records


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writer]:
    made = Writer(str(tmp_path / "file"), str(tmp_path / "log"))
    for _ in range(5):
        made.write_one()
    yield made
    os.close(made._file)


def check(folder: Path) -> dict[str, object]:
    records, damaged = read_records(str(folder / "file"))
    return compare(records, read_acknowledged(str(folder / "log")), damaged)


def test_a_record_has_a_fixed_size_and_can_be_read_back() -> None:
    record = render_record("run1", 7)
    assert len(record) == RECORD_BYTES
    assert parse_record(record) == ("run1", 7)
    assert parse_record(record.replace(b"7", b"8", 1)) is None
    assert parse_record(record[:-5]) is None


def test_all_there(tmp_path: Path, writer: Writer) -> None:
    result = check(tmp_path)
    assert (result["acknowledged"], result["found"], result["lost"]) == (5, 5, 0)
    assert writer.acknowledged == 5


def test_a_lost_record_is_named(tmp_path: Path, writer: Writer) -> None:
    file = tmp_path / "file"
    content = file.read_bytes()
    file.write_bytes(content[: 2 * RECORD_BYTES] + content[3 * RECORD_BYTES :])
    result = check(tmp_path)
    assert (result["lost"], result["first_lost"]) == (1, [f"{writer.run}/3"])


def test_a_damaged_record_is_lost_too(tmp_path: Path, writer: Writer) -> None:
    file = tmp_path / "file"
    content = bytearray(file.read_bytes())
    content[RECORD_BYTES + 3] ^= 1
    file.write_bytes(bytes(content))
    result = check(tmp_path)
    assert (result["damaged"], result["lost"]) == (1, 1)


def test_doubled_and_out_of_order(tmp_path: Path, writer: Writer) -> None:
    file = tmp_path / "file"
    content = file.read_bytes()
    file.write_bytes(content + content[:RECORD_BYTES])
    result = check(tmp_path)
    assert (result["doubled"], result["out_of_order"], result["lost"]) == (1, 1, 0)


def test_an_unacknowledged_record_is_no_fault(tmp_path: Path, writer: Writer) -> None:
    log = tmp_path / "log"
    log.write_text("".join(log.read_text().splitlines(keepends=True)[:-1]))
    result = check(tmp_path)
    assert (result["unacknowledged"], result["lost"]) == (1, 0)


def test_the_lock_is_seen(writer: Writer) -> None:
    writer.check_lock()
    assert not writer.lock_lost
