"""Threads for what looks: a few, in turn, and nobody waits for what nobody wants."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from storage_agent.model.errors import Busy
from storage_agent.service.api.access import Role
from storage_agent.service.api.lanes import THREADS, WAITING_LIMIT, Lanes
from tests.unit.service.parts import wait_until


class Work:
    """Jobs that end when they are let go, each with a name."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.gate = threading.Event()

    def named(self, name: str) -> Callable[[], None]:
        def run() -> None:
            self.begun.append(name)
            assert self.gate.wait(20)

        return run


def wanted() -> bool:
    return True


@pytest.mark.parametrize("role", list(THREADS))
def test_a_role_has_its_threads_and_its_keys_take_turns(role: Role) -> None:
    made, work = Lanes(), Work()
    for number in range(THREADS[role] + 3):
        made.run(role, "greedy", "w", work.named(f"greedy-{number}"), wanted)
    for number in range(2):
        made.run(role, "other", "w", work.named(f"other-{number}"), wanted)
    wait_until(lambda: len(work.begun) == THREADS[role])
    assert all(name.startswith("greedy") for name in work.begun)
    # Nobody else waits for it.
    for free in (Role.GRANT, Role.LOCAL):
        done = threading.Event()
        made.run(free, "k", "w", done.set, wanted)
        assert done.wait(5)
    work.gate.set()
    wait_until(lambda: len(work.begun) == THREADS[role] + 5)
    assert "other-0" in work.begun[: THREADS[role] + 2]


def test_what_nobody_waits_for_is_not_begun() -> None:
    made, work, gone = Lanes(), Work(), threading.Event()
    for number in range(THREADS[Role.OBSERVE]):
        made.run(Role.OBSERVE, "k", "w", work.named(str(number)), wanted)
    made.run(Role.OBSERVE, "k", "w", work.named("gone"), lambda: not gone.is_set())
    made.run(Role.OBSERVE, "k", "w", work.named("last"), wanted)
    gone.set()
    work.gate.set()
    wait_until(lambda: "last" in work.begun)
    assert "gone" not in work.begun


def test_what_waits_is_bounded_and_who_has_gone_makes_room() -> None:
    made, work, gone = Lanes(), Work(), threading.Event()
    for number in range(THREADS[Role.OBSERVE]):
        made.run(Role.OBSERVE, "k", "w", work.named(str(number)), wanted)
    wait_until(lambda: len(work.begun) == THREADS[Role.OBSERVE])
    for number in range(WAITING_LIMIT):
        made.run(Role.OBSERVE, "k", "w", work.named(f"w-{number}"), lambda: not gone.is_set())
    with pytest.raises(Busy) as caught:
        made.run(Role.OBSERVE, "k", "w", work.named("late"), wanted)
    assert caught.value.code == "TOO_MANY_REQUESTS"
    # Of another key there is room, and of this one when nobody waits for the others any more.
    made.run(Role.OBSERVE, "other", "w", work.named("other"), wanted)
    gone.set()
    made.run(Role.OBSERVE, "k", "w", work.named("late"), wanted)
    work.gate.set()
    wait_until(lambda: {"late", "other"} <= set(work.begun))
    assert len(work.begun) == THREADS[Role.OBSERVE] + 2


def test_without_threads_the_one_that_asks_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    made, work = Lanes(), Work()

    class Full(threading.Thread):
        def start(self) -> None:
            raise RuntimeError("can't start new thread")

    real = threading.Thread
    monkeypatch.setattr(threading, "Thread", Full)
    for role in (Role.OBSERVE, Role.GRANT):
        with pytest.raises(Busy, match="no thread"):
            made.run(role, "k", "w", work.named("refused"), wanted)
    monkeypatch.setattr(threading, "Thread", real)
    work.gate.set()
    made.run(Role.OBSERVE, "k", "w", work.named("next"), wanted)
    wait_until(lambda: work.begun == ["next"])
