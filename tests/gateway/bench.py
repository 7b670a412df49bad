"""Speed over ssh, as ratios within one run (scripts/bench --part coordinator).

usage: python -m tests.gateway.bench [--requests N] [--logins N] [--hosts N]

0. A change of this machine until the observer's snapshot shows it (bench_events.py).
1. A request over an open session against an echo over the same kind of session: `cat`, by the same
   sshd; and a bare Python echo, for what an interpreter alone costs.
2. `status` over a new session against `ssh HOST true`.
3. The coordinator's `status` of 20 and of 200 hosts: real sshd, real gateway, simulated daemons.
   CPU of everything per host, and wall time against that of the `true` instead.
4. A frozen primary's incident until the coordinator's grant is there (bench_incidents.py).

Exit status 1 if a goal is missed. As root: it has an sshd, users and mounts of its own.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import paramiko

from storage_agent.coordinator.coordinator import Coordinator
from storage_agent.coordinator.hooks import Hooks
from storage_agent.coordinator.reaching import ssh
from storage_agent.coordinator.reaching.fleet import Fleet
from storage_agent.coordinator.record.store import Store
from storage_agent.coordinator.settings import (
    Deadlines,
    HostSettings,
    Settings,
    VolumeSettings,
)
from storage_agent.coordinator_cli import wiring
from storage_agent.host.keys.lines import format_line
from storage_agent.host.keys.public_key import parse_public_key
from storage_agent.host.system.clock import SystemClock
from storage_agent.model.errors import AgentError
from storage_agent.model.key import AuthorizedKey, KeyRole
from tests.gateway.bench_events import bench_events
from tests.gateway.bench_incidents import bench_incidents
from tests.gateway.host import StorageHost, frame, keygen, wait_for

GOAL_REQUEST_RATIO = 1.5
GOAL_COLD_RATIO = 1.5
GOAL_WALL_RATIO = 1.3
# Measuring itself is not exact to the percent.
GOAL_LINEAR_RATIO = 1.1
BLOCK = 100
ECHO_USER = "storage-echo"
PYTHON_ECHO = (
    "/usr/bin/python3 -I -S -c 'import os\nwhile chunk := os.read(0, 65536): os.write(1, chunk)'"
)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench --part coordinator")
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--logins", type=int, default=30)
    parser.add_argument("--hosts", type=int, default=200)
    options = parser.parse_args(arguments)
    missed = bench_events()
    with StorageHost() as host:
        host.add_shell_user(ECHO_USER)
        missed += [*bench_requests(host, options.requests), *bench_cold(host, options.logins)]
    # Each real host has an sshd of its own that counts those who are not yet logged in.
    with StorageHost("MaxStartups=4096", daemon="tests.gateway.bench_daemon") as host:
        host.add_shell_user(ECHO_USER)
        missed += bench_fleet(host, options.hosts)
    missed += bench_incidents()
    for goal in missed:
        print(f"MISSED: {goal}")
    return 1 if missed else 0


# --- one request ---------------------------------------------------------------------------------


class Line:
    """A session that answers each line with one line."""

    def __init__(self, argv: list[str], line: bytes) -> None:
        self._line = line
        self._process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._in, self._out = self._process.stdin.fileno(), self._process.stdout.fileno()
        self.turn()

    def turn(self) -> float:
        """Seconds from the request to the end of its answer."""
        begun_s = time.perf_counter()
        os.write(self._in, self._line)
        while not (chunk := os.read(self._out, 1 << 20)).endswith(b"\n"):
            assert chunk, "the session ended"
        return time.perf_counter() - begun_s

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


def bench_requests(host: StorageHost, count: int) -> list[str]:
    echo = ("-l", ECHO_USER, "-T")
    answer = host.local(frame("ping"))[0]
    lines = {
        "cat": Line(host.ssh("operate", *echo, command="cat"), frame("ping")),
        "python echo": Line(host.ssh("operate", *echo, command=PYTHON_ECHO), frame("ping")),
        "ping": Line(host.ssh("grant", "-T"), frame("ping")),
        "status": Line(host.ssh("grant", "-T"), frame("status")),
    }
    took: dict[str, list[float]] = {name: [] for name in lines}
    try:
        for _ in range(max(1, count // BLOCK)):
            for name, line in lines.items():
                took[name] += [line.turn() for _ in range(BLOCK)]
    finally:
        for line in lines.values():
            line.close()
    medians = {name: statistics.median(seconds) for name, seconds in took.items()}
    print(f"\none request over an open session, medians of {len(took['cat'])}, interleaved")
    for name, seconds in medians.items():
        print(f"  {name:<12} {seconds * 1e6:7.0f} us   {seconds / medians['cat']:.2f} times cat")
    assert "result" in answer
    ratio = medians["ping"] / medians["cat"]
    goal = f"a request takes {ratio:.2f} times an echo, goal {GOAL_REQUEST_RATIO:g}"
    return [] if ratio <= GOAL_REQUEST_RATIO else [goal]


# --- one login -----------------------------------------------------------------------------------


def bench_cold(host: StorageHost, count: int) -> list[str]:
    calls: dict[str, tuple[list[str], bytes]] = {
        "ssh HOST true": (host.ssh("operate", "-l", ECHO_USER, "-T", command="true"), b""),
        "status": (host.ssh("operate", "-T"), frame("status")),
    }
    took: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(count):
        for name, (argv, line) in calls.items():
            begun_s = time.perf_counter()
            subprocess.run(argv, input=line, capture_output=True, timeout=60, check=True)
            took[name].append(time.perf_counter() - begun_s)
    medians = {name: statistics.median(seconds) for name, seconds in took.items()}
    print(f"\na new session, medians of {count}, interleaved")
    for name, seconds in medians.items():
        print(f"  {name:<14} {seconds * 1e3:7.1f} ms")
    ratio = medians["status"] / medians["ssh HOST true"]
    print(f"  ratio: {ratio:.2f} (goal: at most {GOAL_COLD_RATIO:g})")
    goal = f"a cold status takes {ratio:.2f} times `ssh HOST true`, goal {GOAL_COLD_RATIO:g}"
    return [] if ratio <= GOAL_COLD_RATIO else [goal]


# --- many hosts ----------------------------------------------------------------------------------


def bench_fleet(host: StorageHost, count: int) -> list[str]:
    fleet = ManyHosts(host, count)
    print(f"\nthe coordinator's status of many hosts, {fleet.parallel} at the same time")
    fleet.look(2)
    looks = {number: [fleet.look(number) for _ in range(3)] for number in (count // 10, count)}
    for number, found in looks.items():
        for wall_s, cpu_s, logins_s in found:
            print(
                f"  {number:>4} hosts: {wall_s:6.2f} s, CPU of all processes {cpu_s:6.2f} s "
                f"({cpu_s / number * 1e3:5.1f} ms a host), `true` instead {logins_s:6.2f} s"
            )
    cpu = {n: statistics.median(cpu_s / n for _, cpu_s, _ in found) for n, found in looks.items()}
    growth = cpu[count] / cpu[count // 10]
    wall = statistics.median(wall_s / logins_s for wall_s, _, logins_s in looks[count])
    print(f"  CPU a host, {count} to {count // 10}: {growth:.2f} (goal: at most "
          f"{GOAL_LINEAR_RATIO:g})")  # fmt: skip
    print(f"  wall time to that of `true` on each: {wall:.2f} (goal: at most "
          f"{GOAL_WALL_RATIO:g})")  # fmt: skip
    missed = []
    if growth > GOAL_LINEAR_RATIO:
        missed.append(f"CPU a host grows {growth:.2f} times from {count // 10} to {count} hosts")
    if wall > GOAL_WALL_RATIO:
        missed.append(f"status of {count} hosts takes {wall:.2f} times `true` on each")
    return missed


class ManyHosts:
    """Pairs of simulated hosts behind one sshd, each with a key of its own."""

    parallel = 32

    def __init__(self, host: StorageHost, count: int) -> None:
        self._host = host
        self._folder = host.folder / "fleet"
        self._folder.mkdir()
        self._names = [f"p{number}-{side}" for number in range(count // 2) for side in "ab"]
        lines = []
        for name in self._names:
            keygen(self._folder / name)
            public = (self._folder / f"{name}.pub").read_bytes()
            key = AuthorizedKey(key=parse_public_key(public, name), role=KeyRole.OPERATE)
            lines.append(format_line(key))
        add = 'cat >>"$1"'
        path = "/etc/storage-agent/authorized_keys"
        done = host.inside("sh", "-c", add, "sh", path, input="".join(lines), stdin=None)
        assert done.returncode == 0, done.stderr
        kind, material = (host.folder / "host_key.pub").read_text().split()[:2]
        known = "".join(f"{name} {kind} {material}\n" for name in self._names)
        (self._folder / "known_hosts").write_text(known)

    def look(self, count: int) -> tuple[float, float, float]:
        """Wall time, CPU of all processes, wall time of `true` on each host; in seconds."""
        settings = self._settings(count)
        fleet = Fleet(settings, lambda host: ssh.connect(host, self._keyed(settings, host)),
                      SystemClock())  # fmt: skip
        with tempfile.TemporaryDirectory() as folder:
            store = Store(Path(folder), Path(folder, "run"))
            hooks = Hooks(Path(folder, "none"), wiring.run_command, 1, print)
            coordinator = Coordinator(settings, fleet, store, SystemClock(), lambda: "id", hooks)
            cpu_s, begun_s = self._cpu_s(), time.perf_counter()
            views = list(coordinator.look_at_all(settings.volumes.values()))
            wall_s = time.perf_counter() - begun_s
            fleet.close()
            assert len(views) == count // 2
            assert all(view.primary() is not None for view in views), views[0].hosts[0].error
            children = Path(f"/proc/{self._host.sshd.pid}/task/{self._host.sshd.pid}/children")
            wait_for(lambda: not children.read_text(), "the sessions end")
            cpu_s = self._cpu_s() - cpu_s
        begun_s = time.perf_counter()
        found = fleet.each(settings.hosts, lambda name: self._login(settings, name))
        logins_s = time.perf_counter() - begun_s
        assert not any(isinstance(answer, AgentError) for answer in found.values())
        return wall_s, cpu_s, logins_s

    def _login(self, settings: Settings, name: str) -> None:
        """As ssh.connect, but what it runs is `true`."""
        sock = socket.create_connection(("127.0.0.1", self._host.port), timeout=30)
        transport = paramiko.Transport(sock, disabled_algorithms=ssh.WITHOUT)
        try:
            transport.start_client(timeout=30)
            transport.auth_publickey(ECHO_USER, ssh.load_key(str(self._host.key("operate"))))
            channel = transport.open_session(timeout=30)
            channel.exec_command("true")
            assert channel.recv_exit_status() == 0
        finally:
            transport.close()

    def _keyed(self, settings: Settings, host: HostSettings) -> Settings:
        return dataclasses.replace(settings, key_file=str(self._folder / host.name))

    def _settings(self, count: int) -> Settings:
        names = self._names[:count]
        pairs = [(f"p{number}", (f"p{number}-a", f"p{number}-b")) for number in range(count // 2)]
        return Settings(
            key_file="",
            known_hosts=str(self._folder / "known_hosts"),
            state_folder="",
            hooks="",
            parallel=self.parallel,
            deadlines=Deadlines(
                connect_s=30, answer_s=30, operation_s=30, handover_s=30, unreachable_s=30
            ),
            hosts={
                name: HostSettings(name=name, address="127.0.0.1", port=self._host.port)
                for name in names
            },
            volumes={
                f"{pair}/data": VolumeSettings(
                    key=f"{pair}/data", name="data", hosts=hosts, automatic=False, cooldown_s=60
                )
                for pair, hosts in pairs
            },
        )

    def _cpu_s(self) -> float:
        """Of this process, the daemon, and sshd with every process that it has started and that
        has ended."""
        used = os.times()
        return used.user + used.system + sum(
            map(_cpu_with_children_s, (self._host.daemon.pid, self._host.sshd.pid))
        )  # fmt: skip


def _cpu_with_children_s(pid: int) -> float:
    """proc(5): utime, stime, cutime, cstime."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(fields[number]) for number in range(11, 15)) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
