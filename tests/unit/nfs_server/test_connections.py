"""The record of connected clients."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from storage_agent.host.volume.keeping import hold
from storage_agent.nfs_server.connections import (
    ConnectionRecorder,
    parse_record,
    read_connections,
    read_record,
    render_record,
)
from storage_agent.nfs_server.frames import tickle

ADDRESS = "10.9.0.10"


def test_a_record_is_for_one_address() -> None:
    content = render_record(ADDRESS, ("10.9.0.3:761",))
    assert parse_record(content, ADDRESS) == ("10.9.0.3:761",)
    assert parse_record(content, "10.9.0.11") == ()


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"{}", b'{"address": "10.9.0.10"}', b'{"address": "10.9.0.10", '
     b'"connections": [1]}'],
)  # fmt: skip
def test_a_damaged_record_is_an_empty_one(content: bytes) -> None:
    assert parse_record(content, ADDRESS) == ()


def test_strange_entries_are_left_out() -> None:
    content = b'{"address": "10.9.0.10", "connections": ["10.9.0.3:761", "x; rm", ""]}'
    assert parse_record(content, ADDRESS) == ("10.9.0.3:761",)


@pytest.mark.parametrize(
    "entry",
    ["1.2.3.4:99999", "1.2.3.4:0", "999.1.1.1:80", "224.0.0.1:80", "127.0.0.1:80", "0.0.0.0:80",
     "255.255.255.255:80", "١.2.3.4:80", "1.2.3.4:٨", "1.2.3.4:80\n", None, {}, 1e400],
)  # fmt: skip
def test_what_no_client_can_be_is_left_out(entry: object) -> None:
    """What is left can be packed into a packet: nothing in the list ends who sends it."""
    content = json.dumps({"address": ADDRESS, "connections": [entry, "10.9.0.3:761"]}).encode()
    assert parse_record(content, ADDRESS) == ("10.9.0.3:761",)
    tickle((ADDRESS, 2049), ("10.9.0.3", 761))


@pytest.mark.parametrize(
    "content", [b"[" * 200_000, b'{"address": "10.9.0.10", "connections": {"a": 1}}', b"\xff" * 99]
)
def test_nothing_in_the_record_is_an_error(content: bytes) -> None:
    assert parse_record(content, ADDRESS) == ()


@pytest.mark.parametrize("what", ["link", "fifo", "foreign folder"])
def test_a_record_that_is_not_ours_is_not_read(tmp_path: Path, what: str) -> None:
    hold(str(tmp_path))[0].close()
    path = tmp_path / ".storage-agent/nfs/connections"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(render_record(ADDRESS, ("10.9.0.3:761",)))
    if what == "link":
        path.symlink_to(elsewhere)
    elif what == "fifo":
        os.mkfifo(path)
    else:
        elsewhere.rename(path)
        path.chmod(0o666)
    assert read_record(str(tmp_path), ADDRESS) == ()


def test_recording_twice_writes_once(tmp_path: Path) -> None:
    hold(str(tmp_path))[0].close()
    recorder = ConnectionRecorder(str(tmp_path), ADDRESS)
    recorder.record(("10.9.0.3:761",))
    assert recorder.wait(5)
    assert read_record(str(tmp_path), ADDRESS) == ("10.9.0.3:761",)
    path = tmp_path / ".storage-agent/nfs/connections"
    before = path.stat().st_ino
    recorder.record(("10.9.0.3:761",))
    assert recorder.wait(5)
    assert path.stat().st_ino == before
    recorder.record(())
    assert recorder.wait(5)
    assert read_record(str(tmp_path), ADDRESS) == ()


def test_a_volume_that_cannot_be_written_is_no_failure(tmp_path: Path) -> None:
    recorder = ConnectionRecorder(str(tmp_path / "absent"), ADDRESS)
    recorder.record(("10.9.0.3:761",))
    assert recorder.wait(5)
    assert read_record(str(tmp_path / "absent"), ADDRESS) == ()


def test_connections_are_read_from_the_kernels_table(tmp_path: Path) -> None:
    table = tmp_path / "tcp"
    line = "   0: 0A00090A:0801 {} 01 00000000:00000000 00:00000000 00000000     0\n"
    table.write_text("head\n" + line.format("0300090A:03C9") + line.format("0300090A:03C8"))
    assert read_connections(table) == ("10.9.0.3:968", "10.9.0.3:969")
