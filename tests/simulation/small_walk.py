"""Walks every state of the small model, nearest first."""

from __future__ import annotations

import sys
import time
from collections import deque
from dataclasses import dataclass

from tests.simulation.small_model import Limits, Rules, canonical, problem, start, successors


@dataclass(frozen=True, slots=True)
class Result:
    """course: the steps that lead to the problem; empty where there is none."""

    states: int
    transitions: int
    problem: str
    course: tuple[str, ...]


def walk(rules: Rules, limits: Limits) -> Result:
    """All states, nearest first, so that a course to a problem is a shortest one. Of a state that
    was left only its hash is kept, and how it was reached."""
    first = start()
    came_from: dict[int, tuple[str, int]] = {hash(first): ("", 0)}
    waiting = deque([first])
    transitions = 0
    while waiting:
        world = waiting.popleft()
        here = hash(world)
        for name, found in successors(world, rules, limits):
            transitions += 1
            after = canonical(found)
            key = hash(after)
            if key in came_from:
                continue
            came_from[key] = (name, here)
            if wrong := problem(after):
                return Result(len(came_from), transitions, wrong, _course(came_from, key))
            waiting.append(after)
    return Result(len(came_from), transitions, "", ())


def _course(came_from: dict[int, tuple[str, int]], key: int) -> tuple[str, ...]:
    steps: list[str] = []
    while (step := came_from[key])[0]:
        steps.append(step[0])
        key = step[1]
    return tuple(reversed(steps))


def main() -> int:
    limits = Limits(*(int(word) for word in sys.argv[1:]))
    begun_s = time.monotonic()
    result = walk(Rules(), limits)
    print(
        f"{result.states} states, {result.transitions} transitions, {limits}, "
        f"{time.monotonic() - begun_s:.0f} s"
    )
    print(result.problem or "at most one writer, no acknowledged write lost, in all of them")
    for number, step in enumerate(result.course, 1):
        print(f"{number:3}. {step}")
    return 1 if result.problem else 0


if __name__ == "__main__":
    sys.exit(main())
