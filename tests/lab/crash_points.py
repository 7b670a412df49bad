"""Every crash point of promote and demote on real hosts (scripts/crash-points).

usage: scripts/crash-points [--power] [promote] [demote]

The daemon is caught right before and right after each record of the operation's journal, by
strace at the write(2) and the fsync(2) of that very file, and killed; systemd starts it again.
With --power its host loses its power there, and its disks what they had not flushed; where the
volume is mounted, something is written right before and not flushed. Either way the volume must
end in a state that the agent names, and go on from there without a hand. Prints a line a point:
the record, how the operation ended, where the volume stood. After each point a client writes, and
what it was told to be written is there, also what it wrote before a demote.

Exit status 1 if a point ends elsewhere, or if all the power cuts together have taken nothing.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

from tests.lab.harness import layers
from tests.lab.harness.deadline import wait_until
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
from tests.lab.writing import UNFLUSHED, assert_nothing_lost, start_writer

END_TIMEOUT_S = 240
VERBS = ("promote", "demote")
# The call at which to catch it: before the record is in the file, or once it is.
CALLS = {"before": "write", "after": "fsync"}
TRACE = "/run/crash-points.strace"
CALL = re.compile(r"\b(write|fsync)\(")
RECORD = re.compile(r'\{\\"phase\\": \\"([a-z-]+)\\"(?:, \\"step\\": \\"([a-z-]+)\\")?')


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


@dataclass(frozen=True, slots=True)
class Walked:
    """end: the operation's.  stands: where the volume stood then.  lost_sectors: by its host's
    disks in the power cut."""

    point: Point
    end: str
    stands: str
    lost_sectors: int

    def __str__(self) -> str:
        lost = f", {self.lost_sectors} sectors lost" if self.lost_sectors else ""
        return f"{self.point}  {self.end:<15} {self.stands}{lost}"


# --- one point -----------------------------------------------------------------------------------


def begin(host: Host, point: Point, signal: str) -> None:
    """Begins the operation, with the signal waiting for the daemon at that point."""
    asked = f"storage-agent {point.verb} data --operation-id {point.operation_id}"
    # strace counts for each thread, and the first record is written by another than the rest.
    when = 1 if point.number == 1 else point.number - 1
    if point.number == 2:
        # The other thread begins with a look at the first record, which is durable by then.
        attach(host, point, "read", "STOP", 1)
        host.spawn(asked)
        await_stand(host)
        detach(host)
        attach(host, point, CALLS[point.side], signal, when)
        host.run(f"kill -CONT {daemon(host)}", timeout_s=30)
    else:
        attach(host, point, CALLS[point.side], signal, when)
        host.spawn(asked)


def attach(host: Host, point: Point, call: str, signal: str, when: int) -> None:
    """Returns once strace has every thread of the daemon, running or stopped."""
    host.run(
        f"rm -f {TRACE}; setsid strace -qq -f -p {daemon(host)} -o {TRACE} -s 65536 "
        f"-P {journal_path(point.operation_id)} -e trace=read,write,fsync "
        f"-e inject={call}:signal={signal}:when={when} </dev/null >/dev/null 2>&1 & "
        f"while grep -q '^TracerPid:.0$' /proc/{daemon(host)}/task/*/status; do sleep 0.2; done",
        timeout_s=60,
    )


def detach(host: Host) -> None:
    """A daemon that stands goes on standing."""
    status = f"/proc/{daemon(host)}/status"
    host.run(
        f"kill $(sed -n 's/^TracerPid:.//p' {status}); "
        f"while ! grep -q '^TracerPid:.0$' {status}; do sleep 0.1; done",
        timeout_s=60,
    )


def daemon(host: Host) -> str:
    """Its pid."""
    shown = host.run("systemctl show -p MainPID --value storage-agentd", timeout_s=30)
    return shown.stdout.strip()


def await_stand(host: Host) -> None:
    """Its threads have stopped for the signal: in /proc that looks like any stop for strace. What
    stood when strace came is told as stopped as well, before the signal."""
    seen = f"sed -n '/--- SIGSTOP {{/,$p' {TRACE} | grep -q 'stopped by SIGSTOP'"
    stopped = partial(holds, host, seen)
    wait_until("the daemon stands", stopped, timeout_s=END_TIMEOUT_S, poll_s=0.2)


def kill(lab: Lab, point: Point) -> int:
    alpha = lab.hosts["alpha"]
    gone = f"! test -e /proc/{daemon(alpha)}"
    begin(alpha, point, "KILL")
    lab.wait_until("the daemon is dead", partial(holds, alpha, gone), timeout_s=END_TIMEOUT_S)
    require_caught(alpha, point)
    return 0


def cut_power(lab: Lab, point: Point) -> int:
    alpha = lab.hosts["alpha"]
    if is_mounted(alpha, "data"):
        write(lab)
    begin(alpha, point, "STOP")
    try:
        await_stand(alpha)
        require_caught(alpha, point)
        alpha.run(f"! mountpoint -q /srv/data || {UNFLUSHED}", timeout_s=60)
    finally:
        cut = lab.power_off("alpha", lose_cache=point.number)
    power_on(lab)
    require_only_flushed(alpha, point)
    return sum(disk["lost_sectors"] for disk in cut.values())


def power_on(lab: Lab) -> None:
    alpha = lab.hosts["alpha"]
    lab.power_on("alpha")
    # In sync first: between an operation that was interrupted and the one that assembles at boot
    # there is a moment without any.
    lab.wait_until("in sync again", partial(is_in_sync, alpha), timeout_s=END_TIMEOUT_S)
    lab.wait_until("alpha is at rest", partial(is_at_rest, alpha), timeout_s=END_TIMEOUT_S)


def holds(host: Host, command: str) -> bool:
    return host.run(command, timeout_s=30, check=False).exit_status == 0


def journal_path(operation_id: str) -> str:
    return f"/var/lib/storage-agent/operation-{operation_id}"


def records(host: Host, operation_id: str) -> list[str]:
    """`intent mount`, …: what was written at once. A step's `done` goes with the next record.
    Empty where there is no journal; without a last record that is torn."""
    text = host.run(f"cat {journal_path(operation_id)} || true", timeout_s=30).stdout
    lines = [json.loads(line) for line in text.split("\n")[:-1]]
    return [f"{r['phase']} {r.get('step', '')}".strip() for r in lines if r["phase"] != "done"]


def require_caught(host: Host, point: Point) -> None:
    """strace's own word: the last record that the daemon wrote or was about to write, and the
    call that it came to. Raises AssertionError."""
    calls = [line for line in host.read_file(TRACE).splitlines() if CALL.search(line)]
    written = next((line for line in reversed(calls) if "write(" in line), "")
    found = [" ".join(pair).strip() for pair in RECORD.findall(written) if pair[0] != "done"]
    assert found == [point.record], f"caught at {found}"
    assert f"{CALLS[point.side]}(" in calls[-1], f"caught in {calls[-1][:60]}"


def require_only_flushed(host: Host, point: Point) -> None:
    """The journal has the record that was flushed, and not the one that was only written. Raises
    AssertionError."""
    found = records(host, point.operation_id)[point.number - 1 : point.number]
    # The next start ends what had not ended, with a record of its own.
    if point.record != "ended":
        assert (found == [point.record]) == (point.side == "after"), f"kept: {found}"


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
    if is_first(point):
        ends = {"never accepted"}
    elif (point.side, point.number) in (("after", 1), ("before", 2)):
        # Accepted, and not planned yet: it does not begin on another boot.
        ends = {"refused"}
    assert end in ends, end
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
    write(lab)


def write(lab: Lab) -> None:
    """A client writes; that, and what was acknowledged before, is there."""
    writer = start_writer(lab)
    writer.wait_for_more(12)
    assert_nothing_lost(writer.finish())


# --- all points ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """ready: brings the lab to where the verb begins.  crash: returns the sectors lost.  require:
    returns whether alpha serves; raises AssertionError where it ended wrongly."""

    ready: Callable[[str], None]
    crash: Callable[[Point], int]
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
        if not lab.is_on("alpha"):
            power_on(lab)
        operate(lab.hosts["alpha"], "demote" if verb == "promote" else "promote", "data")

    return Course(ready=ready, crash=partial(cut_power, lab), require=require_end_of_cut)


def points(lab: Lab, course: Course, verb: str) -> Iterator[Point]:
    """At each record of an undisturbed run."""
    alpha = lab.hosts["alpha"]
    course.ready(verb)
    operate(alpha, verb, "data", "--operation-id", "undisturbed-" + verb)
    for number, record in enumerate(records(alpha, "undisturbed-" + verb), 1):
        for side in CALLS:
            yield Point(verb, side, number, record)


def walk(lab: Lab, course: Course, point: Point) -> Walked:
    """Raises AssertionError."""
    course.ready(point.verb)
    lost_sectors = course.crash(point)
    end = end_of(lab, point)
    serves = course.require(point, end)
    stands = check(lab, serves=serves)
    go_on(lab, point, serves=serves)
    return Walked(point, end, stands, lost_sectors)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/crash-points")
    parser.add_argument("package", type=Path)
    parser.add_argument("verbs", nargs="*")
    parser.add_argument("--power", action="store_true")
    # Words after an option, as the usage has them.
    options = parser.parse_intermixed_args(arguments)
    if unknown := set(options.verbs) - set(VERBS):
        parser.error(f"not among {', '.join(VERBS)}: {' '.join(sorted(unknown))}")
    snapshot = layers.build([options.package], progress=lambda line: print(f"  {line}"))
    # Both verbs may be walked at the same time.
    lab = Lab.start("-".join(("crash-points", *options.verbs)), snapshot=snapshot)
    try:
        course = cutting(lab) if options.power else killing(lab)
        walked, failed = walk_all(lab, course, options.verbs or VERBS)
    finally:
        lab.stop()
    lost = sum(one.lost_sectors for one in walked)
    print(f"{len(walked) + failed} crash points, {failed} failed, {lost} sectors lost")
    if options.power and not lost:
        print("no power cut has taken anything: nothing is shown")
    return 1 if failed or (options.power and not lost) else 0


def walk_all(lab: Lab, course: Course, verbs: Iterable[str]) -> tuple[list[Walked], int]:
    """Prints a line a point. Returns those that ended well, and how many did not."""
    walked: list[Walked] = []
    failed = 0
    for point in chain.from_iterable(points(lab, course, verb) for verb in verbs):
        try:
            walked.append(walk(lab, course, point))
            print(walked[-1], flush=True)
        except (AssertionError, LabError) as exc:
            failed += 1
            where = traceback.extract_tb(exc.__traceback__)[-1]
            print(f"{point}  FAILED: {str(exc)[:300]} ({where.name}: {where.line})", flush=True)
    return walked, failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
