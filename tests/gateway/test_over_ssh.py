"""Slow, broken-off and simultaneous requests through a real sshd. Rows 1, 14, 25 and 29 to 32 of
the hostile inputs."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import paramiko
import pytest

from tests.gateway.host import StorageHost, code_of, frame, wait_for
from tests.gateway.wire import SMALL_WINDOW_BYTES, Wire, answers, one_line, trickle

PING = frame("ping")
# As short as a promote can be: each byte is a session.
CUT = frame("promote", volume="nowhere", operation_id="cut", epoch=6, coordinator="c")


@pytest.fixture(autouse=True)
def nothing_left(host: StorageHost) -> Iterator[None]:
    """Neither a gateway nor a connection outlives its caller."""
    before = (len(host.gateways()), host.connections())
    yield
    wait_for(lambda: len(host.gateways()) <= before[0], "gateways end")
    wait_for(lambda: host.connections() <= before[1], "connections end")


def is_unknown(host: StorageHost, operation_id: str) -> bool:
    (answer,) = host.local(frame("operation.show", operation_id=operation_id))
    return code_of(answer) == "UNKNOWN_OPERATION"


def moved_there_and_back(host: StorageHost, operation_id: str) -> bool:
    """Nothing holds the volume."""
    asked = {"volume": "data", "operation_id": operation_id}
    there = host.local(frame("promote", **asked, **host.next_epoch()))[-1]["result"]
    asked["operation_id"] += "-back"
    back = host.local(frame("demote", **asked))[-1]["result"]
    return [there["state"], back["state"]] == ["succeeded", "succeeded"]


# -- row 1: what ssh's own client cannot send ------------------------------------------------------


@pytest.mark.parametrize("command", [b"a\0; id", b"\0\0"])
def test_a_command_with_a_nul_byte_runs_nothing(host: StorageHost, command: bytes) -> None:
    """sshd itself ends such a connection: no command is started, not even the forced one."""
    before = len(host.daemon_log())
    with Wire(host, "observe") as wire, pytest.raises((EOFError, paramiko.SSHException)):
        wire.session(command)
    assert [line for line in host.daemon_log()[before:] if line.get("method") == "hello"] == []
    assert host.exchange(PING)[1] == 0


def test_a_nul_byte_at_the_end_of_a_command_changes_nothing(host: StorageHost) -> None:
    """sshd takes it off; what is left is ignored like any command."""
    with Wire(host, "observe") as wire:
        channel = wire.session(b"id\0")
        channel.sendall(PING)
        channel.shutdown_write()
        assert [code_of(answer) for answer in answers(channel)] == ["ok"]


# -- row 14 ---------------------------------------------------------------------------------------


def test_half_a_request_holds_nothing(host: StorageHost) -> None:
    """While a promote comes byte by byte, others change the same volume; then it is given up."""
    given = host.next_epoch()
    slow = frame("promote", volume="data", operation_id="slow", **given)
    with Wire(host, "operate") as wire:
        channel = wire.session()
        begun_s = time.monotonic()
        sender = threading.Thread(target=trickle, args=(channel, slow, 0.2))
        sender.start()
        time.sleep(1.0)
        assert moved_there_and_back(host, f"beside-slow-{given['epoch']}")
        assert answers(channel) == []
        assert 4 < time.monotonic() - begun_s < 15
        assert channel.recv_exit_status() == 1
        sender.join(30)
    assert is_unknown(host, "slow")


# -- row 25 ---------------------------------------------------------------------------------------


def test_a_request_names_no_other_host(host: StorageHost) -> None:
    """A host is who it is: requests have no word for another one (a coordinator looks at whom it
    has reached: test_coordinator.py). What names a host is checked against the own view."""
    given = host.next_epoch()
    asked = {"volume": "data", "operation_id": f"elsewhere-{given['epoch']}", **given}
    session = host.session("operate")
    for word in ("host", "cluster", "target"):
        assert code_of(session.ask("promote", **asked, **{word: "beta"})) == "unknown-key"
    assert host.next_epoch() == given
    assert session.ask("promote", **asked)["result"]["state"] == "succeeded"
    asked = {"volume": "data", "operation_id": f"{asked['operation_id']}-back"}
    record = session.ask("demote", **asked, expected_primary="beta")["result"]
    assert [finding["code"] for finding in record["findings"]] == ["WRONG_PRIMARY"]
    asked["operation_id"] += "-right"
    record = session.ask("demote", **asked, expected_primary="alpha")["result"]
    assert record["state"] == "succeeded"
    assert session.end() == 0


# -- row 29 ---------------------------------------------------------------------------------------


def test_of_two_promotions_at_once_one_is_told_who_is_busy(host: StorageHost) -> None:
    given = host.next_epoch()
    ids = [f"race-{given['epoch']}-{side}" for side in "ab"]
    sessions = [host.session("operate") for _ in ids]
    for session in sessions:
        session.ask("ping", "ready")
    frames = [frame("promote", 1, volume="data", operation_id=one, **given) for one in ids]
    go = threading.Barrier(len(ids))

    def send(number: int) -> None:
        go.wait(10)
        sessions[number].send(frames[number])

    threads = [threading.Thread(target=send, args=(number,)) for number in range(len(ids))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)

    def answer(session: Any) -> Any:
        return wait_for(lambda: next((x for x in session.lines if x.get("id") == 1), None), "it")

    found = [answer(session) for session in sessions]
    (won,) = [number for number, one in enumerate(found) if "result" in one]
    lost = found[1 - won]
    assert found[won]["result"]["state"] == "succeeded"
    assert lost["error"]["data"]["code"] == "BUSY"
    assert ids[won] in str(lost["error"])
    assert is_unknown(host, ids[1 - won])
    back = host.local(frame("demote", volume="data", operation_id=f"{ids[won]}-back"))
    assert back[-1]["result"]["state"] == "succeeded"
    for session in sessions:
        assert session.end() == 0


# -- row 30 ---------------------------------------------------------------------------------------


def test_a_request_that_is_closed_at_any_byte_does_nothing(host: StorageHost) -> None:
    with Wire(host, "operate") as wire:
        for at in range(len(CUT)):
            channel = wire.session()
            channel.sendall(CUT[:at])
            channel.close()
    assert is_unknown(host, "cut")
    assert moved_there_and_back(host, f"after-cut-{host.next_epoch()['epoch']}")


def test_a_request_that_is_half_closed_at_any_byte_is_none(host: StorageHost) -> None:
    """Only without its newline it is whole."""
    codes = []
    with Wire(host, "operate") as wire:
        for at in range(1, len(CUT)):
            channel = wire.session()
            channel.sendall(CUT[:at])
            channel.shutdown_write()
            codes += [code_of(answer) for answer in answers(channel)]
            channel.close()
    assert codes == ["bad-json"] * (len(CUT) - 2) + ["UNKNOWN_VOLUME"]
    assert is_unknown(host, "cut")


@pytest.mark.parametrize("at", [0, 1, len(CUT) // 2, len(CUT) - 1])
def test_a_connection_that_is_reset_in_a_request_does_nothing(host: StorageHost, at: int) -> None:
    with Wire(host, "operate") as wire:
        wire.session().sendall(CUT[:at])
        wire.reset()
    assert is_unknown(host, "cut")


def test_an_answer_that_is_broken_off_at_any_byte_harms_nobody(host: StorageHost) -> None:
    with Wire(host, "observe") as wire:
        channel = wire.session()
        channel.sendall(PING)
        whole = one_line(channel)
        for at in range(len(whole)):
            channel = wire.session()
            channel.sendall(PING)
            received = b""
            while len(received) < at:
                received += channel.recv(at - len(received))
            assert received == whole[:at]
            channel.close()
    assert host.exchange(PING)[1] == 0


@pytest.mark.parametrize("how", ["close", "half-close", "reset"])
def test_an_operation_goes_on_however_its_session_ends(host: StorageHost, how: str) -> None:
    given = host.next_epoch()
    operation_id = f"ends-{how}-{given['epoch']}"
    with Wire(host, "operate") as wire:
        channel = wire.session()
        channel.sendall(frame("promote", volume="data", operation_id=operation_id, **given))
        wait_for(lambda: not is_unknown(host, operation_id), "it was accepted")
        if how == "close":
            channel.close()
        if how == "half-close":
            channel.shutdown_write()
            assert [a["result"]["state"] for a in answers(channel) if "id" in a] == ["succeeded"]
        if how == "reset":
            wire.reset()

    def is_over() -> Any:
        (answer,) = host.local(frame("operation.show", operation_id=operation_id))
        return answer["result"]["state"] != "running" and answer["result"]

    assert wait_for(is_over, "it ends")["state"] == "succeeded"
    back = host.local(frame("demote", volume="data", operation_id=f"{operation_id}-back"))
    assert back[-1]["result"]["state"] == "succeeded"


# -- row 31 ---------------------------------------------------------------------------------------


def test_who_never_reads_is_dropped_and_others_are_served(host: StorageHost) -> None:
    """Its window stays shut, so sshd's pipe fills, and the daemon's write does not end."""
    with Wire(host, "observe") as wire:
        channel = wire.session(window_bytes=SMALL_WINDOW_BYTES)
        channel.sendall(PING)
        one_line(channel)
        before = host.connections()
        begun_s = time.monotonic()
        channel.settimeout(1.0)
        with contextlib.suppress(OSError):
            for _ in range(1000):
                channel.sendall(frame("status"))
        assert moved_there_and_back(host, f"deaf-{host.next_epoch()['epoch']}")
        wait_for(lambda: host.connections() < before, "it is dropped")
        assert time.monotonic() - begun_s < 20
        reasons = [line.get("reason") for line in host.daemon_log()]
        assert "nobody reads" in reasons


# -- row 32 ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE,
                                    signal.SIGUSR1, signal.SIGALRM, signal.SIGQUIT])  # fmt: skip
def test_a_signal_to_the_gateway_ends_no_operation(
    host: StorageHost, number: signal.Signals
) -> None:
    given = host.next_epoch()
    operation_id = f"signal-{number}-{given['epoch']}"
    others = set(host.gateways())
    session = host.session("operate")
    session.ask("ping")
    (gateway,) = set(host.gateways()) - others
    session.send(frame("promote", "p", volume="data", operation_id=operation_id, **given))
    wait_for(lambda: not is_unknown(host, operation_id), "it was accepted")
    os.kill(gateway, number)

    def is_over() -> Any:
        (answer,) = host.local(frame("operation.show", operation_id=operation_id))
        return answer["result"]["state"] != "running" and answer["result"]

    assert wait_for(is_over, "it ends")["state"] == "succeeded"
    session.end()
    assert session.process.stderr is not None
    assert b"Traceback" not in session.process.stderr.read()
    back = host.local(frame("demote", volume="data", operation_id=f"{operation_id}-back"))
    assert back[-1]["result"]["state"] == "succeeded"
