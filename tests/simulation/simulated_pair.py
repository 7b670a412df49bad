"""Courses done to the simulator's own hosts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any

from storage_agent.model.replica import Role
from tests.simulation.courses import (
    FOLDER,
    HOSTS,
    Letters,
    Look,
    Step,
    follow,
    parse_courses,
    shown,
    written,
)
from tests.simulation.disk import HISTORY, Disk, Metadata
from tests.simulation.drbd import Node
from tests.simulation.link import Link
from tests.simulation.machine import Machine
from tests.simulation.roles import set_primary, set_secondary
from tests.simulation.states import CONNECTING, DISKLESS, SOURCE, STANDALONE
from tests.simulation.world import Task, World
from tests.simulation.writes import Request

FIRST = 0x1000
SETTLE_STEPS = 5000
# What a held host does not do: choices of the link, and messages that wait for it.
HELD = {
    "writes": ({"peer write", "local"}, {"sync"}),
    # Nothing waits for a flush.
    "flushes": (set[str](), set[str]()),
    "reads": (set[str](), set[str]()),
    "resync": (set[str](), {"bitmap"}),
}


class HeldLink(Link):
    """A link whose hosts can be slow with one thing."""

    held: dict[str, str]
    unread: set[str]
    # Messages that still come in time, of a host that speaks late.
    late: dict[str, int]

    def _choices(self) -> list[tuple[str, Node]]:
        return [(what, node) for what, node in super()._choices() if not self._waits(what, node)]

    def _waits(self, what: str, node: Node) -> bool:
        choices, messages = HELD.get(self.held.get(node.host, ""), (set(), set()))
        if what == "deliver":
            other = self.other(node).host
            return self.late.get(other) == 0 or self.queues[other][0][1][0] in messages
        return what in choices

    def _deliver(self, node: Node) -> None:
        other = self.other(node).host
        if other in self.late:
            self.late[other] -= 1
        super()._deliver(node)

    def _send_batch(self, node: Node) -> None:
        """A resync reads what it sends."""
        if self.held.get(node.host) == "reads":
            self.unread.add(node.host)
        else:
            super()._send_batch(node)

    def let_go(self, node: Node) -> None:
        self.held.pop(node.host)
        if node.host in self.unread and node.s.conn == SOURCE and node.backing is not None:
            super()._send_batch(node)
        self.unread.discard(node.host)


class SimulatedPair:
    def __init__(self, seed: int = 0) -> None:
        self._seed = seed

    def start(self, fencing: str) -> None:
        self.world = World(self._seed, keep_trace=True)
        stonith = fencing == "resource-and-stonith"
        self.machines = {h: Machine(self.world, h, Disk(FIRST), stonith=stonith) for h in HOSTS}
        one, two = (machine.node for machine in self.machines.values())
        self.link = HeldLink(self.world, one, two)
        self.link.held, self.link.unread, self.link.late = {}, set(), {}
        self.says: dict[str, int] = {}
        self.asks = dict.fromkeys(HOSTS, 0)
        self.commands: dict[str, Task | str] = {}
        self.writes: dict[str, dict[str, Request | None]] = {host: {} for host in HOSTS}
        self.breaks: set[str] = set()
        self.count = 0
        for host, machine in self.machines.items():
            machine.node.handler = self._handler(host)
            self._up(host)

    def _handler(self, host: str) -> Callable[[], int]:
        def ask() -> int:
            self.asks[host] += 1
            self.world.wait(lambda: host in self.says)
            self.asks[host] -= 1
            return self.says.pop(host)

        return ask

    # --- actions --------------------------------------------------------------------------------

    def act(self, action: str) -> None:
        words = action.split()
        if words[0] in HOSTS:
            host, verb, more = words[0], words[1].replace("-", "_"), words[2:]
            getattr(self, f"_{verb}")(host, *more)
        else:
            self.link.is_cut = dict.fromkeys(HOSTS, action == "cut")

    def _spawn(self, host: str, run: Callable[[], Any]) -> None:
        self.commands[host] = self.world.spawn(f"{host}:command", host, run)

    def _primary(self, host: str) -> None:
        self._spawn(host, lambda: set_primary(self.machines[host].node))

    def _secondary(self, host: str) -> None:
        self._spawn(host, lambda: set_secondary(self.machines[host].node))

    def _disconnect(self, host: str) -> None:
        self._spawn(host, lambda: self.link.disconnect(self.machines[host].node))

    def _connect(self, host: str) -> None:
        self.machines[host].node.change(conn=CONNECTING)

    def _attach(self, host: str) -> None:
        machine = self.machines[host]
        self.commands[host] = machine.node.attach(machine.disk)

    def _down(self, host: str) -> None:
        self._spawn(host, self.machines[host].down)

    def _up(self, host: str) -> None:
        machine = self.machines[host]
        machine.repair_array()
        machine.assemble()
        self.commands[host] = machine.adjust()

    def _crashes(self, host: str) -> None:
        machine = self.machines[host]
        machine.power_off()
        machine.power_on()
        self.commands.pop(host, None)
        self.writes[host] = {}
        self.asks[host] = 0
        self.link.held.pop(host, None)
        self.link.late.pop(host, None)
        self.link.queues[host].clear()

    def _says(self, host: str, status: str) -> None:
        assert self.asks[host], f"{host} asks nothing"
        self.says[host] = int(status)

    def _cut(self, host: str) -> None:
        self.link.is_cut[host] = True

    def _opens(self, host: str) -> None:
        self.machines[host].node.openers += 1

    def _closes(self, host: str) -> None:
        self.machines[host].node.openers -= 1

    def _writes(self, host: str) -> None:
        self.count += 1
        name = f"{host[0]}{self.count}"
        self.writes[host][name] = self.machines[host].write(str(self.count), name)

    def _disk_fails(self, host: str) -> None:
        self.link.held.pop(host, None)
        self.machines[host].lose_disk()

    def _disk_breaks(self, host: str) -> None:
        """Noticed by the next thing that is written there."""
        self.breaks.add(host)

    def _disk_works(self, host: str) -> None:
        self.breaks.discard(host)
        self.machines[host].repair_array()

    def _holds_writes(self, host: str) -> None:
        self.link.held[host] = "writes"

    def _holds_flushes(self, host: str) -> None:
        self.link.held[host] = "flushes"

    def _old_disk(self, host: str) -> None:
        """As it was when the course began."""
        self.machines[host].disk = Disk(FIRST)

    def _holds_reads(self, host: str) -> None:
        self.link.held[host] = "reads"

    def _speaks_late(self, host: str) -> None:
        self.link.late[host] = 0

    def _catches_up(self, host: str) -> None:
        self.link.late[host] = len(self.link.queues[host])

    def _speaks(self, host: str) -> None:
        self.link.late.pop(host, None)

    def _holds_resync(self, host: str) -> None:
        self.link.held[host] = "resync"

    def _lets_go(self, host: str) -> None:
        if host in self.link.held:
            self.link.let_go(self.machines[host].node)

    # --- what can be seen -----------------------------------------------------------------------

    def settled(self, expected: Mapping[str, str], letters: Letters) -> dict[str, str]:
        for _ in range(SETTLE_STEPS):
            self._notice_broken()
            if self.link.step() or self.world.run_some_task():
                continue
            later = self.world.later_s()
            if not later:
                break
            self.world.now_s = min(later) + 0.001
        else:
            raise AssertionError(f"never at rest after {expected}")
        return shown({host: self._look(host) for host in HOSTS}, letters)

    def _notice_broken(self) -> None:
        for host in sorted(self.breaks):
            node = self.machines[host].node
            if node.peer_writes or any(r.local == "pending" for r in node.requests):
                self.breaks.discard(host)
                self.machines[host].lose_disk()

    def _look(self, host: str) -> Look:
        machine = self.machines[host]
        node, s = machine.node, machine.node.s
        # drbd_proc.c drbd_seq_show(): without a connection, disk and role it is Unconfigured.
        is_idle = s.conn == STANDALONE and s.disk is DISKLESS and s.role is Role.SECONDARY
        if not node.up or is_idle:
            return Look(besides=self._besides(host))
        is_dirty = node.backing is not None and bool(node.md.bits)
        state = " ".join(
            (
                "WFConnection" if s.conn == CONNECTING else s.conn,
                f"{s.role}/{s.peer}",
                f"{s.disk}/{s.pdsk}",
                *(["frozen"] if s.susp else []),
                *(["out-of-sync"] if is_dirty else []),
            )
        )
        if node.backing is None:
            return Look(state, besides=self._besides(host))
        return Look(
            state,
            identifiers(node.md),
            flags(node.md),
            tuple(str(value) for _, value in sorted(node.backing.durable.items())),
            self._besides(host),
        )

    def _besides(self, host: str) -> tuple[str, ...]:
        found = []
        if command := self._command(host):
            found.append(command)
        if self.asks[host]:
            found.append("asks")
        for name, request in list(self.writes[host].items()):
            if request is None or request.ok is not None:
                del self.writes[host][name]
            if request is None or request.ok is False:
                found.append(f"{name}-failed")
            elif request.ok is None:
                found.append(f"{name}-hangs")
        return tuple(found)

    def _command(self, host: str) -> str:
        command = self.commands.get(host, "")
        if isinstance(command, Task):
            if not command.done:
                return "waits"
            command = command.result or ""
        self.commands.pop(host, None)
        return command.split()[0] if command else ""


def identifiers(md: Metadata) -> tuple[int, ...]:
    history = [*md.history, 0, 0][:HISTORY]
    return (md.current, md.bitmap, *history)


def flags(md: Metadata) -> str:
    """Consistent, was UpToDate, Primary, peer Outdated, crashed Primary."""
    named = {
        "C": md.consistent,
        "U": md.was_up_to_date,
        "P": md.primary_indicator,
        "O": md.peer_outdated,
        "X": md.crashed_primary,
    }
    return "".join(letter for letter, is_set in named.items() if is_set)


def main() -> None:
    """Writes what the simulator shows into the courses."""
    for path in sorted(FOLDER.glob("*.txt")):
        courses = list(parse_courses(path))
        for course in courses:
            found = iter(follow(course, SimulatedPair()))
            for i, step in enumerate(course.steps):
                lines = [
                    (line.expected if line.is_right else line.seen) for line in islice(found, 2)
                ]
                course.steps[i] = Step(step.actions, dict(zip(HOSTS, lines, strict=True)))
        path.write_text(written(courses))


if __name__ == "__main__":
    main()
