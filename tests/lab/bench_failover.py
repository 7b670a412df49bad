"""How long clients wait when a serving host is lost (scripts/bench --part failover).

usage: scripts/bench --part failover [--takeovers N]

`storage-coordinator watch`, on a machine of its own, fails a volume over by itself. Each takeover
begins from the same snapshot of the lab, under a client that holds a lock and fsyncs each record;
measured is that client's longest gap, by its own log:
1. the serving host loses its power;
2. all its links are cut, with the clients' too.

Exit status 1 if a goal is missed: the median, the longest, a record or a lock lost.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lab.bench import longest_gap_after
from tests.lab.coordination import by_itself
from tests.lab.harness import layers
from tests.lab.harness.lab import Lab
from tests.lab.harness.ssh import Host
from tests.lab.situations import arbitrated_serving_on_alpha, role
from tests.lab.writing import start_writer

READY = "ready"
# As the coordinator of the lab is configured, after the adoption: it does nothing before.
COOLDOWN_S = 60
TAKEOVER_TIMEOUT_S = 180
# What the coordinator's journal says when it begins.
BEGINS = "failing over"


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """Of one kind of loss; the client's longest gap, in seconds."""

    name: str
    lose: Callable[[Lab], None]
    median_s: float
    most_s: float


def power_cut(lab: Lab) -> None:
    lab.power_off("alpha")


def links_cut(lab: Lab) -> None:
    for link in ("replication", "service"):
        lab.cut("alpha", link=link)


GOALS = (
    Goal(name="power cut", lose=power_cut, median_s=12, most_s=16),
    Goal(name="all links cut", lose=links_cut, median_s=18, most_s=18),
)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench --part failover")
    parser.add_argument("package", type=Path)
    parser.add_argument("--takeovers", type=int, default=10)
    options = parser.parse_args(arguments)
    snapshot = layers.build([options.package], progress=lambda line: print(f"  {line}"))
    lab = Lab.start("bench-failover", snapshot=snapshot)
    try:
        arbitrated_serving_on_alpha(lab)
        by_itself(lab)
        lab.hosts["client"].run(f"sleep {COOLDOWN_S}", timeout_s=COOLDOWN_S + 60)
        lab.snapshot(READY)
        missed = [text for goal in GOALS for text in measure(lab, goal, options.takeovers)]
    finally:
        lab.stop()
    for text in missed:
        print(f"MISSED: {text}")
    return 1 if missed else 0


def measure(lab: Lab, goal: Goal, count: int) -> list[str]:
    """What was missed, in words."""
    gaps = []
    for number in range(count):
        gaps.append(take_over(lab, goal))
        print(f"  {goal.name} {number + 1}/{count}: {gaps[-1]:.2f} s", flush=True)
    median_s = statistics.median(gaps)
    print(
        f"{goal.name:<14} median {median_s:5.1f} s (goal {goal.median_s:g})   least "
        f"{min(gaps):5.1f} s   most {max(gaps):5.1f} s (goal {goal.most_s:g})   ({count} takeovers)"
    )
    missed = []
    if median_s > goal.median_s:
        missed.append(f"{goal.name}: median {median_s:.1f} s")
    if max(gaps) > goal.most_s:
        missed.append(f"{goal.name}: {max(gaps):.1f} s once")
    return missed


def take_over(lab: Lab, goal: Goal) -> float:
    """One takeover; the client's longest gap. Raises SystemExit if it lost something."""
    lab.restore(READY)
    client, beta = lab.hosts["client"], lab.hosts["beta"]
    writer = start_writer(lab)
    writer.wait_for_more(50)
    before, begun_s = writer.acknowledged(), unix_s(client)
    goal.lose(lab)
    lab.wait_until("beta serves", lambda: role(beta) == "Primary", timeout_s=TAKEOVER_TIMEOUT_S)
    writer.wait_for_more(20)
    gap_s = longest_gap_after(writer, before)
    result = writer.finish()
    if result["lost"] or result["lock_lost"] or result["errors"]:
        raise SystemExit(f"something was lost: {json.dumps(result)}")
    print(f"    {parts(client, beta, begun_s)}")
    return gap_s


def unix_s(host: Host) -> float:
    return float(host.run("date +%s.%N", timeout_s=30).stdout)


def parts(client: Host, beta: Host, begun_s: float) -> str:
    """When what has happened, by the guests' clocks, which were set together."""
    decided = client.run(
        f"journalctl -u storage-coordinator -o short-unix --since=@{int(begun_s)} --no-pager "
        f"| grep '{BEGINS}'",
        timeout_s=30,
    ).stdout
    record = newest_promote(beta)
    steps = ", ".join(f"{step['kind']} {step['duration_s'] or 0:.1f}" for step in record["steps"])
    started_s = record["started_wall_s"] - begun_s
    return (
        f"decided at {float(decided.split()[0]) - begun_s:.1f} s, promote from {started_s:.1f} s "
        f"for {record['duration_s']:.1f} s: {steps}"
    )


def newest_promote(host: Host) -> dict[str, Any]:
    answer = json.loads(host.run("storage-agent operation --json", timeout_s=30).stdout)
    found: dict[str, Any] = next(
        record for record in answer["data"]["operations"] if record["request"]["kind"] == "promote"
    )
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
