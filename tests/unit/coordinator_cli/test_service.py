"""What the service tells the site's hooks."""

from __future__ import annotations

import dataclasses
import json
import threading
import time
from pathlib import Path

import pytest

from storage_agent.coordinator.commands import Ended
from storage_agent.coordinator.hooks import Hooks
from storage_agent.coordinator.watch import Event
from storage_agent.coordinator_cli import service
from storage_agent.coordinator_cli.service import EventHooks
from storage_agent.coordinator_cli.wiring import run_command
from storage_agent.model.finding import Severity
from tests.unit.service.parts import wait_until


def event(text: str) -> Event:
    return Event(
        kind="host", host="alpha", volume="", severity=Severity.WARNING, text=text
    )  # fmt: skip


@pytest.mark.processes
def test_each_event_reaches_an_executable_in_turn(tmp_path: Path) -> None:
    log = tmp_path / "told"
    hook = tmp_path / "hooks.d" / "pager"
    hook.parent.mkdir(mode=0o755)
    hook.write_text(f'#!/bin/sh\n[ "$1" = event ] && cat >>{log}\n')
    hook.chmod(0o755)
    ended: list[Ended] = []

    def run(argv: tuple[str, ...], stdin: bytes, timeout_s: float) -> Ended:
        ended.append(run_command(argv, stdin, timeout_s))
        return ended[-1]

    events = EventHooks(Hooks(hook.parent, run, 5, pytest.fail), pytest.fail)
    for number in range(3):
        events.add(event(f"silent for {number} s"))
    wait_until(lambda: len(ended) == 3)
    told = [json.loads(line) for line in log.read_text().splitlines()]
    assert [one["text"] for one in told] == [f"silent for {number} s" for number in range(3)]
    assert (told[0]["point"], told[0]["kind"], told[0]["severity"]) == ("event", "host", "warning")


def test_too_many_are_left_out_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "EVENTS_WAITING", 2)
    hook = tmp_path / "hooks.d" / "slow"
    hook.parent.mkdir(mode=0o755)
    hook.touch(mode=0o755)
    is_called, goes_on = threading.Event(), threading.Event()

    def run(_argv: tuple[str, ...], _stdin: bytes, _timeout_s: float) -> Ended:
        is_called.set()
        assert goes_on.wait(10)
        return Ended(exit_status=0)

    said: list[str] = []
    events = EventHooks(Hooks(hook.parent, run, 5, pytest.fail), said.append)
    events.add(event("called"))
    assert is_called.wait(10)
    for _ in range(4):
        events.add(event("waits, or is left out"))
    assert len(said) == 2
    goes_on.set()


def test_a_flood_of_one_host_is_told_as_a_number_and_hides_no_other(tmp_path: Path) -> None:
    told: list[Event] = []
    events = EventHooks(
        Hooks(tmp_path / "none", run_command, 5, pytest.fail), pytest.fail, told.append
    )
    for number in range(1000):
        events.add(event(f"new incident {number}"))
    assert len(told) == service.EVENTS_AT_ONCE
    events.add(dataclasses.replace(event("is frozen"), host="beta"))
    assert (told[-1].host, told[-1].text) == ("beta", "is frozen")
    events.release(time.monotonic() + service.EVENT_EVERY_S)
    assert told[-1].text == "new incident 999 (and 994 more like it before)"
    before = len(told)
    events.release(time.monotonic() + 2 * service.EVENT_EVERY_S)
    assert len(told) == before
