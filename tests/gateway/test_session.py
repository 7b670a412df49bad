"""A session as a coordinator has it."""

from __future__ import annotations

from tests.gateway.host import StorageHost, code_of, frame


def test_requests_are_answered_over_ssh(host: StorageHost) -> None:
    answers, status = host.exchange(frame("ping") + frame("status", "two"))
    assert [answer["id"] for answer in answers] == [1, "two"]
    assert [code_of(answer) for answer in answers] == ["ok", "ok"]
    assert status == 0
