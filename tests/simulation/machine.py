"""One host: power, md, DRBD, mounts, NFS server, /run and the agent's state folder.

Sources: md's event counts (mdadm --examine), mount and umount as the kernel does them (a frozen
device holds both in D state), the NFS server as nfs_server/supervisor.py drives it (starts only
on a mounted volume, link last), /run cleared by a restart, libexec/fence-peer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from storage_agent.model.incident import Incident
from storage_agent.model.nfs import ServerState
from storage_agent.model.operation import Marker
from storage_agent.model.replica import DiskState, Role
from tests.simulation.disk import Disk
from tests.simulation.drbd import Node
from tests.simulation.handler import Asked, fence_peer, incident
from tests.simulation.roles import set_secondary
from tests.simulation.states import CONNECTING, REPORT, STANDALONE, TARGET
from tests.simulation.world import Task, World
from tests.simulation.writes import Request, read, submit

if TYPE_CHECKING:
    from tests.simulation.daemon import Daemon

HOSTS = ("alpha", "beta")
EXPORTING = (ServerState.STARTED, ServerState.SERVING, ServerState.HALTED)


@dataclass(eq=False, slots=True)
class Member:
    """events: behind the others once it was lost while the array ran.  knows: which slots its own
    superblock counts as active."""

    serial: str
    attached: bool = True
    events: int = 100
    knows: str = "AAAA"


class Machine:
    def __init__(self, world: World, name: str, disk: Disk, *, stonith: bool) -> None:
        self.world = world
        self.name = name
        self.node = Node(world, name, stonith=stonith)
        self.node.handler = lambda: fence_peer(self)
        self.disk = disk
        self.members = [Member(f"{name}-{i}") for i in range(4)]
        self.files: dict[str, bytes] = {}
        self.unsynced: dict[str, bytes | None] = {}
        self.powered = True
        self.boot = 0
        self.wall_skew_s = 0.0
        self.disk_lost_s = 0.0
        self.daemon: Daemon | None = None
        self._number = 0
        self.incidents = 0
        self._clear()

    @property
    def boot_id(self) -> str:
        return f"boot-{self.name}-{self.boot}"

    def _clear(self) -> None:
        self.running: list[Member] | None = None
        self.mounted = False
        self.is_looking = False
        self.busy_until_s = 0.0
        # What its agent, which is not to be trusted, shows in the place of the volume's epoch.
        self.lied_epoch = 0
        self.state_fails_until_s = 0.0
        self.server = ServerState.ABSENT
        self.server_number = 0
        self.in_grace = False
        self.grant: tuple[str, str, float] | None = None
        self.asked: Asked | None = None
        # Its handler did not see that the kernel had it frozen.
        self.unheard = False
        self.answered: Incident | None = None

    def wall_s(self) -> float:
        return 1_700_000_000.0 + self.world.now_s + self.wall_skew_s

    # --- power ----------------------------------------------------------------------------------

    def power_off(self) -> None:
        """Everything in memory is gone, and any part of what the disk had not flushed."""
        if not self.powered:
            return
        self.powered = False
        self.node.link.powered[self.name] = False
        lost = self.disk.lose_power(self.world.rng)
        if self.node.s.conn == TARGET and self.node.backing is not None:
            # What the bitmap exchange told a target is in its memory (course target-crashes).
            self.node.md.bits.clear()
        self.world.counts["writes lost in caches"] += lost
        self.world.log(self.name, f"POWER OFF ({lost} unflushed writes lost)")
        queue = self.node.link.queues[self.name]
        for _ in range(self.world.rng.randrange(len(queue) + 1)):
            queue.pop()
        self.unsynced.clear()
        if self.daemon is not None:
            self.daemon.dead = True
            self.daemon = None
        self.node.reset()
        self._clear()
        mine = [t for t in self.world.tasks if t.host == self.name]
        for task in mine:
            if task is not self.world.current:
                task.kill()
        self.world.forget_dead()

    def power_on(self) -> None:
        self.boot += 1
        self.powered = True
        self.node.link.powered[self.name] = True
        self.world.log(self.name, f"POWER ON ({self.boot_id})")

    # --- array ----------------------------------------------------------------------------------

    def assemble(self) -> None:
        attached = [m for m in self.members if m.attached]
        self.running = attached

    def array_works(self) -> bool:
        """RAID10 of four in near-2: each neighbouring pair needs one member."""
        running = self.running
        if running is None:
            return False
        first, second, third, fourth = self.members
        return (first in running or second in running) and (third in running or fourth in running)

    def lose_member(self, index: int) -> None:
        member = self.members[index]
        member.attached = False
        if self.running and member in self.running:
            self.running.remove(member)
            for other in self.running:
                other.events += 1
                other.knows = f"{other.knows[:index]}.{other.knows[index + 1 :]}"
            if not self.array_works():
                self.disk_lost_s = self.world.now_s
                self.node.lose_disk()

    def detach(self) -> None:
        """`drbdadm detach`: the array runs on."""
        with self.node.without_writes():
            if self.may_detach():
                self.disk_lost_s = self.world.now_s
                self.node.lose_disk()

    def may_detach(self) -> bool:
        """Refused, with or without the agent, where it is the only good copy of a Primary."""
        s = self.node.s
        is_needed = s.role is Role.PRIMARY and s.pdsk is not DiskState.UP_TO_DATE
        return self.powered and self.node.backing is not None and not is_needed

    def lose_disk(self) -> None:
        """The whole array fails under DRBD (dm-error, controller)."""
        self.disk_lost_s = self.world.now_s
        for i in range(4):
            self.members[i].attached = False
        self.running = []
        if self.node.up:
            self.node.lose_disk()

    def repair_array(self) -> None:
        """A person re-attaches the disks and re-adds stale members."""
        newest = max(m.events for m in self.members)
        for member in self.members:
            member.attached, member.events, member.knows = True, newest, "AAAA"
        if self.running is not None:
            self.running = list(self.members)

    # --- replica --------------------------------------------------------------------------------

    def shut_out(self) -> None:
        """libexec/fence-peer, first of all."""
        if self.server is ServerState.SERVING:
            self.server = ServerState.HALTED
            self.world.log(self.name, "clients shut out by the handler")
            if self.daemon is not None:
                # Behind the back of whatever it does.
                self.daemon.simulation.touches[self.name] += 1

    def adjust(self) -> str:
        """`drbdadm adjust`: attaches and connects what is missing."""
        node = self.node
        node.up = True
        problem = ""
        with node.without_writes():
            if node.up and node.backing is None and self.array_works():
                problem = node.attach(self.disk)
        if node.s.conn == STANDALONE:
            node.change(conn=CONNECTING)
        node.watch(node.view())
        return problem

    def down(self) -> str:
        """`drbdadm down`, in a kernel's task: drbd_nl.c drbd_adm_down() demotes, disconnects in
        order, then detaches."""
        node = self.node
        if not node.up:
            return ""
        if problem := set_secondary(node) or node.link.disconnect(node):
            return problem
        if problem := self._held():
            # Promoted meanwhile: the minor cannot be deleted.
            return problem
        self.disk_lost_s = self.world.now_s
        node.reset()
        node.watch(None)
        return ""

    def _held(self) -> str:
        is_held = self.node.openers or self.node.s.role is Role.PRIMARY
        return "(-12) Device is held open by someone" if is_held else ""

    def state_fails(self) -> bool:
        """The root filesystem is full, or read-only."""
        return self.state_fails_until_s > self.world.now_s

    def answered_epoch(self) -> int | None:
        """Of the answer to the incident that lies there; None while it has none."""
        found = incident(self)
        return None if found is None else found.epoch

    def news(self) -> None:
        """A file of the handler has changed: the agent's observer sees it soon."""
        if self.daemon is not None:
            self.daemon.has_news = True

    # --- filesystem -----------------------------------------------------------------------------

    def kernel(self, what: str, run: Callable[[], Any]) -> Task:
        """A system call: goes on when the process that made it is killed."""
        return self.world.spawn(f"{self.name}:{what}", self.name, run)

    def write(self, key: str, value: Any) -> Request | None:
        """An fsynced write on the mounted filesystem. None: I/O error."""
        self._number += 1
        return submit(self.node, self._number, key, value)

    def read(self, key: str) -> Any:
        return read(self.node, key)

    def node_marker(self) -> Marker | None:
        """As it lies on the volume; None where it cannot be read."""
        try:
            found = self.read("marker")
        except OSError:
            return None
        return found if isinstance(found, Marker) else None

    def mount(self) -> str:
        node = self.node
        if node.s.role is not Role.PRIMARY:
            return "mount: wrong medium type"
        self.world.wait(lambda: not node.s.susp)
        if node.s.role is not Role.PRIMARY:
            return "mount: wrong medium type"
        try:
            self.read("marker")
        except OSError as exc:
            return f"mount: {exc}"
        if self.is_looking and not self.mounted:
            # fs/super.c get_tree_bdev(): mounted read-only elsewhere is not mounted read-write
            return "mount: already mounted or mount point busy"
        if not self.mounted:
            self.mounted = True
            self._count_openers()
            self.world.log(self.name, "mounted")
        return ""

    def unmount(self) -> str:
        if not self.mounted:
            return "umount: not mounted"
        if self.server in EXPORTING:
            return "umount: target is busy (nfsd)"
        if self.busy_until_s > self.world.now_s:
            return "umount: target is busy"
        self.world.wait(lambda: not self.node.s.susp and not self.node.requests)
        if self.server in EXPORTING:
            return "umount: target is busy (nfsd)"
        self.mounted = False
        self._count_openers()
        self.world.log(self.name, "unmounted")
        return ""

    def begin_look(self) -> str:
        if self.node.s.role is not Role.PRIMARY:
            return "mount: wrong medium type"
        self.is_looking = True
        self._count_openers()
        return ""

    def end_look(self) -> None:
        """Also that of a daemon that was killed: its child goes with it."""
        self.is_looking = False
        self._count_openers()

    def _count_openers(self) -> None:
        self.node.openers = self.mounted + self.is_looking

    # --- NFS server -----------------------------------------------------------------------------

    def start_server(self) -> str:
        if not self.mounted:
            return "nothing is mounted"
        if self.server is ServerState.STANDBY:
            self.server = ServerState.STARTED
            self.server_number += 1
            try:
                self.in_grace = self.read("client") is not None
            except OSError:
                self.in_grace = False
            self.world.log(self.name, f"nfsd started, grace: {self.in_grace}")
        return "" if self.server is not ServerState.ABSENT else "the unit does not run"

    def stop_server(self) -> None:
        if self.server in EXPORTING:
            # Threads in the middle of a write on a frozen device do not end.
            self.world.wait(lambda: not self.node.s.susp)
            self.server = ServerState.STANDBY
            self.world.log(self.name, "nfsd stopped")

    def is_connecting(self) -> bool:
        return self.node.s.conn in (CONNECTING, REPORT)


def is_whole(machine: Machine) -> bool:
    """Serving or secondary."""
    node = machine.node
    if node.s.role is Role.PRIMARY:
        return machine.mounted and machine.server is ServerState.SERVING
    return not machine.mounted and machine.server not in EXPORTING
