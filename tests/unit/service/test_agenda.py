"""When which part is looked at."""

from __future__ import annotations

from storage_agent.model.snapshot import Facet
from storage_agent.service.observing.agenda import RESCAN_S, SETTLE_S, STUCK_S, Agenda, Task

ARRAY = Task("data", Facet.ARRAY)
REPLICA = Task("data", Facet.REPLICA)


def looked(now_s: float = 100.0) -> Agenda:
    """Both parts looked at once, at `now_s`, without taking any time."""
    agenda = Agenda()
    agenda.keep(frozenset({ARRAY, REPLICA}), now_s - SETTLE_S)
    for task in agenda.begin_due(now_s):
        agenda.finish(task, now_s, RESCAN_S)
    return agenda


def test_all_is_due_at_the_start_and_again_after_the_period() -> None:
    agenda = Agenda()
    agenda.keep(frozenset({ARRAY, REPLICA}), 0.0)
    assert set(agenda.begin_due(SETTLE_S)) == {ARRAY, REPLICA}
    assert agenda.finish(ARRAY, 1.0, RESCAN_S)
    assert agenda.finish(REPLICA, 1.0, 2.0)
    assert agenda.begin_due(2.9) == ()
    assert agenda.begin_due(3.0) == (REPLICA,)
    assert agenda.begin_due(1.0 + RESCAN_S) == (ARRAY,)


def test_a_hint_makes_one_look_of_a_burst() -> None:
    agenda = looked()
    for ms in range(10):
        agenda.hint(ARRAY, 101.0 + ms / 1000)
    assert agenda.begin_due(101.0) == ()
    assert agenda.begin_due(101.0 + SETTLE_S) == (ARRAY,)
    assert agenda.begin_due(101.1) == ()


def test_a_hint_that_is_not_urgent_waits() -> None:
    agenda = looked()
    agenda.hint(ARRAY, 101.0, 1.0)
    assert agenda.wake_s() == 102.0
    agenda.hint(ARRAY, 101.5)
    assert agenda.wake_s() == 101.5 + SETTLE_S


def test_a_hint_during_a_look_makes_another_one() -> None:
    agenda = looked()
    agenda.hint(ARRAY, 101.0)
    assert agenda.begin_due(101.1) == (ARRAY,)
    agenda.hint(ARRAY, 101.15)
    assert agenda.begin_due(101.15) == ()
    agenda.finish(ARRAY, 101.2, RESCAN_S)
    assert agenda.begin_due(102.0) == (ARRAY,)


def test_after_a_slow_look_comes_a_rest() -> None:
    agenda = looked()
    agenda.hint(ARRAY, 101.0)
    agenda.begin_due(101.1)
    agenda.finish(ARRAY, 101.6, RESCAN_S)
    agenda.hint(ARRAY, 101.6)
    assert agenda.begin_due(102.5) == ()
    assert agenda.begin_due(102.6) == (ARRAY,)


def test_a_look_that_hangs_is_found_once_and_not_started_twice() -> None:
    agenda = looked()
    agenda.hint(ARRAY, 101.0)
    agenda.begin_due(101.1)
    assert agenda.wake_s() == 101.1 + STUCK_S
    assert agenda.find_stuck(101.1 + STUCK_S - 0.1) == ()
    assert agenda.find_stuck(101.1 + STUCK_S) == (ARRAY,)
    assert agenda.is_stuck(ARRAY)
    assert agenda.find_stuck(200.0) == ()
    agenda.hint(ARRAY, 200.0)
    assert ARRAY not in agenda.begin_due(300.0)


def test_what_a_hung_look_brings_is_not_used_but_looked_at_again() -> None:
    agenda = looked()
    agenda.hint(ARRAY, 101.0)
    agenda.begin_due(101.1)
    agenda.find_stuck(120.0)
    assert not agenda.finish(ARRAY, 150.0, RESCAN_S)
    assert not agenda.is_stuck(ARRAY)
    assert ARRAY in agenda.begin_due(153.0)


def test_what_is_no_longer_configured_is_forgotten() -> None:
    agenda = looked()
    agenda.hint(ARRAY, 101.0)
    agenda.begin_due(101.1)
    agenda.keep(frozenset({REPLICA}), 102.0)
    agenda.finish(ARRAY, 103.0, RESCAN_S, is_kept=False)
    assert agenda.begin_due(1000.0) == (REPLICA,)
    assert agenda.wake_s() == 1000.0 + STUCK_S


def test_an_empty_agenda_never_wakes() -> None:
    assert Agenda().wake_s() == float("inf")
