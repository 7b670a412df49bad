"""How far a copying is and how fast it goes, from looks one after the other."""

from __future__ import annotations

from dataclasses import replace

import pytest

from storage_agent.model.replica import Replica
from storage_agent.policy.sync import RateMeter, SyncRates, running_syncs
from tests.unit.cli import snapshots
from tests.unit.cli.snapshots import GIB


def test_the_rate_is_that_of_the_last_seconds() -> None:
    meter = RateMeter()
    for second in range(60):
        meter.add(float(second), second * (1000 if second < 30 else 2000))
    assert meter.rate_bytes_s() == pytest.approx(2000)


def test_one_sample_has_no_rate() -> None:
    meter = RateMeter()
    meter.add(0.0, 100)
    assert meter.rate_bytes_s() is None


def test_a_stalled_sync_has_no_rate() -> None:
    meter = RateMeter()
    for second, done in ((0, 0), (2, 1000), (12, 1000)):
        meter.add(float(second), done)
    assert meter.rate_bytes_s() is None


def test_going_backwards_starts_again() -> None:
    meter = RateMeter()
    meter.add(0.0, 5000)
    meter.add(1.0, 100)
    assert meter.rate_bytes_s() is None
    meter.add(2.0, 300)
    assert meter.rate_bytes_s() == 200


def test_an_array_rebuild_is_shown_too() -> None:
    view = snapshots.array_view()
    assert view.array is not None
    array = replace(view.array, sync_action="recover", sync_completed_ratio=0.25)
    snapshot = snapshots.serving(array=replace(view, array=array))
    assert [sync.what for sync in running_syncs(snapshot, "beta")] == ["array recover"]


def test_a_look_at_one_moment_knows_the_rate_of_those_before() -> None:
    rates = SyncRates()
    assert rates.of("data") == {}
    for second in range(4):
        seen = snapshots.syncing(left_bytes=(10 - second) * GIB, at_s=1.0)
        rates.follow(seen, "beta", float(second))
    assert rates.of("data") == {"resync to beta": pytest.approx(GIB)}
    rates.follow(snapshots.serving(), "beta", 5.0)
    assert rates.of("data") == {}
    # The next one begins without the old samples; another volume's goes on.
    rates.follow(replace(snapshots.syncing(left_bytes=GIB, at_s=1.0), volume="apt"), "beta", 6.0)
    rates.follow(snapshots.syncing(left_bytes=GIB, at_s=1.0), "beta", 6.0)
    assert rates.of("data") == rates.of("apt") == {}


def test_what_is_not_known_is_not_counted() -> None:
    syncing = snapshots.syncing(left_bytes=GIB, at_s=1.0)
    assert isinstance(syncing.replica, Replica)
    unknown = replace(syncing.replica, size_bytes=None)
    assert running_syncs(replace(syncing, replica=unknown, array=None), "beta") == ()
    assert running_syncs(replace(syncing, replica=None), "beta") == ()
