"""What a seeded bug is, and how it is hunted: put in place while its scene runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from tests.simulation.checkers import Site, Violation
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


def seeded(name: str, caught_by: str, scene: str, patches: Callable[[], list[Patch]]) -> Mutant:
    return Mutant(name=name, caught_by=caught_by, scene=scene, patches=patches)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Hunt:
    """tried: seeds.  text: what the intended checker said; empty: nothing.  spoke: every
    invariant that broke.  sites: every check that failed, file and line."""

    tried: int
    text: str
    spoke: frozenset[str]
    sites: frozenset[Site]


def hunt(mutant: Mutant) -> Hunt:
    """Ends with the first simulation in which the intended checker speaks."""
    found: list[Violation] = []
    text, tried = "", 0
    with applied(mutant):
        for seed, seen in _simulations(mutant.scene):
            tried = seed + 1
            found += seen
            said = [v.text for v in seen if v.invariant == mutant.caught_by]
            if said:
                text = said[0]
                break
    return Hunt(
        tried=tried,
        text=text,
        spoke=frozenset(v.invariant for v in found),
        sites=frozenset(v.site for v in found),
    )


def _simulations(scene: str) -> Iterator[tuple[int, tuple[Violation, ...]]]:
    for seed in range(SEEDS):
        for found in violations(scene, seed):
            yield seed, found
