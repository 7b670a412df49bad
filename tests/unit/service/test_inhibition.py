"""The shutdown inhibitor: taken once for each mount, and never in the way of serving."""

from __future__ import annotations

import dataclasses

import pytest

from storage_agent.model.configuration import VolumeConfig
from storage_agent.model.errors import OperationFailed
from storage_agent.model.observed import Unobserved
from storage_agent.model.operation import OperationState
from storage_agent.model.snapshot import HostSnapshot, VolumeSnapshot
from storage_agent.service.inhibition import BUSY_PAUSES, TRIES, Inhibition
from tests.unit.cli.snapshots import secondary, serving
from tests.unit.fakes import volume_config
from tests.unit.service.parts import ThreadClock, make_agent, record_of, request_of, wait_until

VOLUME = volume_config()


class Taken:
    """fails: so many times first."""

    def __init__(self, fails: int = 0) -> None:
        self.fails = fails
        self.calls: list[str] = []

    def __call__(self, volume: VolumeConfig) -> None:
        self.calls.append(volume.name)
        if len(self.calls) <= self.fails:
            raise OperationFailed("Unit srv-data.mount not found.")


def at_rest(volume: str) -> bool:
    return False


def followed(taken: Taken, *snapshots: VolumeSnapshot) -> Inhibition:
    inhibition = Inhibition(take=taken, clock=ThreadClock(), is_busy=at_rest)
    for snapshot in snapshots:
        count = len(taken.calls)
        inhibition.follow(VOLUME, snapshot)
        if snapshot.filesystem == serving().filesystem and count == 0:
            wait_until(lambda: len(taken.calls) > taken.fails)
    return inhibition


def test_it_is_taken_when_the_volume_is_first_seen_mounted() -> None:
    taken = Taken()
    followed(taken, serving(), serving())
    assert taken.calls == ["data"]


def test_a_secondary_has_none() -> None:
    taken = Taken()
    followed(taken, secondary(), secondary(filesystem=Unobserved(reason="stuck")))
    assert taken.calls == []


def test_mounted_again_it_is_taken_again() -> None:
    taken = Taken()
    followed(taken, serving(), secondary(), serving())
    wait_until(lambda: taken.calls == ["data", "data"])


def test_what_was_not_seen_is_no_change() -> None:
    taken = Taken()
    followed(taken, serving(), serving(filesystem=Unobserved(reason="stuck")), serving())
    assert taken.calls == ["data"]


def test_systemd_may_see_the_mount_later() -> None:
    taken = Taken(fails=1)
    followed(taken, serving())
    assert taken.calls == ["data", "data"]


def test_it_waits_for_the_end_of_the_operation_that_serves() -> None:
    taken, busy = Taken(), [True, True, False]

    def is_busy(volume: str) -> bool:
        assert taken.calls == []
        return busy.pop(0)

    inhibition = Inhibition(take=taken, clock=ThreadClock(), is_busy=is_busy)
    inhibition.follow(VOLUME, serving())
    wait_until(lambda: taken.calls == ["data"])
    assert busy == []


def test_it_does_not_wait_for_ever_for_an_operation_that_broke_off() -> None:
    taken, asked = Taken(), list[str]()

    def is_busy(volume: str) -> bool:
        asked.append(volume)
        return True

    inhibition = Inhibition(take=taken, clock=ThreadClock(), is_busy=is_busy)
    inhibition.follow(VOLUME, serving())
    wait_until(lambda: taken.calls == ["data"])
    assert asked == ["data"] * BUSY_PAUSES


def test_without_logind_it_is_given_up() -> None:
    taken = Taken(fails=100)
    inhibition = Inhibition(take=taken, clock=ThreadClock(), is_busy=at_rest)
    inhibition.follow(VOLUME, serving())
    wait_until(lambda: len(taken.calls) == TRIES)


@pytest.mark.parametrize("state", [OperationState.ROLLED_BACK, OperationState.SUCCEEDED])
def test_an_operation_that_put_the_mount_back_has_it_taken_again(state: OperationState) -> None:
    taken = Taken()
    agent = make_agent(inhibit=taken)
    snapshot = serving()
    host = HostSnapshot(
        host="alpha",
        boot_id="boot-1",
        taken_monotonic_s=1.0,
        taken_wall_s=1.0,
        volumes={"data": snapshot},
        drbd_version=None,
    )
    agent.published(host, "data", ())
    wait_until(lambda: taken.calls == ["data"])
    agent.published(dataclasses.replace(host, volumes={"gone": snapshot}), "gone", ())
    agent._operation_ended(record_of(request_of(), state=state))
    again = state is not OperationState.SUCCEEDED
    wait_until(lambda: len(taken.calls) == (2 if again else 1))
