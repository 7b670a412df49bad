"""Every crash point of promote and demote on real hosts (scripts/crash-points).

usage: scripts/crash-points [--power] [promote] [demote]

The daemon is caught right before and right after each record of the operation's journal, by
strace at the write(2) and the fsync(2) of that very file, and killed; systemd starts it again.
With --power its host loses its power there, and its disks what they had not flushed. Either way
the volume must end in a state that the agent names, and go on from there without a hand. Prints a
line a point: the record, how the operation ended, where the volume stood. After each point a
client writes, and what it was told to be written is there.

Exit status 1 if a point ends elsewhere.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.lab.harness import layers
from tests.lab.harness.errors import LabError
from tests.lab.harness.lab import Lab
from tests.lab.harness.ssh import Host
from tests.lab.situations import (
    data_in_sync,
    data_on_volatile_disks,
    data_serving_on_alpha,
    is_at_rest,
    is_in_sync,
    is_mounted,
    operate,
    role,
    status,
)
from tests.lab.writing import assert_nothing_lost, start_writer

END_TIMEOUT_S = 240
VERBS = ("promote", "demote")
# The call at which to catch it: before the record is in the file, or once it is.
CALLS = {"before": "write", "after": "fsync"}


@dataclass(frozen=True, slots=True)
class Point:
    """verb: `promote` or `demote`.  number: of the journal's record, from 1.  record: what an
    undisturbed run says there."""

    verb: str
    side: str
    number: int
    record: str

    @property
    def operation_id(self) -> str:
        return f"{self.verb}-{self.side}-{self.number}"

    def __str__(self) -> str:
        return f"{self.verb:<8} {self.side:<6} {self.number:>2} {self.record:<20}"


# --- one point -----------------------------------------------------------------------------------


def begin(host: Host, point: Point, signal: str) -> None:
    """Begins the operation, with the signal waiting for the daemon at that point."""
    call = CALLS[point.side]
    # strace counts for each thread, and the first record is written by another than the rest.
    when = 1 if point.number == 1 else point.number - 1
    host.run(
        "pid=$(systemctl show -p MainPID --value storage-agentd); "
        f"setsid strace -qq -f -p $pid -o /dev/null -P {journal_path(point.operation_id)} "
        f"-e trace={call} -e inject={call}:signal={signal}:when={when} "
        "</dev/null >/dev/null 2>&1 & "
        "while grep -q '^TracerPid:.0$' /proc/$pid/task/*/status; do sleep 0.2; done",
        timeout_s=60,
    )
    host.spawn(f"storage-agent {point.verb} data --operation-id {point.operation_id}")


def kill(lab: Lab, point: Point) -> None:
    alpha = lab.hosts["alpha"]
    pid = alpha.run("systemctl show -p MainPID --value storage-agentd", timeout_s=30).stdout
    begin(alpha, point, "KILL")
    gone = f"! test -e /proc/{pid.strip()}"
    lab.wait_until("the daemon is dead", partial(holds, alpha, gone), timeout_s=END_TIMEOUT_S)


def cut_power(lab: Lab, point: Point) -> None:
    alpha = lab.hosts["alpha"]
    begin(alpha, point, "STOP")
    stopped = "grep -q '^State:.T' /proc/$(systemctl show -p MainPID --value storage-agentd)/status"
    lab.wait_until("the daemon stands", partial(holds, alpha, stopped), timeout_s=END_TIMEOUT_S)
    lab.power_off("alpha", lose_cache=point.number)
    lab.power_on("alpha")
    lab.wait_until("alpha is at rest", partial(is_at_rest, alpha), timeout_s=END_TIMEOUT_S)
    lab.wait_until("in sync again", partial(is_in_sync, alpha), timeout_s=END_TIMEOUT_S)


def holds(host: Host, command: str) -> bool:
    return host.run(command, timeout_s=30, check=False).exit_status == 0


def journal_path(operation_id: str) -> str:
    return f"/var/lib/storage-agent/operation-{operation_id}"


def records(host: Host, operation_id: str) -> list[str]:
    """`intent mount`, …: what was written at once. A step's `done` goes with the next record."""
    text = host.run(f"cat {journal_path(operation_id)}", timeout_s=30).stdout
    lines = [json.loads(line) for line in text.splitlines()]
    return [f"{r['phase']} {r.get('step', '')}".strip() for r in lines if r["phase"] != "done"]


def end_of(lab: Lab, point: Point) -> str:
    """The operation's last state, or `never accepted`."""
    alpha = lab.hosts["alpha"]
    ends: list[str] = []

    def has_ended() -> bool:
        command = f"storage-agent operation {point.operation_id} --json"
        shown = alpha.run(command, timeout_s=60, check=False).stdout
        answer = json.loads(shown) if shown else {}
        if (answer.get("error") or {}).get("code") == "UNKNOWN_OPERATION":
            ends.append("never accepted")
        elif answer.get("data") and answer["data"]["state"] != "running":
            ends.append(answer["data"]["state"])
        return bool(ends)

    lab.wait_until("the operation has ended", has_ended, timeout_s=END_TIMEOUT_S)
    return ends[0]


# --- where it must end ---------------------------------------------------------------------------


def require_end_of_killed(point: Point, end: str) -> bool:
    """Resumed to its end, unless it was never accepted. Returns whether alpha serves."""
    assert end == ("never accepted" if is_first(point) else "succeeded"), end
    return (point.verb == "promote") == (end == "succeeded")


def require_end_of_cut(point: Point, end: str) -> bool:
    """A restart of the host ends what it serves; a promote does not go on by itself."""
    ends = {"failed", "succeeded"} if point.verb == "promote" else {"succeeded"}
    assert end in ({"never accepted"} if is_first(point) else ends), end
    return False


def is_first(point: Point) -> bool:
    return (point.side, point.number) == ("before", 1)


def check(lab: Lab, *, serves: bool) -> str:
    """Where alpha's volume stands. Raises AssertionError."""
    alpha = lab.hosts["alpha"]
    assert role(alpha) == ("Primary" if serves else "Secondary")
    assert is_mounted(alpha, "data") == serves
    where = "serving" if serves else "standby"
    assert status(alpha, "data")["nfs"]["state"] == where
    return f"{role(alpha)}, {where}"


def go_on(lab: Lab, point: Point, *, serves: bool) -> None:
    """What a person would type next does what it says; a client writes."""
    alpha = lab.hosts["alpha"]
    again = operate(alpha, point.verb, "data")
    assert again["state"] == "succeeded", again["message"]
    if serves == (point.verb == "promote"):
        assert again["message"] == "already so", again["message"]
    if point.verb == "demote":
        assert operate(alpha, "promote", "data")["state"] == "succeeded"
    writer = start_writer(lab)
    writer.wait_for_more(12)
    assert_nothing_lost(writer.finish())


# --- all points ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """ready: brings the lab to where the verb begins.  require: returns whether alpha serves;
    raises AssertionError where it ended wrongly."""

    ready: Callable[[str], None]
    crash: Callable[[Point], None]
    require: Callable[[Point, str], bool]


def killing(lab: Lab) -> Course:
    data_in_sync(lab)
    lab.snapshot("promote")
    data_serving_on_alpha(lab)
    lab.snapshot("demote")

    def ready(verb: str) -> None:
        lab.restore(verb)

    return Course(ready=ready, crash=partial(kill, lab), require=require_end_of_killed)


def cutting(lab: Lab) -> Course:
    """Volatile disks cannot be part of a snapshot: each point begins where the last one ended."""
    data_on_volatile_disks(lab)

    def ready(verb: str) -> None:
        operate(lab.hosts["alpha"], "demote" if verb == "promote" else "promote", "data")

    return Course(ready=ready, crash=partial(cut_power, lab), require=require_end_of_cut)


def points(lab: Lab, course: Course, verb: str) -> Iterator[Point]:
    """At each record of an undisturbed run but the second, `planned`: strace cannot tell it from
    the first."""
    alpha = lab.hosts["alpha"]
    course.ready(verb)
    operate(alpha, verb, "data", "--operation-id", "undisturbed-" + verb)
    for number, record in enumerate(records(alpha, "undisturbed-" + verb), 1):
        for side in CALLS if number != 2 else ():
            yield Point(verb, side, number, record)


def walk(lab: Lab, course: Course, point: Point) -> str:
    """The point's line of the table. Raises AssertionError."""
    course.ready(point.verb)
    course.crash(point)
    end = end_of(lab, point)
    serves = course.require(point, end)
    stands = check(lab, serves=serves)
    go_on(lab, point, serves=serves)
    return f"{point}  {end:<15} {stands}"


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/crash-points")
    parser.add_argument("package", type=Path)
    parser.add_argument("verbs", nargs="*")
    parser.add_argument("--power", action="store_true")
    options = parser.parse_args(arguments)
    if unknown := set(options.verbs) - set(VERBS):
        parser.error(f"not among {', '.join(VERBS)}: {' '.join(sorted(unknown))}")
    snapshot = layers.build([options.package], progress=lambda line: print(f"  {line}"))
    lab = Lab.start("crash-points", snapshot=snapshot)
    failed = walked = 0
    try:
        course = cutting(lab) if options.power else killing(lab)
        for verb in options.verbs or VERBS:
            for point in points(lab, course, verb):
                walked += 1
                try:
                    print(walk(lab, course, point), flush=True)
                except (AssertionError, LabError) as exc:
                    failed += 1
                    print(f"{point}  FAILED: {str(exc)[:300]}", flush=True)
    finally:
        lab.stop()
    print(f"{walked} crash points, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
