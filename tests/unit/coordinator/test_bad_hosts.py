"""Many hosts, some of them dead, slow or out of their mind: none holds up the others, and a dead
one is tried again at growing intervals."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage_agent.coordinator.coordinator import Coordinator
from storage_agent.coordinator.reaching.fleet import BACKOFF_FIRST_S, BACKOFF_MOST_S, Fleet
from storage_agent.coordinator.reaching.rpc import Channel, Disconnected, unreachable
from storage_agent.coordinator.settings import Deadlines, HostSettings, Settings
from storage_agent.model.errors import AgentError, Missing, NotPermitted, Refused
from tests.unit.coordinator.bad_hosts import (
    ANSWER_S,
    CONNECT_S,
    MARGIN_S,
    SilentChannel,
    fleet_with,
    ports,
)
from tests.unit.coordinator.pair import Pair, make_settings
from tests.unit.fakes import FakeClock

# What each may take, and the code that says what it was.
LIMITS_S = {
    "alpha": (0.0, "ok"),
    "refused-a": (0.0, "HOST_UNREACHABLE"),
    "nonsense-a": (CONNECT_S, "HOST_UNREACHABLE"),
    "black-hole-a": (CONNECT_S, "HOST_UNREACHABLE"),
    "silent-a": (ANSWER_S, "HOST_SILENT"),
}


@pytest.fixture
def many(pair: Pair, tmp_path: Path) -> Iterator[Coordinator]:
    with ports() as found:
        made = fleet_with(pair, tmp_path, found)
        yield made
        made.fleet.close()


@pytest.mark.sockets
def test_none_delays_the_others_beyond_its_own_deadline(many: Coordinator) -> None:
    begun_s, took_s, codes = time.monotonic(), {}, {}
    for host, answer in many.fleet.as_answered(reversed(LIMITS_S), many.fleet.status):
        took_s[host] = time.monotonic() - begun_s
        codes[host] = answer.code if isinstance(answer, AgentError) else "ok"
    assert codes == {host: code for host, (_, code) in LIMITS_S.items()}
    for host, (limit_s, _) in LIMITS_S.items():
        assert took_s[host] < limit_s + MARGIN_S, host
    # And the deadlines are real: these did wait.
    assert took_s["black-hole-a"] >= CONNECT_S
    assert took_s["silent-a"] >= ANSWER_S


@pytest.mark.sockets
def test_a_second_look_at_a_dead_host_costs_nothing(many: Coordinator) -> None:
    for host in ("black-hole-a", "silent-a"):
        many.fleet.each([host], many.fleet.status)
        begun_s = time.monotonic()
        (again,) = many.fleet.each([host], many.fleet.status).values()
        assert time.monotonic() - begun_s < BACKOFF_FIRST_S / 2
        assert isinstance(again, AgentError)


# -- trying again ---------------------------------------------------------------------------------


class Trier:
    """A fleet in played time, and when it has tried to connect."""

    def __init__(self, folder: Path, pair: Pair) -> None:
        self.clock = FakeClock()
        self.tried_s: list[float] = []
        self.fails_with: AgentError | None = unreachable("alpha", "no route to host")
        self.pair = pair
        self.fleet = Fleet(make_settings(folder), self._connect, self.clock)

    def _connect(self, host: HostSettings) -> Channel:
        self.tried_s.append(self.clock.now_s)
        if self.fails_with is not None:
            raise self.fails_with
        return self.pair.connect(host)

    def ask_for(self, seconds: float, every_s: float = 0.5) -> None:
        until_s = self.clock.now_s + seconds
        while self.clock.now_s < until_s:
            with contextlib.suppress(Missing, Refused, NotPermitted, Disconnected):
                self.fleet.connection("alpha")
            self.clock.sleep(every_s)

    def pauses_s(self) -> list[float]:
        return [b - a for a, b in zip(self.tried_s, self.tried_s[1:], strict=False)]


@pytest.fixture
def trier(tmp_path: Path, pair: Pair) -> Iterator[Trier]:
    made = Trier(tmp_path, pair)
    yield made
    made.fleet.close()


def test_the_pause_between_two_tries_grows_and_is_bounded(trier: Trier) -> None:
    trier.ask_for(600)
    pauses_s = trier.pauses_s()
    assert pauses_s[:6] == [BACKOFF_FIRST_S * 2**number for number in range(5)] + [BACKOFF_MOST_S]
    assert set(pauses_s[5:]) == {BACKOFF_MOST_S}
    assert len(trier.tried_s) < 30


def test_a_host_that_has_been_back_is_tried_soon_again(trier: Trier) -> None:
    trier.ask_for(120)
    trier.fails_with = None
    trier.ask_for(BACKOFF_MOST_S)
    assert trier.fleet.is_connected("alpha")
    before = len(trier.tried_s)
    trier.ask_for(60)
    assert len(trier.tried_s) == before, "the connection is kept"
    trier.fleet.drop("alpha")
    trier.fails_with = unreachable("alpha", "gone again")
    trier.ask_for(3)
    assert trier.pauses_s()[before:] == [BACKOFF_FIRST_S]


@pytest.mark.parametrize("error", [Refused, NotPermitted, Disconnected])
def test_what_a_person_must_mend_or_ends_at_once_is_tried_each_time(
    trier: Trier, error: type[AgentError]
) -> None:
    trier.fails_with = error("no", remedy="mend it")
    trier.ask_for(5)
    assert len(trier.tried_s) == 10


def test_an_agent_that_does_not_say_who_it_is_is_put_off_too(tmp_path: Path) -> None:
    """The session stands: each try costs the whole deadline of an answer."""
    opened: list[SilentChannel] = []

    def connect(_host: HostSettings) -> Channel:
        opened.append(SilentChannel())
        return opened[-1]

    clock = FakeClock()
    settings: Settings = dataclasses.replace(
        make_settings(tmp_path),
        deadlines=Deadlines(connect_s=1, answer_s=1, operation_s=30, handover_s=2, unreachable_s=2),
    )
    fleet = Fleet(settings, connect, clock)
    for _ in range(3):
        with pytest.raises(AgentError) as caught:
            fleet.connection("alpha")
        assert caught.value.code == "HOST_SILENT"
    assert len(opened) == 1
    clock.sleep(BACKOFF_FIRST_S)
    with pytest.raises(AgentError):
        fleet.connection("alpha")
    assert len(opened) == 2
    assert not fleet.is_connected("alpha")
