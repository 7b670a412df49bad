"""The coordinator dies at each step of an adoption, and then one thing happens to the pair: in the
end somebody serves, or what is named to a person leads there."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from storage_agent.coordinator.coordinator import Coordinator
from storage_agent.coordinator.watch import Watch
from storage_agent.model.errors import AgentError
from tests.unit.coordinator.pair import VOLUME, Killed, Pair, make_coordinator

CLAIMS = {"its own": 2, "nobody's": 4}
POINTS = [
    (whose, number, when)
    for whose, count in CLAIMS.items()
    for number in range(count)
    for when in ("before", "after")
]


def cut(pair: Pair) -> None:
    pair.cut_link()


def primary_dies(pair: Pair) -> None:
    pair.kill("alpha")


def standby_dies(pair: Pair) -> None:
    pair.kill("beta")
    pair.cut_link()


def primary_out_of_reach(pair: Pair) -> None:
    """Frozen, and the coordinator does not reach it either."""
    pair.cut_link()
    pair.alive.discard("alpha")


def standby_out_of_reach(pair: Pair) -> None:
    pair.cut_link()
    pair.alive.discard("beta")


def nothing(_pair: Pair) -> None: ...


EVENTS: dict[str, Callable[[Pair], None]] = {
    event.__name__: event
    for event in (
        nothing,
        cut,
        primary_dies,
        standby_dies,
        primary_out_of_reach,
        standby_out_of_reach,
    )
}


def killed_at(pair: Pair, number: int, when: str) -> None:
    left = [number]

    def die(_host: str, method: str) -> None:
        left[0] -= method == "epoch.claim"
        if left[0] == -1:
            raise Killed

    setattr(pair, when, die)
    with contextlib.suppress(Killed):
        make_coordinator(pair).adopt(VOLUME)
        raise AssertionError("it was not killed")
    setattr(pair, when, lambda _host, _method: None)


def service(pair: Pair) -> None:
    """The service, started anew: looks, and fails over where it may."""
    coordinator: Coordinator = make_coordinator(pair, automatic=True, unreachable_s=1)
    volume = dataclasses.replace(coordinator.settings.volumes[VOLUME.key], cooldown_s=0)
    watch = Watch(coordinator, lambda _event: None)
    for _ in range(4):
        for host in pair.hosts:
            # Whoever is not there has not been for a while.
            if host not in pair.alive:
                watch._silence.asked(host, coordinator.clock.monotonic() - 60)
            with contextlib.suppress(AgentError):
                watch.look(host)
        with contextlib.suppress(AgentError):
            watch.judge(volume)


def named(pair: Pair) -> str:
    """What an adoption by a person says."""
    try:
        make_coordinator(pair).adopt(VOLUME)
    except AgentError as exc:
        return exc.code if exc.remedy else "no remedy"
    return ""


def back(pair: Pair) -> None:
    """Power, the network and the link, as the remedies say: DRBD thaws whoever was frozen."""
    pair.alive.update({"alpha", "beta"})
    pair.link_up = True
    for host in pair.hosts.values():
        host.frozen, host.incident = False, None


def ends(folder: Path, event: str) -> Iterator[tuple[tuple[str, int, str], str]]:
    for index, (whose, number, when) in enumerate(POINTS):
        place = folder / str(index)
        place.mkdir()
        pair = Pair(place)
        if whose == "its own":
            make_coordinator(pair).adopt(VOLUME)
        killed_at(pair, number, when)
        EVENTS[event](pair)
        service(pair)
        assert len(pair.serving()) <= 1
        if pair.serving():
            yield (whose, number, when), "service"
            continue
        code = named(pair)
        if not code:
            service(pair)
            assert pair.serving()
            yield (whose, number, when), "adopt"
            continue
        back(pair)
        service(pair)
        if not pair.serving() and not any(
            host.replica is not None and host.replica.role == "Primary"
            for host in pair.hosts.values()
        ):
            code += ", switchover"
        yield (whose, number, when), code


@pytest.mark.parametrize("event", EVENTS)
def test_each_ends_in_service_or_names_what_is_needed(tmp_path: Path, event: str) -> None:
    found = dict(ends(tmp_path, event))
    assert len(found) == len(POINTS) == 12
    for (whose, number, when), end in found.items():
        print(f"{event}, {whose} claim, {when} request {number}: {end}")
        if whose == "its own":
            assert end == "service", (number, when)
        else:
            assert end.split(",")[0] in ("service", "adopt", "OWNER_UNCLEAR", "BOTH_MUST_ANSWER")
