"""Frames that are no requests, over ssh: each gets one answer with its code, nothing is begun, and
the session goes on where the next frame is still known. Rows 6-8, 12, 13, 15-18, 20-22 of the
hostile inputs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from storage_agent.service.api.rpc import FRAME_LIMIT_BYTES
from tests.gateway.host import Session, StorageHost, code_of, frame, wait_for


@pytest.fixture(scope="module")
def session(host: StorageHost) -> Iterator[Session]:
    made = host.session("operate")
    yield made
    assert made.end() == 0


def raw(parameters: str, method: str = "promote") -> bytes:
    """A promote whose parameters are written by hand."""
    return f'{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{parameters}}}'.encode()


def promote(volume: Any, **more: Any) -> bytes:
    return frame(
        "promote", volume=volume, operation_id="op-hostile", epoch=6, coordinator="claim-1", **more
    )[:-1]


NAMES = {
    "option": "-f",
    "long option": "--force",
    "drbdadm's keyword": "all",
    "resource and volume": "r0/0",
    "two": "r0 r1",
    "backticks": "`id`",
    "substitution": "$(id)",
    "second command": "r0;id",
    "empty": "",
    "60 KB": "a" * 60_000,
    "path": "../../etc",
    "look-alike": "dаta",
    "full-width": "data１",
    "combining": "da\u0301ta",
    "composed": "dáta",
    "capital": "Data",
}


@pytest.mark.parametrize("name", list(NAMES))
def test_names_that_are_none(host: StorageHost, session: Session, name: str) -> None:
    session.send(promote(NAMES[name]) + b"\n")
    is_beyond = len(NAMES[name]) > 31 or not NAMES[name].isascii()
    expected = "out-of-bounds" if is_beyond else "bad-name"
    expected = "UNKNOWN_VOLUME" if name == "drbdadm's keyword" else expected
    answer = session.ask("ping", "after")
    assert answer["result"]["protocol"] == 1
    assert code_of(session.lines[-2]) == expected
    shown = session.lines[-2]["error"]["message"]
    assert shown.isascii()
    assert len(shown) < 200
    assert nothing_begun(host)


FRAMES: dict[str, tuple[bytes, str]] = {
    "empty line": (b"", "bad-request"),
    "blanks": (b" \t \r", "bad-request"),
    "not json": (b"promote data", "bad-json"),
    "two documents": (b'{"a":1}{"b":2}', "bad-json"),
    "trailing garbage": (frame("ping")[:-1] + b" x", "bad-json"),
    "comment": (b'{"jsonrpc":"2.0",/* x */"id":1,"method":"ping"}', "bad-json"),
    "trailing comma": (b'{"jsonrpc":"2.0","id":1,"method":"ping",}', "bad-json"),
    "array": (b"[" + frame("ping")[:-1] + b"]", "bad-request"),
    "string": (b'"ping"', "bad-request"),
    "number": (b"1", "bad-request"),
    "null": (b"null", "bad-request"),
    "wrong version": (b'{"jsonrpc":"1.0","id":1,"method":"ping"}', "bad-request"),
    "no version": (b'{"id":1,"method":"ping"}', "bad-request"),
    "no id": (b'{"jsonrpc":"2.0","method":"ping"}', "bad-request"),
    "null id": (b'{"jsonrpc":"2.0","id":null,"method":"ping"}', "bad-request"),
    "id true": (b'{"jsonrpc":"2.0","id":true,"method":"ping"}', "bad-request"),
    "id object": (b'{"jsonrpc":"2.0","id":{},"method":"ping"}', "bad-request"),
    "unknown key": (b'{"jsonrpc":"2.0","id":1,"method":"ping","role":"local"}', "bad-request"),
    "params array": (raw('["data"]'), "bad-request"),
    "unknown method": (frame("reboot")[:-1], "unknown-method"),
    "private method": (frame("__init__")[:-1], "unknown-method"),
    "missing key": (raw('{"volume":"data"}'), "missing-key"),
    "force": (promote("data", force=True), "unknown-key"),
    "device": (promote("data", device="/dev/sda"), "unknown-key"),
    "mount point": (promote("data", mount_point="/proc/self/root"), "unknown-key"),
    "peer is off": (promote("data", peer_is_off="beta"), "NOT_PERMITTED"),
    "duplicate key": (raw('{"volume":"data","volume":"data"}'), "duplicate-key"),
    "duplicate epoch": (
        raw('{"volume":"data","operation_id":"x","epoch":6,"epoch":7}'),
        "duplicate-key",
    ),
    "NaN": (raw('{"epoch":NaN}'), "bad-type"),
    "Infinity": (raw('{"epoch":-Infinity}'), "bad-type"),
    "1e999": (raw('{"epoch":1e999}'), "bad-type"),
    "-0": (raw('{"epoch":-0}'), "bad-type"),
    "4301 digits": (raw(f'{{"epoch":{"9" * 4301}}}'), "bad-type"),
    "float epoch": (raw('{"volume":"data","operation_id":"x","epoch":1.0}'), "bad-type"),
    "true epoch": (raw('{"volume":"data","operation_id":"x","epoch":true}'), "bad-type"),
    "text epoch": (raw('{"volume":"data","operation_id":"x","epoch":"7"}'), "bad-type"),
    "list name": (promote(["data"]), "bad-type"),
    "null name": (promote(None), "bad-type"),
    "latin-1": (raw('{"volume":"x"}').replace(b"x", b"\xe9"), "bad-encoding"),
    "overlong": (raw('{"volume":"x"}').replace(b"x", b"\xc0\xaf"), "bad-encoding"),
    "surrogate bytes": (raw('{"volume":"x"}').replace(b"x", b"\xed\xa0\x80"), "bad-encoding"),
    "byte order mark": (b"\xef\xbb\xbf" + frame("ping")[:-1], "bad-encoding"),
    "UTF-32": (frame("ping")[:-1].decode().encode("utf-32-le"), "bad-encoding"),
    "UTF-16": (frame("ping")[:-1].decode().encode("utf-16-le"), "bad-encoding"),
    "NUL byte": (raw('{"volume":"a\0"}'), "bad-encoding"),
    "escaped NUL": (raw('{"volume":"a\\u0000"}'), "bad-string"),
    "lone surrogate": (raw('{"volume":"\\ud800"}'), "bad-string"),
    "ANSI": (raw('{"volume":"\\u001b[2J"}'), "bad-string"),
    "raw ANSI": (raw('{"volume":"\x1b[2J"}'), "bad-string"),
    "CRLF": (raw('{"volume":"a\\r\\nb"}'), "bad-string"),
    "right to left": (raw('{"volume":"a\\u202eb"}'), "bad-string"),
    "control in a key": (raw('{"a\\u0007":1}'), "bad-string"),
    "depth 990": (b"[" * 990 + b"]" * 990, "too-deep"),
    "depth 30000": (b"[" * 30_000, "too-deep"),
    "deep objects": (b'{"a":' * 5000, "too-deep"),
    "65 KB of blanks and a request": (
        b" " * (FRAME_LIMIT_BYTES - 80) + frame("reboot")[:-1],
        "unknown-method",
    ),
}


@pytest.mark.parametrize("name", list(FRAMES))
def test_one_refusal_for_each(host: StorageHost, session: Session, name: str) -> None:
    content, code = FRAMES[name]
    before = len(session.lines)
    session.send(content + b"\n")
    session.ask("ping", "after")
    refusals = session.lines[before:-1]
    assert [code_of(line) for line in refusals] == [code]
    assert len(json.dumps(refusals)) < 1000
    assert nothing_begun(host)


def nothing_begun(host: StorageHost) -> bool:
    (answer,) = host.local(frame("operation.show", operation_id="op-hostile"))
    return code_of(answer) == "UNKNOWN_OPERATION"


@pytest.mark.parametrize(("head", "size_bytes"), [(b"x", 1 << 20), (b'{"a":"', 64 << 20)])
def test_a_frame_without_end_is_cut_and_ends_the_session(
    host: StorageHost, head: bytes, size_bytes: int
) -> None:
    answers, status = host.exchange(head + b"x" * size_bytes)
    assert [code_of(answer) for answer in answers] == ["too-large"]
    assert status == 1


@pytest.mark.parametrize("content", [b"", b"\n", b"   ", b" \n"])
def test_a_session_without_a_request_says_so(host: StorageHost, content: bytes) -> None:
    answers, status = host.exchange(content)
    assert [code_of(answer) for answer in answers] == ["bad-request"]
    assert status == (0 if content else 2)


def test_the_last_line_may_lack_its_end_and_half_a_request_is_none(host: StorageHost) -> None:
    whole = promote("nowhere")
    (answer,), _ = host.exchange(whole)
    assert code_of(answer) == "UNKNOWN_VOLUME"
    (answer,), _ = host.exchange(whole[:-1])
    assert code_of(answer) == "bad-json"


def test_memory_does_not_grow_with_what_is_sent(host: StorageHost) -> None:
    def daemon_kib() -> int:
        with open(f"/proc/{host.daemon.pid}/status") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))

    host.exchange(b"x" * (1 << 20))
    before, open_ones = daemon_kib(), len(host.gateways())
    for _ in range(3):
        host.exchange(b"[" * (16 << 20))
        host.exchange((b"[" * 60_000 + b"\n") * 200)
    wait_for(lambda: len(host.gateways()) <= open_ones, "the gateways end")
    assert daemon_kib() - before < 4096
