"""The daemon's socket, with a stream that says what it is told to."""

from __future__ import annotations

import json
from typing import Any

import pytest

from storage_agent.cli.client import Client, Disconnected, Silent
from storage_agent.model.errors import Busy, NotPermitted, OperationFailed
from storage_agent.model.wire import to_wire
from tests.unit.cli import answers


class FakeStream:
    """Chunks to hand out; an exception is raised instead."""

    def __init__(self, *chunks: bytes | Exception, send: Exception | None = None) -> None:
        self.chunks = list(chunks)
        self.sent = b""
        self.send_error = send

    def settimeout(self, value: float | None, /) -> None:
        assert value is None or value > 0

    def sendall(self, data: bytes, /) -> None:
        if self.send_error:
            raise self.send_error
        self.sent += data

    def recv(self, bufsize: int, /) -> bytes:
        if not self.chunks:
            return b""
        chunk = self.chunks.pop(0)
        if isinstance(chunk, Exception):
            raise chunk
        return chunk

    def close(self) -> None: ...


def line(**fields: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", **fields}).encode() + b"\n"


def test_one_request_is_one_line() -> None:
    stream = FakeStream(line(id=1, result={"host": "alpha"}))
    assert Client(stream).call("status", {}) == {"host": "alpha"}
    assert stream.sent == line(id=1, method="status", params={})


def test_an_answer_in_pieces_with_notifications_before_it() -> None:
    whole = line(method="operation.progress", params={"n": 1}) + line(id=1, result=5)
    seen: list[Any] = []
    client = Client(FakeStream(*(whole[i : i + 7] for i in range(0, len(whole), 7))))
    result = client.call("x", {}, on_notification=lambda name, params: seen.append((name, params)))
    assert result == 5
    assert seen == [("operation.progress", {"n": 1})]


def test_an_answer_to_another_request_is_not_ours() -> None:
    client = Client(FakeStream(line(id=7, result="old"), line(id=1, result="new")))
    assert client.call("x", {}) == "new"


def error(status: int, **data: Any) -> dict[str, Any]:
    details = {"code": "BUSY", "remedy": "wait", "exit_status": status, "findings": [], **data}
    return {"code": -32000, "message": "no", "data": details}


def test_the_daemons_error_is_typed_again() -> None:
    finding = to_wire(answers.blocked())
    client = Client(FakeStream(line(id=1, error=error(5, findings=[finding]))))
    with pytest.raises(Busy, match="no") as caught:
        client.call("x", {})
    assert (caught.value.remedy, caught.value.code) == ("wait", "BUSY")
    assert caught.value.findings == (answers.blocked(),)


def test_an_error_without_details_is_a_matter_of_versions() -> None:
    client = Client(FakeStream(line(id=1, error={"code": -32601, "message": "no such method"})))
    with pytest.raises(OperationFailed) as caught:
        client.call("x", {})
    assert caught.value.code == "PROTOCOL"
    assert "version" in caught.value.remedy


def test_being_turned_away_before_we_could_speak_is_still_read() -> None:
    said = line(id=None, error=error(4, code="NOT_PERMITTED"))
    client = Client(FakeStream(said, send=BrokenPipeError()))
    with pytest.raises(NotPermitted):
        client.call("x", {})


@pytest.mark.parametrize(
    "chunk", [b"", b"not json\n", b"[]\n", ConnectionResetError("reset"), b"half a line"]
)
def test_a_broken_connection(chunk: bytes | Exception) -> None:
    with pytest.raises(Disconnected):
        Client(FakeStream(chunk)).call("x", {})


def test_silence_ends_and_ticks_come_meanwhile() -> None:
    ticks: list[int] = []
    stream = FakeStream(*[TimeoutError()] * 3, line(id=1, result=1))
    assert Client(stream).call("x", {}, on_tick=lambda: ticks.append(1)) == 1
    assert len(ticks) == 3
    with pytest.raises(Silent):
        Client(FakeStream()).call("x", {}, silence_s=0.0)
