"""Speed and memory, as ratios within one run (scripts/bench --part lab).

usage: scripts/bench --part lab [--moves N] [--idle-s SECONDS]

1. Planned moves under a client that holds a lock and fsyncs: the agent's demote and promote
   against a bare command sequence that also recovers locks, in turn, in the same guests; and the
   processes that each step starts.
2. `storage-agent status --json` against `python3 -c 'import json,socket'`, in a guest.
3. The daemon at rest: CPU and resident memory.
4. `standalone` on a serving host, and the `rejoin` after it, as their records have timed them.

Exit status 1 if a goal of the design is missed.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lab.harness import layers
from tests.lab.harness.lab import Lab
from tests.lab.harness.ssh import Host
from tests.lab.situations import data_in_sync, data_serving_on_alpha, is_in_sync, move, operate
from tests.lab.writing import Writer, start_writer

PROGRAMS = Path(__file__).parent / "clients"
BARE_ADDRESS = "10.9.0.20"
STATUS_RUNS = 15
TRACE = (
    "pids=$(for unit in storage-agentd storage-agent-nfs@data; do "
    "systemctl show -p MainPID --value $unit; done); "
    "setsid strace -qq -f -ttt -o /root/trace -e trace=execve -e signal=none "
    "$(printf -- '-p %s ' $pids) </dev/null >/dev/null 2>&1 & sleep 2"
)
STEPS_ENDED = (
    "journalctl -u storage-agentd -o json --output-fields=MESSAGE --no-pager | python3 -c '"
    "import json,sys\n"
    "for line in sys.stdin:\n"
    " row = json.loads(line)\n"
    ' if row["MESSAGE"].endswith((": done", ": already")):\n'
    '  print(int(row["__REALTIME_TIMESTAMP"]) / 1e6, row["MESSAGE"])\n\''
)
GOAL_STATUS_RATIO = 3.0
GOAL_IDLE_CPU_RATIO = 0.01
GOAL_RSS_MIB = 40.0
STANDALONE_RUNS = 5
# Natively; an emulated guest that keeps it leaves no doubt.
GOAL_STANDALONE_S = 2.0
REJOIN_S = 120
# Small enough for any guest, large enough that a full sync would show.
WRITE_ALONE = "dd if=/dev/urandom of=/srv/data/alone bs=1M count=8 conv=fsync status=none"


@dataclass(frozen=True, slots=True)
class Gaps:
    """The client's longest gap of each move, in seconds."""

    name: str
    seconds: list[float]

    def line(self) -> str:
        ordered = sorted(self.seconds)
        return (
            f"{self.name:<28} median {statistics.median(ordered):6.2f} s   "
            f"least {ordered[0]:6.2f} s   most {ordered[-1]:6.2f} s   ({len(ordered)} moves)"
        )


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench --part lab")
    parser.add_argument("package", type=Path)
    parser.add_argument("--moves", type=int, default=20)
    parser.add_argument("--idle-s", type=int, default=120)
    options = parser.parse_args(arguments)
    snapshot = layers.build([options.package], progress=lambda line: print(f"  {line}"))
    lab = Lab.start("bench", snapshot=snapshot)
    try:
        data_in_sync(lab)
        data_serving_on_alpha(lab)
        missed = [
            *bench_status(lab.hosts["alpha"]),
            *bench_idle(lab.hosts["alpha"], options.idle_s),
            *bench_standalone(lab),
            *bench_moves(lab, options.moves),
        ]
    finally:
        lab.stop()
    for goal in missed:
        print(f"MISSED: {goal}")
    return 1 if missed else 0


# --- moves ---------------------------------------------------------------------------------------


def bench_moves(lab: Lab, count: int) -> list[str]:
    alpha, beta = lab.hosts["alpha"], lab.hosts["beta"]
    ours = Gaps("storage-agent", measure_moves(lab, agent_move, count))
    steps = operation_steps(alpha) + operation_steps(beta)
    processes = count_processes(lab)
    operate(primary_of(lab), "demote", "data")
    for host in (alpha, beta):
        host.copy_in(PROGRAMS / "bare.sh", "/root/bare.sh")
    run_bare(alpha, "take")
    bare = Gaps("bare command sequence", measure_moves(lab, bare_move, count, BARE_ADDRESS))
    print("\nclient's longest gap in a planned move, lock held, fsync after each record")
    for gaps in (bare, ours):
        print("  " + gaps.line())
    ratio = statistics.median(ours.seconds) / statistics.median(bare.seconds)
    print(f"  ratio of the medians: {ratio:.2f} (goal: at most 1)")
    for line in steps:
        print(f"  seconds of {line}")
    for line in processes:
        print(f"  processes of {line}")
    missed = [] if ratio <= 1 else [f"median gap {ratio:.2f} times the bare sequence's"]
    if max(ours.seconds) > 2 * statistics.median(ours.seconds):
        missed.append("a move took more than twice the median")
    return missed


def measure_moves(
    lab: Lab, move: Callable[[Lab], None], count: int, address: str | None = None
) -> list[float]:
    """Each move is timed by the client's own log of acknowledged records."""
    writer = start_writer(lab, address=address)
    gaps = []
    for number in range(count):
        before = writer.acknowledged()
        move(lab)
        writer.wait_for_more(10)
        gaps.append(longest_gap_after(writer, before))
        print(f"  {move.__name__} {number + 1}/{count}: {gaps[-1]:.2f} s", flush=True)
    result = writer.finish()
    if result["lost"] or result["lock_lost"] or result["errors"]:
        raise SystemExit(f"something was lost: {json.dumps(result)}")
    lab.hosts["client"].run("umount /mnt/data", timeout_s=60)
    return gaps


def longest_gap_after(writer: Writer, record: int) -> float:
    log = writer.lab.hosts["client"].read_file(writer.log, timeout_s=30)
    times = [float(line.split()[2]) for line in log.splitlines()[max(0, record - 1) :]]
    return max(later - earlier for earlier, later in itertools.pairwise(times))


def primary_of(lab: Lab) -> Host:
    for host in (lab.hosts["alpha"], lab.hosts["beta"]):
        if "ro:Primary" in host.run("cat /proc/drbd", timeout_s=20).stdout:
            return host
    raise SystemExit("no host is primary")


def other(lab: Lab, host: Host) -> Host:
    return lab.hosts["beta" if host.name == "alpha" else "alpha"]


def agent_move(lab: Lab) -> None:
    old = primary_of(lab)
    move(lab, "data", old.name, other(lab, old).name)


def bare_move(lab: Lab) -> None:
    old = primary_of(lab)
    run_bare(old, "release")
    run_bare(other(lab, old), "take")


def run_bare(host: Host, verb: str) -> None:
    host.run(f"sh /root/bare.sh {verb} {BARE_ADDRESS}", timeout_s=120)


def count_processes(lab: Lab) -> list[str]:
    """What daemon and NFS server start in each step of one more move, not timed."""
    hosts = (lab.hosts["alpha"], lab.hosts["beta"])
    for host in hosts:
        host.run(TRACE, timeout_s=30)
    agent_move(lab)
    lines = []
    for host in hosts:
        host.run("pkill -x strace; true", timeout_s=30)
        ended = host.run(STEPS_ENDED, timeout_s=30).stdout.splitlines()
        started = host.run("grep -v ENOENT /root/trace", timeout_s=30).stdout.splitlines()
        lines.append(f"{host.name}: {', '.join(per_step(ended, started))}")
    return lines


def per_step(ended: list[str], started: list[str]) -> list[str]:
    """ended: `TIME TITLE: done`.  started: `PID TIME execve("PATH", …`; a program that executes
    another in its own place counts once."""
    found, seen = [], set[str]()
    begin_s = float(started[0].split()[1])
    for line in ended:
        time_text, title = line.split(" ", 1)
        end_s, names = float(time_text), []
        if end_s < begin_s:
            continue
        for row in started:
            pid, at, call = row.split(None, 2)
            if begin_s <= float(at) < end_s and pid not in seen:
                seen.add(pid)
                names.append(call.split('"')[1].rpartition("/")[2])
        begin_s = end_s
        found.append(f"{title.partition(':')[0]} {len(names)} ({' '.join(names)})")
    return found


def operation_steps(host: Host) -> list[str]:
    """Time of each step of the host's newest promote or demote."""
    answer = json.loads(host.run("storage-agent operation --json", timeout_s=30).stdout)
    records = answer.get("data", answer)
    records = records.get("operations", records) if isinstance(records, dict) else records
    newest: dict[str, Any] = records[0]
    steps = ", ".join(f"{step['kind']} {step['duration_s'] or 0:.2f}" for step in newest["steps"])
    return [f"{host.name} {newest['request']['kind']}: {steps}"]


# --- alone and back ------------------------------------------------------------------------------


def bench_standalone(lab: Lab) -> list[str]:
    """alpha serves and drops its peer, is written to, and has it back; both in sync again."""
    alpha = lab.hosts["alpha"]
    alone, back, synced, steps = list[float](), list[float](), list[float](), list[str]()
    for _ in range(STANDALONE_RUNS):
        alone.append(succeeded(operate(alpha, "standalone", "data")))
        steps = operation_steps(alpha)
        alpha.run(WRITE_ALONE, timeout_s=60)
        back.append(succeeded(operate(alpha, "rejoin", "data")))
        begun_s = time.monotonic()
        lab.wait_until("in sync again", lambda: is_in_sync(alpha), timeout_s=REJOIN_S)
        synced.append(time.monotonic() - begun_s)
    print("\nstandalone and back, in an emulated guest, by the operations' own records")
    for name, seconds in (("standalone", alone), ("rejoin", back), ("in sync after it", synced)):
        print(
            f"  {name:<28} median {statistics.median(seconds):6.2f} s   "
            f"most {max(seconds):6.2f} s   ({len(seconds)} times)"
        )
    for line in steps:
        print(f"  seconds of {line}")
    print(f"  standalone's goal: under {GOAL_STANDALONE_S:g} s natively")
    if max(alone) < GOAL_STANDALONE_S:
        return []
    return [f"standalone took {max(alone):.2f} s in a guest"]


def succeeded(record: dict[str, Any]) -> float:
    """How long it took, by its record; it must have changed something."""
    if record["state"] != "succeeded" or not record["changed"]:
        raise SystemExit(f"not done: {json.dumps(record)}")
    return float(record["duration_s"])


# --- status and rest -----------------------------------------------------------------------------


def bench_status(host: Host) -> list[str]:
    commands = {
        "storage-agent status --json": "storage-agent status --json",
        "python3 -c 'import json,socket'": "python3 -c 'import json,socket'",
    }
    took = {name: time_command(host, command) for name, command in commands.items()}
    print("\none command in a guest, median of wall time")
    for name, seconds in took.items():
        print(f"  {name:<34} {seconds * 1000:7.0f} ms")
    ratio, *_ = (took[a] / took[b] for a, b in [tuple(commands)])
    print(f"  ratio: {ratio:.2f} (goal: at most {GOAL_STATUS_RATIO:g})")
    return [] if ratio <= GOAL_STATUS_RATIO else [f"status takes {ratio:.2f} times python's start"]


def time_command(host: Host, command: str) -> float:
    """Seconds, median of STATUS_RUNS, timed inside the guest."""
    script = (
        "import subprocess,time,sys\n"
        f"argv=['/bin/sh','-c',{'exec ' + command + ' >/dev/null'!r}]\n"
        f"for _ in range({STATUS_RUNS}):\n"
        " b=time.monotonic();subprocess.run(argv,check=True);print(time.monotonic()-b)\n"
    )
    done = host.run("python3 -", stdin=script, timeout_s=300)
    return statistics.median(float(line) for line in done.stdout.split())


def bench_idle(host: Host, seconds: int) -> list[str]:
    """CPU of the daemon and its children over a time without requests."""
    probe = (
        "systemctl show -p CPUUsageNSec --value storage-agentd; "
        "grep VmRSS /proc/$(systemctl show -p MainPID --value storage-agentd)/status"
    )
    before = host.run(probe, timeout_s=30).stdout.split()
    host.run(f"sleep {seconds}", timeout_s=seconds + 60)
    after = host.run(probe, timeout_s=30).stdout.split()
    cpu = (int(after[0]) - int(before[0])) / 1e9 / seconds
    rss_mib = int(after[2]) / 1024
    print(f"\ndaemon at rest for {seconds} s, serving one volume")
    print(f"  CPU {cpu:.2%} of one emulated core (goal: at most {GOAL_IDLE_CPU_RATIO:.0%})")
    print(f"  resident memory {rss_mib:.1f} MiB (goal: at most {GOAL_RSS_MIB:g})")
    missed = [] if cpu <= GOAL_IDLE_CPU_RATIO else [f"idle CPU {cpu:.2%}"]
    return missed + ([] if rss_mib <= GOAL_RSS_MIB else [f"RSS {rss_mib:.1f} MiB"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
