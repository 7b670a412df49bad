"""Walks every state of the small model, nearest first."""

from __future__ import annotations

import sys
import time
from collections import deque
from dataclasses import dataclass

from tests.simulation.small_canonical import canonical
from tests.simulation.small_model import successors
from tests.simulation.small_world import Limits, Rules, World, problem, start


@dataclass(frozen=True, slots=True)
class Result:
    """course: the steps that lead to the problem; empty where there is none."""

    states: frozenset[World]
    transitions: int
    problem: str
    course: tuple[str, ...]


def walk(rules: Rules, limits: Limits) -> Result:
    """All states, nearest first, so that a course to a problem is a shortest one."""
    first = canonical(start(), rules, limits)
    came_from: dict[World, tuple[str, World | None]] = {first: ("", None)}
    waiting = deque([first])
    transitions = 0
    while waiting:
        world = waiting.popleft()
        for name, found in successors(world, rules, limits):
            transitions += 1
            after = canonical(found, rules, limits)
            if after in came_from:
                continue
            came_from[after] = (name, world)
            if wrong := problem(after):
                return Result(frozenset(came_from), transitions, wrong, _course(came_from, after))
            waiting.append(after)
    return Result(frozenset(came_from), transitions, "", ())


def _course(came_from: dict[World, tuple[str, World | None]], end: World) -> tuple[str, ...]:
    steps: list[str] = []
    world: World | None = end
    while world is not None:
        name, world = came_from[world]
        steps.append(name)
    return tuple(reversed(steps[:-1]))


def main() -> int:
    limits = Limits(*(int(word) for word in sys.argv[1:]))
    begun_s = time.monotonic()
    result = walk(Rules(), limits)
    print(
        f"{len(result.states)} states, {result.transitions} transitions, {limits}, "
        f"{time.monotonic() - begun_s:.0f} s"
    )
    print(result.problem or "at most one writer, no acknowledged write lost, in all of them")
    for number, step in enumerate(result.course, 1):
        print(f"{number:3}. {step}")
    return 1 if result.problem else 0


if __name__ == "__main__":
    sys.exit(main())
