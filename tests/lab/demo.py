"""The main job, for real: two hosts, DRBD, NFS, a client that holds a lock and fsyncs.

What scripts/demo runs. Every figure in the closing table was measured in this run.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.lab.harness import layers
from tests.lab.harness.errors import LabError
from tests.lab.harness.lab import Lab
from tests.lab.harness.ssh import Host
from tests.lab.situations import (
    SYNC_TIMEOUT_S,
    configure,
    create,
    move,
    one_volume,
    operate,
    status,
    wait_for_evidence,
)
from tests.lab.writing import Writer, start_writer

BAR_WIDTH = 30
MIB = 1 << 20


@dataclass
class Report:
    """Steps as they went: title, seconds."""

    rows: list[tuple[str, float]] = field(default_factory=list)

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Prints a line when it begins and completes it when it ends."""
        print(f"  {title:<58}", end="", flush=True)
        begun_s = time.monotonic()
        yield
        took_s = time.monotonic() - begun_s
        self.rows.append((title, took_s))
        print(f"{took_s:7.1f} s", flush=True)


def main(arguments: list[str]) -> int:
    """arguments: the package to install in the guests."""
    report = Report()
    package = Path(arguments[0])
    began_s = time.monotonic()
    try:
        snapshot = layers.build([package], progress=lambda line: print(f"  {line}", flush=True))
        lab = Lab.start("demo", snapshot=snapshot)
        try:
            result = show(lab, report)
        finally:
            lab.stop()
    except LabError as exc:
        print(f"\nscripts/demo: {exc}", file=sys.stderr)
        return exc.exit_status
    print_table(report, result, time.monotonic() - began_s)
    faults = (result["lost"], result["damaged"], result["lock_lost"], len(result["errors"]))
    return 1 if any(faults) else 0


def show(lab: Lab, report: Report) -> dict[str, Any]:
    """The whole course; returns what the client and its checker say at the end."""
    alpha, beta = lab.hosts["alpha"], lab.hosts["beta"]
    print("Two storage hosts, alpha and beta, and an NFS client, on Debian's own kernel.")
    with report.step("configure both hosts (the same agent.toml)"):
        configure(lab, one_volume())
    with report.step("alpha: storage-agent create data --first"):
        create(alpha, "data", "--first")
    with report.step("beta: storage-agent create data --join"):
        create(beta, "data", "--join")
    with report.step("first sync"):
        watch_sync(alpha)
    with report.step("alpha: storage-agent promote data"):
        operate(alpha, "promote", "data")
    with report.step("client mounts, locks a file, writes fsynced records"):
        writer = start_writer(lab)
    with report.step("switchover: promote --wait on beta, demote on alpha"):
        move(lab, "data", "alpha", "beta")
    planned_s = settle(writer)
    with report.step("alpha has been in sync for long enough to take over"):
        wait_for_evidence(lab, "alpha", "data")
    with report.step("beta loses its power; alpha notices"):
        lab.power_off("beta")
        lab.wait_until("alpha misses beta", lambda: not connected(alpha), timeout_s=60)
    with report.step("failover, alpha: promote data --peer-is-off beta"):
        operate(alpha, "promote", "data", "--peer-is-off", "beta", "--confirm", "beta")
    settle(writer)
    result = writer.finish()
    return {**result, "planned_gap_s": planned_s}


def settle(writer: Writer) -> float:
    """Waits until the client writes again; returns its longest gap so far, in seconds."""
    writer.wait_for_more(10)
    return longest_gap_s(writer)


def longest_gap_s(writer: Writer) -> float:
    """By the client's own log of acknowledged records."""
    log = writer.lab.hosts["client"].read_file(writer.log, timeout_s=30)
    times = [float(line.split()[2]) for line in log.splitlines() if len(line.split()) == 3]
    return max(later - earlier for earlier, later in itertools.pairwise(times))


def connected(host: Host) -> bool:
    return bool(status(host, "data")["replica"]["peer"]["connection"] == "Connected")


def watch_sync(host: Host) -> None:
    """A bar while there is something to see; returns in sync."""
    total, deadline_s = 0, time.monotonic() + SYNC_TIMEOUT_S
    begun_s = time.monotonic()
    while time.monotonic() < deadline_s:
        replica = status(host, "data")["replica"]
        peer = replica["peer"]
        left = peer["out_of_sync_bytes"] or 0
        total = max(total, left, 1)
        if peer["replication"] == "Established" and peer["disk"] == "UpToDate" and not left:
            clear_bar()
            return
        draw(total - left, total, time.monotonic() - begun_s)
        time.sleep(0.5)
    raise LabError(f"no first sync within {SYNC_TIMEOUT_S} s")


def draw(done: int, total: int, seconds: float) -> None:
    if not sys.stdout.isatty():
        return
    filled = BAR_WIDTH * done // total
    bar = "#" * filled + "-" * (BAR_WIDTH - filled)
    rate = done / MIB / seconds if seconds else 0.0
    print(f"\r  first sync [{bar}] {done // MIB}/{total // MIB} MiB  {rate:.0f} MiB/s", end="")
    sys.stdout.flush()


def clear_bar() -> None:
    """Back to the line as it began."""
    if sys.stdout.isatty():
        print("\r" + " " * 79 + f"\r  {'first sync':<58}", end="", flush=True)


def print_table(report: Report, result: dict[str, Any], total_s: float) -> None:
    rows: list[tuple[str, str]] = [(title, f"{took_s:.1f} s") for title, took_s in report.rows]
    rows += [
        ("client's longest gap, planned switchover", f"{result['planned_gap_s']:.1f} s"),
        ("client's longest gap, whole run (power-off included)", f"{result['longest_gap_s']} s"),
        ("records acknowledged", str(result["acknowledged"])),
        ("records lost", str(result["lost"])),
        ("locks lost", str(int(result["lock_lost"]))),
        ("errors the application saw", str(len(result["errors"]))),
    ]
    width = max(len(title) for title, _ in rows)
    print("\n" + "-" * (width + 14))
    for title, value in rows:
        print(f"{title:<{width}}  {value:>12}")
    print("-" * (width + 14))
    print(f"all in {total_s:.0f} s, in software-emulated guests (about ten times slower than iron)")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
