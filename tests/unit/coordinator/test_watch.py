"""The service: frozen primaries get their answer, and it fails over once where it may."""

from __future__ import annotations

import dataclasses
import random
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest

from storage_agent.coordinator.automatic import AutomaticFailover
from storage_agent.coordinator.coordinator import Coordinator
from storage_agent.coordinator.record import lasting, store
from storage_agent.coordinator.settings import VolumeSettings
from storage_agent.coordinator.silence import Silence
from storage_agent.coordinator.views import host_view
from storage_agent.coordinator.watch import JUDGE_S, Event, Watch
from storage_agent.host.system.clock import SystemClock
from storage_agent.model.finding import Severity
from storage_agent.model.replica import DiskState
from tests.unit.coordinator.pair import VOLUME, Pair, make_coordinator
from tests.unit.service.parts import wait_until


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return Pair(tmp_path)


class Watching:
    """A started watch, and what it told."""

    def __init__(self, pair: Pair, *, automatic: bool = False) -> None:
        self.coordinator = make_coordinator(pair, automatic=automatic)
        self.events: list[Event] = []
        self.watch = Watch(self.coordinator, self.events.append)

    def __enter__(self) -> Watching:
        self.watch.start()
        wait_until(lambda: self.told("answers") >= 2)
        return self

    def __exit__(self, *_: object) -> None:
        self.watch.stop()
        self.coordinator.fleet.close()

    def told(self, text: str) -> int:
        return sum(text in event.text for event in self.events)


def test_a_frozen_primary_goes_on_at_the_first_hint(pair: Pair) -> None:
    make_coordinator(pair).adopt(VOLUME)
    with Watching(pair) as watching:
        pair.cut_link()
        watching.watch.hint("alpha", "changed")
        wait_until(lambda: pair.serving() == ["alpha"])
        wait_until(lambda: watching.told("continue") == 1)


def test_a_fault_of_its_own_ends_no_watching(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    make_coordinator(pair).adopt(VOLUME)
    with Watching(pair) as watching:
        faults = [ZeroDivisionError("oops")]

        def look(host: str) -> None:
            if host == "alpha" and faults:
                raise faults.pop()
            Watch.look(watching.watch, host)

        monkeypatch.setattr(watching.watch, "look", look)
        watching.watch.hint("alpha")
        wait_until(lambda: watching.told("ZeroDivisionError: oops") == 1)
        pair.cut_link()
        wait_until(lambda: pair.serving() == ["alpha"])


def test_a_record_that_is_held_costs_no_connection_and_no_watching(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_coordinator(pair).adopt(VOLUME)
    monkeypatch.setattr(store, "LOCK_TIMEOUT_S", 0.5)
    with Watching(pair) as watching:
        fleet = watching.coordinator.fleet
        connections = {host: fleet.connection(host) for host in pair.hosts}
        with sqlite3.connect(pair.folder / "coordinator.sqlite", isolation_level=None) as other:
            other.execute("BEGIN IMMEDIATE")
            pair.cut_link()
            watching.watch.hint("alpha")
            wait_until(lambda: watching.told("STORE_BUSY") == 1)
            other.execute("ROLLBACK")
            wait_until(lambda: pair.serving() == ["alpha"])
            # It notes now at each look when it was seen in sync, and cannot.
            other.execute("BEGIN IMMEDIATE")
            watching.watch.hint("alpha")
            wait_until(lambda: watching.told("holds the record") > 1)
            other.execute("ROLLBACK")
            wait_until(lambda: watching.told("can be used again") == 1)
        pair.link_up = True

        def is_in_sync() -> bool:
            watching.watch.hint("alpha")
            state = watching.coordinator.store.get(VOLUME.key)
            return state is not None and state.sole is None

        wait_until(is_in_sync)
        assert {host: fleet.connection(host) for host in pair.hosts} == connections
    assert all(event.kind != "host" or event.text == "answers" for event in watching.events)


def test_a_contradiction_is_told_when_it_lasts_and_when_it_is_gone(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lasting, "LASTS_S", 0.1)
    make_coordinator(pair).adopt(VOLUME)
    with Watching(pair) as watching:
        pair.hosts["beta"].disk = DiskState.OUTDATED
        wait_until(lambda: is_told(watching, "DISK_VIEWS_DIFFER: alpha takes"))
        pair.hosts["beta"].disk = DiskState.UP_TO_DATE
        wait_until(lambda: is_told(watching, "DISK_VIEWS_DIFFER: no more"))
    told = [event for event in watching.events if event.kind == "contradiction"]
    assert [event.severity for event in told] == [Severity.WARNING, Severity.NOTE]


def is_told(watching: Watching, text: str) -> bool:
    """After another look at both hosts."""
    for host in ("alpha", "beta"):
        watching.watch.hint(host)
    return watching.told(text) == 1


def test_it_confirms_its_record_after_a_start_of_the_machine(pair: Pair, tmp_path: Path) -> None:
    make_coordinator(pair).adopt(VOLUME)
    (tmp_path / "run" / "changes").unlink()
    with Watching(pair) as watching:
        wait_until(lambda: watching.told("confirmed by both hosts") == 1)
        pair.cut_link()
        watching.watch.hint("alpha")
        wait_until(lambda: pair.serving() == ["alpha"])


def test_it_is_heard_again_by_a_host_that_has_forgotten_it(pair: Pair) -> None:
    make_coordinator(pair).adopt(VOLUME)
    epoch = pair.epoch("beta")
    assert epoch is not None
    pair.agents["beta"].engine.restore_epoch("data", epoch)
    with Watching(pair) as watching:
        wait_until(lambda: watching.told("confirmed by both hosts") == 1)
        known = {pair.agents[name].engine.coordinator("data") for name in pair.hosts}
    assert len(known) == 1
    assert "" not in known


def test_a_host_that_missed_an_incident_is_told_once_both_are_in_sync(pair: Pair) -> None:
    make_coordinator(pair).adopt(VOLUME)
    with Watching(pair) as watching:
        pair.cut_link()
        watching.watch.hint("alpha")
        wait_until(lambda: pair.serving() == ["alpha"])
        assert pair.epoch("alpha") != pair.epoch("beta")
        pair.link_up = True

        def are_the_same() -> bool:
            for host in pair.hosts:
                watching.watch.hint(host)
            return pair.epoch("alpha") == pair.epoch("beta")

        wait_until(are_the_same)
        assert pair.serving() == ["alpha"]
        wait_until(lambda: watching.told("confirmed by both hosts") == 1)
        epoch = pair.epoch("alpha")
        for host in pair.hosts:
            watching.watch.look(host)
        assert (pair.epoch("alpha"), pair.epoch("beta")) == (epoch, epoch)


def test_epochs_stay_apart_while_one_host_alone_has_the_data(pair: Pair) -> None:
    coordinator = make_coordinator(pair)
    coordinator.adopt(VOLUME)
    watch = Watch(coordinator, lambda _event: None)
    pair.cut_link()
    for _ in range(3):
        for host in pair.hosts:
            watch.look(host)
    assert pair.serving() == ["alpha"]
    assert pair.epoch("alpha") != pair.epoch("beta")


def test_it_never_takes_a_volume_over_from_another_coordinator(pair: Pair, tmp_path: Path) -> None:
    make_coordinator(pair).adopt(VOLUME)
    make_coordinator(pair, tmp_path / "other").adopt(VOLUME)
    (tmp_path / "run" / "changes").unlink()
    epoch = pair.epoch("alpha")
    with Watching(pair) as watching:
        wait_until(lambda: watching.told("newer epoch") >= 1)
        pair.cut_link()
        watching.watch.hint("alpha")
        wait_until(lambda: watching.told("no answer") == 1)
    assert pair.epoch("alpha") == epoch
    assert pair.serving() == []


def test_a_dead_primary_is_replaced_once(pair: Pair) -> None:
    make_coordinator(pair).adopt(VOLUME)
    with Watching(pair, automatic=True) as watching:
        allow_now(watching.coordinator)
        pair.kill("alpha")
        wait_until(lambda: pair.serving() == ["beta"], timeout_s=20)
        wait_until(lambda: watching.told("beta serves") == 1)
        state = watching.coordinator.store.get(VOLUME.key)
        assert state is not None
        assert state.automatic_used


class Judged:
    """A volume whose owner, alpha, answers no more, judged at times of the test's own."""

    def __init__(self, pair: Pair, *, is_linked: bool = False) -> None:
        make_coordinator(pair).adopt(VOLUME)
        self.coordinator = make_coordinator(pair, automatic=True, unreachable_s=5)
        if not is_linked:
            pair.cut_link()
        allow_now(self.coordinator)
        self.volume = self.coordinator.settings.volumes[VOLUME.key]
        self.silence = Silence()
        self.clock = HandClock()
        self.coordinator.clock = self.clock
        self.told: list[str] = []
        self.view = host_view(VOLUME.name, "beta", self.coordinator.fleet.status("beta"))
        assert self.view.is_connected is is_linked
        pair.kill("alpha")
        self.automatic = AutomaticFailover(
            self.coordinator,
            self.silence,
            lambda _volume, host: self.view if host == "beta" else None,
            lambda _host, _volume, _severity, text: self.told.append(text),
            lambda _host: None,
        )

    def at(self, now_s: float, *heard: str) -> list[str]:
        """What is told when it is judged at that time; `heard` answer just then, and all are asked
        again."""
        self.told.clear()
        self.clock.now_s = now_s
        for host in heard:
            self.silence.heard(host)
        for host in VOLUME.hosts:
            self.silence.asked(host, now_s)
        self.automatic.judge(self.volume)
        return list(self.told)


class HandClock(SystemClock):
    def __init__(self) -> None:
        self.now_s = 0.0

    def monotonic(self) -> float:
        return self.now_s


def test_the_dead_host_is_not_asked_again(pair: Pair) -> None:
    """It would be waited for as long as an answer may take, while nobody is served."""
    judged = Judged(pair)
    asked: list[str] = []
    ask = judged.coordinator.fleet.ask

    def noted(host: str, *words: Any, **more: Any) -> Any:
        asked.append(host)
        return ask(host, *words, **more)

    judged.coordinator.fleet.ask = noted  # type: ignore[method-assign]
    assert judged.at(0, "alpha", "beta") == []
    assert judged.at(6, "beta")[-1].startswith("beta serves")
    assert pair.serving() == ["beta"]
    assert set(asked) == {"beta"}


def test_a_pause_below_the_limit_is_no_death(pair: Pair) -> None:
    """A thousand of them, with the link gone each time: nothing happens, and nothing is told."""
    judged, chance = Judged(pair), random.Random(1)
    now_s = 0.0
    for _ in range(1000):
        end_s = now_s + chance.uniform(0.1, 4.9)
        while now_s < end_s:
            assert judged.at(now_s, "beta") == []
            now_s += JUDGE_S
        now_s = end_s
        assert judged.at(now_s, "alpha", "beta") == []
    assert pair.serving() == []
    assert judged.at(now_s + 5.1, "beta")[-1].startswith("beta serves")


def test_while_we_stood_still_ourselves_nobody_was_silent(pair: Pair) -> None:
    """Both answer once we go on; whoever is first makes the other one no dead host."""
    judged = Judged(pair)
    assert judged.at(1, "alpha", "beta") == []
    # A look that is late by itself is no pause of ours.
    judged.silence.woke(2.0, 2.1)
    judged.silence.woke(2.25, 60)
    assert judged.at(60, "beta") == []
    assert judged.at(64.9, "beta") == []
    assert judged.at(65.1, "beta")[-1].startswith("beta serves")


@pytest.mark.parametrize(("silent_s", "is_linked"), [(60, True), (4, False)])
def test_one_signal_of_two_is_no_death(pair: Pair, silent_s: float, *, is_linked: bool) -> None:
    judged = Judged(pair, is_linked=is_linked)
    assert judged.at(0, "alpha", "beta") == []
    assert judged.at(silent_s, "beta") == []
    # Nobody answers: it is our own network that is gone.
    assert judged.at(silent_s + 60) == []
    assert pair.serving() != ["beta"]


def test_a_takeover_that_takes_long_holds_up_nobody(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the judging of another volume nor a frozen primary."""
    make_coordinator(pair).adopt(VOLUME)
    coordinator = make_coordinator(pair, automatic=True)
    volumes = {
        key: dataclasses.replace(VOLUME, key=key, name=key.split("/")[1], automatic=True)
        for key in (VOLUME.key, "office/slow", "office/more")
    }
    coordinator.settings = dataclasses.replace(coordinator.settings, volumes=volumes)
    events: list[Event] = []
    watch = Watch(coordinator, events.append)
    judged: list[str] = []
    is_slow, goes_on = threading.Event(), threading.Event()

    def judge(volume: VolumeSettings) -> None:
        if volume.name == "slow":
            is_slow.set()
            assert goes_on.wait(20)
        judged.append(volume.name)

    monkeypatch.setattr(watch, "judge", judge)
    watch.start()
    assert is_slow.wait(20)
    judged.clear()
    wait_until(lambda: {"data", "more"} <= set(judged))
    pair.cut_link()
    watch.hint("alpha")
    wait_until(lambda: pair.serving() == ["alpha"])
    assert "slow" not in judged
    goes_on.set()
    watch.stop()
    coordinator.fleet.close()


@pytest.mark.processes
def test_a_hook_that_fails_after_it_is_told_loudest(pair: Pair, tmp_path: Path) -> None:
    make_coordinator(pair).adopt(VOLUME)
    hook = tmp_path / "hooks.d" / "address"
    hook.parent.mkdir(mode=0o755)
    hook.write_text('#!/bin/sh\ntest "$1" != post-promote\n')
    hook.chmod(0o755)
    with Watching(pair, automatic=True) as watching:
        allow_now(watching.coordinator)
        pair.kill("alpha")
        wait_until(lambda: watching.told("beta serves") == 1, timeout_s=20)
    (event,) = [e for e in watching.events if "beta serves" in e.text]
    assert (event.severity, pair.serving()) == (Severity.BLOCKER, ["beta"])
    assert "a hook failed after it" in event.text


def allow_now(coordinator: Coordinator) -> None:
    """The cooldown since the adoption is over."""
    coordinator.store.change(VOLUME.key, lambda s: dataclasses.replace(s, changed_unix_s=0))


def test_without_permission_it_only_says_so(pair: Pair) -> None:
    make_coordinator(pair).adopt(VOLUME)
    with Watching(pair) as watching:
        pair.kill("alpha")
        watching.watch.hint("alpha")
        wait_until(lambda: watching.told("no route") >= 1, timeout_s=10)
    assert pair.serving() == []
    assert all(event.kind != "failover" for event in watching.events)


def test_a_second_time_a_person_is_needed(pair: Pair) -> None:
    make_coordinator(pair).adopt(VOLUME)
    with Watching(pair, automatic=True) as watching:
        watching.coordinator.store.change(
            VOLUME.key, lambda s: dataclasses.replace(s, automatic_used=True, changed_unix_s=0)
        )
        pair.kill("alpha")
        wait_until(lambda: watching.told("no failover without a person") == 1, timeout_s=20)
    assert pair.serving() == []
    (event,) = [e for e in watching.events if e.kind == "failover"]
    assert event.severity is Severity.BLOCKER
    assert "; look, then: storage-coordinator failover office/data --to beta; or " in event.text
