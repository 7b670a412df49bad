"""A connection to an agent that does not behave: bounded, and nobody waits for ever."""

from __future__ import annotations

import json
import queue
from typing import Any

import pytest

from storage_agent.coordinator.reaching.rpc import (
    LINE_LIMIT_BYTES,
    Channel,
    Connection,
    Disconnected,
    Silent,
)
from storage_agent.model.errors import AgentError, Refused


class Scripted:
    """Implements Channel: what is sent is answered by `replies`, in order."""

    def __init__(self, *replies: bytes) -> None:
        self.replies = list(replies)
        self.sent: list[dict[str, Any]] = []
        self.out: queue.Queue[bytes] = queue.Queue()

    def send(self, line: bytes) -> None:
        self.sent.append(json.loads(line))
        if self.replies:
            self.out.put(self.replies.pop(0))

    def receive(self) -> bytes:
        return self.out.get()

    def close(self) -> None:
        self.out.put(b"")

    def beside(self) -> Channel:
        raise AssertionError("one session is enough here")


def ask(channel: Scripted, timeout_s: float = 5) -> Any:
    return Connection("alpha", channel).call("status", {}, timeout_s=timeout_s)


def test_an_answer_in_pieces_between_notifications() -> None:
    heard: list[tuple[str, Any]] = []
    channel = Scripted(b'{"method":"changed","params":{"a":1}}\n{"id":1,"res')
    connection = Connection("alpha", channel, on_notification=lambda m, p: heard.append((m, p)))

    def finish(method: str, _params: Any) -> None:
        channel.out.put(b'ult":{"b":2}}\n')

    answer = connection.call("status", {}, timeout_s=5, on_notification=finish)
    assert answer == {"b": 2}
    assert heard == [("changed", {"a": 1})]


def test_the_agents_refusal_comes_as_what_it_was() -> None:
    error = {"code": -32003, "message": "no", "data": {"code": "X_Y", "exit_status": 3,
             "remedy": "type this", "findings": []}}  # fmt: skip
    with pytest.raises(Refused) as caught:
        ask(Scripted(json.dumps({"id": 1, "error": error}).encode() + b"\n"))
    assert (caught.value.code, caught.value.remedy) == ("X_Y", "type this")


@pytest.mark.parametrize(
    "error", [{}, {"data": {"exit_status": [1]}}, {"data": 5}, "text", {"message": {"a": 1}}]
)
def test_an_error_without_form_is_still_an_error(error: Any) -> None:
    with pytest.raises(AgentError):
        ask(Scripted(json.dumps({"id": 1, "error": error or {"x": 1}}).encode() + b"\n"))


@pytest.mark.parametrize(
    "reply",
    [
        b"not json\n",
        b"[1,2]\n",
        b"\xff\xfe\n",
        b"[" * 100_000 + b"\n",
        b"x" * (LINE_LIMIT_BYTES + 1),
        b'{"id":null,"error":{"message":"too many sessions"}}\n',
        b"",
    ],
    ids=["text", "list", "bytes", "deep", "long", "refused", "end"],
)
def test_what_is_no_answer_ends_the_connection(reply: bytes) -> None:
    with pytest.raises(Disconnected):
        ask(Scripted(reply))


def test_answers_to_nobody_are_passed_over() -> None:
    line = b'{"id":99,"result":1}\n{"id":"1","result":2}\n{"id":true,"result":3}\n'
    assert ask(Scripted(line + b'{"id":1,"result":4}\n')) == 4


def test_silence_ends_at_the_deadline() -> None:
    with pytest.raises(Silent):
        ask(Scripted(), timeout_s=0.01)


def test_a_request_is_bounded() -> None:
    connection = Connection("alpha", Scripted())
    with pytest.raises(AgentError, match="bytes"):
        connection.call("status", {"x": "y" * 70_000}, timeout_s=1)
    assert connection.is_open()
