"""A flood at sshd's door, and a daemon that is told to stop in the middle of an operation. Rows 28
and 32 of the hostile inputs."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.host import StorageHost, code_of, frame, wait_for

PING = frame("ping")
# sshd's default, MaxStartups 10:30:100: above it none is taken.
STARTUPS_MOST = 100


def children(host: StorageHost) -> int:
    pid = host.sshd.pid
    return len(Path(f"/proc/{pid}/task/{pid}/children").read_text().split())


def test_who_does_not_log_in_keeps_nobody_out_for_good(host: StorageHost) -> None:
    """sshd itself bounds them. Sessions that are open go on, and so does local root."""
    session = host.session("observe")
    assert code_of(session.ask("ping")) == "ok"
    before = children(host)
    flood = []
    try:
        for _ in range(200):
            one = socket.socket()
            one.settimeout(10)
            one.connect(("127.0.0.1", host.port))
            flood.append(one)
        wait_for(lambda: children(host) - before > 10, "sshd is busy with them")
        assert children(host) - before <= STARTUPS_MOST
        assert code_of(session.ask("status", 2)) == "ok"
        assert code_of(host.local(PING)[0]) == "ok"
    finally:
        for one in flood:
            one.close()
    wait_for(lambda: children(host) <= before, "sshd lets them go")
    assert host.exchange(PING)[1] == 0
    assert session.end() == 0


PROMOTE_STEPS = ("primary", "mount", "write-marker", "start-server", "link-up", "prove-export")
DEMOTE_STEPS = ("link-down", "stop-server", "unmount", "secondary")
SLOW = "/run/storage-agent/slow"


def stopped_in(host: StorageHost, step: str, method: str, **asked: Any) -> Any:
    """The record of an operation whose daemon was stopped in this step and started again. The
    next daemon finds the journal, and the kernel as the step has left it."""
    assert host.inside("sh", "-c", f"echo {step} >{SLOW}").returncode == 0
    session = host.session("operate")
    session.ask("ping")
    session.send(frame(method, "p", volume="data", **asked))

    def is_in_it() -> bool:
        told = [line["params"]["steps"] for line in session.lines if "method" in line]
        return any(steps and steps[-1]["kind"] == step for steps in told)

    try:
        wait_for(is_in_it, f"it is in {step}")
        host.stop_daemon()
        assert session.wait() == 1
    finally:
        host.inside("rm", "-f", SLOW)
        host.start_daemon()

    def ended() -> Any:
        (answer,) = host.local(frame("operation.show", operation_id=asked["operation_id"]))
        record = answer["result"]
        return record if record["state"] != "running" else None

    return wait_for(ended, "it is resumed, and ends")


def state_of(host: StorageHost, method: str, **asked: Any) -> Any:
    return host.local(frame(method, volume="data", **asked))[-1]["result"]["state"]


@pytest.mark.parametrize("step", PROMOTE_STEPS)
def test_a_daemon_that_is_stopped_in_a_promote_finishes_it_after_its_start(
    host: StorageHost, step: str
) -> None:
    given = host.next_epoch()
    asked = {"operation_id": f"op-stopped-{given['epoch']}", **given}
    record = stopped_in(host, step, "promote", **asked)
    assert (record["state"], record["epoch"]) == ("succeeded", given["epoch"])
    assert state_of(host, "promote", **asked) == "succeeded"
    assert state_of(host, "demote", operation_id=f"{asked['operation_id']}-back") == "succeeded"


@pytest.mark.parametrize("step", DEMOTE_STEPS)
def test_a_daemon_that_is_stopped_in_a_demote_finishes_it_after_its_start(
    host: StorageHost, step: str
) -> None:
    given = host.next_epoch()
    operation_id = f"op-stopped-{given['epoch']}"
    assert state_of(host, "promote", operation_id=operation_id, **given) == "succeeded"
    operation_id += "-back"
    record = stopped_in(host, step, "demote", operation_id=operation_id)
    assert record["state"] == "succeeded"

    def is_secondary() -> bool:
        (status,) = host.local(frame("status"))
        replica = status["result"]["snapshot"]["volumes"]["data"]["replica"]
        return bool(replica.get("role") == "Secondary")

    wait_for(is_secondary, "the new daemon has looked")
    assert state_of(host, "demote", operation_id=operation_id) == "succeeded"
