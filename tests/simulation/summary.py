"""Many schedules together: what happened, what was asked, what broke."""

from __future__ import annotations

import gc
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

from tests.simulation.faults import ALL_KINDS
from tests.simulation.schedule import Outcome, run_schedule

CHUNK = 50
GARBAGE_AT_ONCE = 50_000
# What the configuration or the kernel does, and no checker holds against the agent.
KNOWN = {
    "ALONE_WITHOUT_ARBITRATION": "arbitration none: acknowledged alone after the link was lost, "
    "then the other side promoted by a true declaration; PEER_MAY_HAVE_WRITTEN warns, which I17 "
    "checks",
    "ACKNOWLEDGED_ON_INCONSISTENT": "DRBD 8.4 itself acknowledges what only a disk has that is not "
    "UpToDate (as of a target whose source is gone), or only a peer that does not know, by a "
    "generation of its own, that it has the only good disk",
    "RESYNC_ABORTED": "DRBD 8.4 (seen on two kernels: tests/data/drbd-courses/moments.txt) calls a "
    "target UpToDate whose source loses its disk in the bitmap exchange, or an old disk that is "
    "attached beside a Primary, or to it, while the peer's fails, or a target whose end of the "
    "resync the source has missed, once the source has written more and lost its disk; or takes an "
    "old disk that is attached to a cut off Primary which has not heard of its peer's new "
    "generation (by a person: of the agent I4 allows it only where the cut came after its look). "
    "From then on I2 and I3 are not asked in that schedule, nor I4 of the peer that a standalone "
    "has left behind",
    "END_NOT_RECORDED": "the state folder cannot be written, and the daemon is killed before it "
    "can be again: the operation, whose answer said so, is taken up anew and answered again",
    "DISK_LOST_IN_PARTING": "standalone: the peer's disk is lost between the last look and the "
    "parting; DRBD calls it Outdated, which its metadata, out of reach, do not say. It is not "
    "promoted for that: its attachment proves nothing any more",
    "LATE_COMMAND": "a command that was given up at its deadline takes effect after the operation "
    "was taken back, and leaves the host in between",
    "FROZEN_KEEPS_LINK": "a Primary that lost its peer keeps its service link up until kernel and "
    "agent have noticed: reads may be old for that long",
    "FROZEN_STAYS_MOUNTED": "a Primary that lost its peer stays mounted: unmounting would hang; "
    "what is mounted in that state has its content not compared",
}


@dataclass
class Summary:
    """Adds up. broken: seed, invariant and text of each violation."""

    schedules: int = 0
    steps: int = 0
    seconds: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    checks: Counter[str] = field(default_factory=Counter)
    known: Counter[str] = field(default_factory=Counter)
    expected: Counter[str] = field(default_factory=Counter)
    broken: list[tuple[int, str, str]] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        self.schedules += 1
        self.steps += outcome.steps
        self.counts += outcome.counts
        self.faults += outcome.faults
        self.checks += outcome.checks
        self.known += outcome.known
        self.expected.update(v.invariant for v in outcome.expected)
        self.broken += [(outcome.seed, v.invariant, v.text) for v in outcome.violations]

    def join(self, other: Summary) -> None:
        self.schedules += other.schedules
        self.steps += other.steps
        for name in ("counts", "faults", "checks", "known", "expected"):
            getattr(self, name).update(getattr(other, name))
        self.broken += other.broken

    def headline(self) -> str:
        rate = self.schedules / self.seconds if self.seconds else 0.0
        return (
            f"{self.schedules} schedules in {self.seconds:.1f} s: {rate:.1f} a second, "
            f"{60 * rate:.0f} a minute; {self.steps} steps, {self.faults.total()} faults injected, "
            f"{self.checks.total()} invariant checks, {len(self.broken)} violations"
        )

    def render(self) -> str:
        operations = {k: v for k, v in self.counts.items() if k.split(" ")[0] in _KINDS}
        others = {k: v for k, v in self.counts.items() if k not in operations}
        lines = [
            self.headline(),
            *_table("faults by kind", {k: self.faults[k] for k in ALL_KINDS}),
            *_table("operations by outcome", operations),
            *_table("checks by invariant", self.checks),
            *_table("what happened", others),
            *_table("known findings, excluded where they apply", self.known),
            *_table("violations under a lying admin (expected)", self.expected),
        ]
        lines += [
            f"VIOLATION seed {seed}: {name}: {text[:240]}" for seed, name, text in self.broken
        ]
        return "\n".join(lines)


_KINDS = ("promote", "demote", "assemble", "close-link", "open-link")


def _table(title: str, counts: Counter[str] | dict[str, int]) -> list[str]:
    width = max((len(name) for name in counts), default=0)
    return [f"{title}:", *(f"  {name:<{width}} {counts[name]:>10}" for name in sorted(counts))]


def run_seeds(seeds: Iterable[int]) -> Summary:
    begun_s = time.perf_counter()
    summary = Summary()
    for seed in seeds:
        summary.add(run_schedule(seed))
    summary.seconds = time.perf_counter() - begun_s
    return summary


def run_parallel(first: int, count: int, jobs: int) -> Iterator[Summary]:
    """The sum so far, each time another part is there."""
    begun_s = time.perf_counter()
    parts = [
        range(start, min(start + CHUNK, first + count))
        for start in range(first, first + count, CHUNK)
    ]
    total = Summary()
    # Cycles by the thousand a second, none of them large.
    gc.set_threshold(GARBAGE_AT_ONCE)
    if jobs == 1:
        done: Iterator[Summary] = map(run_seeds, parts)
        yield from _sum(total, done, begun_s)
        return
    with ProcessPoolExecutor(
        jobs, initializer=gc.set_threshold, initargs=(GARBAGE_AT_ONCE,)
    ) as pool:
        yield from _sum(total, pool.map(run_seeds, parts), begun_s)


def _sum(total: Summary, parts: Iterator[Summary], begun_s: float) -> Iterator[Summary]:
    for part in parts:
        total.join(part)
        total.seconds = time.perf_counter() - begun_s
        yield total
