"""What a seeded bug is, and how it is hunted: put in place while its scene runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from tests.simulation.scenes import violations

SEEDS = 12
Patch = tuple[Any, str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """patches: object, attribute, what it is instead.  caught_by: the checker meant for it."""

    name: str
    caught_by: str
    scene: str
    patches: Callable[[], list[Patch]]


@contextmanager
def applied(mutant: Mutant) -> Iterator[None]:
    with ExitStack() as stack:
        for target, name, value in mutant.patches():
            stack.enter_context(_replaced(target, name, value))
        yield


@contextmanager
def _replaced(target: Any, name: str, value: Any) -> Iterator[None]:
    """An attribute of a module or class, or an entry of a table."""
    if isinstance(target, dict):
        before = target[name]
        target[name] = value
        try:
            yield
        finally:
            target[name] = before
        return
    missing = object()
    before = vars(target).get(name, missing)
    setattr(target, name, value)
    try:
        yield
    finally:
        if before is missing:
            delattr(target, name)
        else:
            setattr(target, name, before)


def hunt(mutant: Mutant) -> tuple[int, str, tuple[str, ...]]:
    """Seeds tried, what the intended checker said (empty: nothing), and which others spoke."""
    others: set[str] = set()
    with applied(mutant):
        for seed in range(SEEDS):
            for invariant, text in violations(mutant.scene, seed):
                if invariant == mutant.caught_by:
                    return seed + 1, text, tuple(sorted(others))
                others.add(invariant)
    return SEEDS, "", tuple(sorted(others))
