"""A session as a coordinator has it."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

from tests.gateway.host import StorageHost, code_of, frame, wait_for


def test_requests_are_answered_over_ssh(host: StorageHost) -> None:
    answers, status = host.exchange(frame("ping") + frame("status", "two"))
    assert [answer["id"] for answer in answers] == [1, "two"]
    assert [code_of(answer) for answer in answers] == ["ok", "ok"]
    assert status == 0


def test_an_operation_tells_its_steps_on_the_way(host: StorageHost) -> None:
    session = host.session("operate")
    given = host.next_epoch()
    epoch = given["epoch"]
    asked = {"volume": "data", **given, "operation_id": f"op-steps-{epoch}"}
    record = session.ask("promote", "p", **asked)["result"]
    assert (record["state"], record["epoch"]) == ("succeeded", epoch)
    told = [line["params"] for line in session.lines if line.get("method") == "operation.progress"]
    assert len(told) >= 5
    assert {one["request"]["operation_id"] for one in told} == {asked["operation_id"]}
    back = session.ask("demote", volume="data", operation_id=f"op-steps-back-{epoch}")
    assert back["result"]["state"] == "succeeded"
    assert session.end() == 0


def test_a_subscriber_hears_of_what_others_do(host: StorageHost) -> None:
    listener, actor = host.session("observe"), host.session("operate")
    listener.ask("subscribe", "s")
    given = host.next_epoch()
    operation_id = f"op-heard-{given['epoch']}"
    actor.ask("promote", volume="data", operation_id=operation_id, **given)

    def heard(method: str, words: str) -> list[Any]:
        told = [line["params"] for line in listener.lines if line.get("method") == method]
        return [one for one in told if words in json.dumps(one)]

    event = wait_for(lambda: heard("event", "promote succeeded"), "the event")[0]
    assert (event["volume"], event["operation_id"]) == ("data", operation_id)
    # Primary and not serving yet is told before it.
    changed = wait_for(
        lambda: [
            one
            for one in heard("changed", "Primary")
            if one["readiness"]["verdict"] in ("serving", "degraded")
        ],
        "the change",
    )[-1]
    assert changed["volume"] == "data"
    assert changed["snapshot"]["replica"]["role"] == "Primary"
    actor.ask("demote", volume="data", operation_id=f"{operation_id}-back")
    # Still the same session, and it answers.
    assert code_of(listener.ask("ping")) == "ok"
    assert (listener.end(), actor.end()) == (0, 0)


def test_a_subscriber_that_stops_reading_holds_up_nobody(host: StorageHost) -> None:
    listener = host.session("observe")
    listener.ask("subscribe")
    listener.process.send_signal(signal.SIGSTOP)
    try:
        actor = host.session("operate")
        for _ in range(3):
            given = host.next_epoch()
            asked = {"volume": "data", "operation_id": f"op-deaf-{given['epoch']}"}
            assert actor.ask("promote", **given, **asked)["result"]["state"] == "succeeded"
            asked["operation_id"] += "-back"
            assert actor.ask("demote", **asked)["result"]["state"] == "succeeded"
        assert actor.end() == 0
    finally:
        listener.process.send_signal(signal.SIGCONT)
        listener.kill()


def test_sessions_share_one_connection(host: StorageHost, tmp_path: Path) -> None:
    """One connection a host, kept and multiplexed: up to MaxSessions at a time."""
    options = ("-o", f"ControlPath={tmp_path}/control")
    first = host.session("operate", "-o", "ControlMaster=yes", *options)
    assert code_of(first.ask("ping")) == "ok"
    others = [host.session("operate", *options) for _ in range(7)]
    assert [code_of(other.ask("ping")) for other in others] == ["ok"] * 7
    for other in others:
        assert other.end() == 0
    assert first.end() == 0


def test_the_gateway_starts_hardly_later_than_python(host: StorageHost) -> None:
    """Not by the clock: by what it loads."""
    code = (
        "import sys; before = set(sys.modules); import storage_agent.ssh.gateway as g; "
        "print(*sorted(m for m in set(sys.modules) - before if not m.startswith('storage_agent')))"
    )
    ended = host.inside("/usr/bin/python3", "-I", "-c", code)
    assert set(ended.stdout.split()) <= {"__future__", "_socket", "select", "syslog"}
