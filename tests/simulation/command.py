"""What scripts/simulate does."""

from __future__ import annotations

import argparse
import sys

from tests.simulation.schedule import run_schedule
from tests.simulation.summary import KNOWN, Summary, run_parallel

# In a file: what an interrupted run has to say for itself.
LINE_EACH = 1000


def main(arguments: list[str]) -> int:
    """Exit 1 if an invariant broke, 2 for wrong use."""
    parser = argparse.ArgumentParser(
        prog="scripts/simulate",
        description="Runs the real policy, planners and engine on a simulated pair of hosts.",
    )
    parser.add_argument("--seeds", type=int, metavar="N", help="run N schedules")
    parser.add_argument("--start", type=int, default=0, metavar="S", help="with --seeds: the first")
    parser.add_argument("--jobs", type=int, default=1, metavar="J", help="with --seeds: processes")
    parser.add_argument("--seed", type=int, metavar="N", help="run this one")
    parser.add_argument("--trace", action="store_true", help="with --seed: print its course")
    parser.add_argument("--known", action="store_true", help="explain the known findings")
    parser.add_argument("--crash-points", action="store_true", help="crash at every record")
    parser.add_argument("--mutants", action="store_true", help="try the seeded bugs")
    parser.add_argument("--remedies", type=int, metavar="N", help="type what N pairs advise")
    asked = parser.parse_args(arguments)
    if asked.known:
        print("\n".join(f"{name}: {text}" for name, text in KNOWN.items()))
        return 0
    if asked.crash_points:
        from tests.simulation.crash_points import show_crash_points

        return show_crash_points()
    if asked.mutants:
        from tests.simulation.mutants import show_mutants

        return show_mutants()
    if asked.remedies is not None:
        from tests.simulation.following import show_walks

        return show_walks(asked.remedies)
    if asked.seed is not None:
        return _show(asked.seed, with_trace=asked.trace)
    if asked.seeds is None:
        parser.error(
            "one of --seeds, --seed, --crash-points, --mutants, --remedies, --known is needed"
        )
    return _run(asked.start, asked.seeds, asked.jobs)


def _show(seed: int, *, with_trace: bool) -> int:
    outcome = run_schedule(seed, keep_trace=with_trace)
    print("\n".join(outcome.trace), end="\n" if outcome.trace else "")
    summary = Summary()
    summary.add(outcome)
    print("\n".join(f"VIOLATION {v}" for v in (*outcome.violations, *outcome.expected)))
    print(f"seed {seed}: {outcome.steps} steps, {len(outcome.violations)} violations")
    return 1 if outcome.violations else 0


def _run(first: int, count: int, jobs: int) -> int:
    total, told, next_line = Summary(), 0, LINE_EACH
    end = "\r" if sys.stderr.isatty() else "\n"
    for total in run_parallel(first, count, jobs):
        for seed, name, text in total.broken[told:]:
            print(f"seed {seed}: {name}: {text[:160]}", file=sys.stderr, flush=True)
        told = len(total.broken)
        if end == "\r" or total.schedules >= next_line:
            next_line = total.schedules + LINE_EACH
            print(f"of {count}: {total.headline()}", end=end, file=sys.stderr, flush=True)
    print(file=sys.stderr)
    print(total.render())
    return 1 if total.broken else 0
