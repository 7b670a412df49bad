"""A running lab: the whole of what tests and scripts/lab do with it.

Every call has its own deadline, `timeout_s`. Guests, disks and links are named as in topology.py.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from . import disks, volatile
from .deadline import Deadline, wait_until
from .errors import LabError, LabUsage
from .guard import Guard
from .snapshot import read_snapshot, unpack_snapshot, write_snapshot
from .ssh import Host
from .state import LabState, StateFile
from .topology import HOST_NUMBERS, require_host, require_link
from .vm import Machines, end_recorded

S = TypeVar("S")
T = TypeVar("T")


class Lab:
    """One lab instance. `Lab.start` makes it, `Lab.attach` finds one that is up."""

    def __init__(self, instance: StateFile) -> None:
        self.name = instance.name
        self.folder = instance.folder
        self._instance = instance
        self._machines = Machines(instance)
        self._guard: Guard | None = None
        self.hosts = {name: Host(name, instance) for name in HOST_NUMBERS}

    # -- coming and going -------------------------------------------------------------------------

    @classmethod
    def start(cls, name: str, *, snapshot: Path, keep: bool = False, timeout_s: float = 120) -> Lab:
        """Starts a lab from a snapshot folder. Unless `keep`, it ends with this process.

        Raises: LabError if a lab of that name is up already.
        """
        instance = StateFile(name)
        lab = cls(instance)
        with instance.locked():
            if instance.exists() and instance.read().process_alive():
                raise LabError(f"lab {name} is up already: scripts/lab --name {name} down")
            shutil.rmtree(instance.folder / "disks", ignore_errors=True)
            shutil.rmtree(instance.folder / "snapshots", ignore_errors=True)
            instance.write(LabState(snapshot=str(snapshot), layer="", memory_mib=0))
        lab.guard()
        try:
            lab.restore(snapshot, timeout_s=timeout_s)
        except BaseException:
            lab.stop()
            raise
        if keep:
            lab.release_guard()
        return lab

    @classmethod
    def attach(cls, name: str) -> Lab:
        """A lab that is up. Raises: LabError if it is not."""
        instance = StateFile(name)
        instance.read()
        return cls(instance)

    def stop(self) -> None:
        """Ends the guests and forgets them, their disks and their snapshots."""
        with self._instance.locked():
            if self._instance.exists():
                end_recorded(self._instance.read())
            self._instance.forget()
            for folder in ("disks", "snapshots"):
                shutil.rmtree(self._instance.folder / folder, ignore_errors=True)
        shutil.rmtree(self._instance.runtime_folder(), ignore_errors=True)
        self.release_guard()

    def guard(self) -> None:
        """From now on the lab ends with this process."""
        if self._guard is None:
            self._guard = Guard(self.name)

    def release_guard(self) -> None:
        """Lets the guests live on after this process."""
        if self._guard:
            self._guard.release()
            self._guard = None

    # -- snapshots --------------------------------------------------------------------------------

    def snapshot(self, name: str, *, timeout_s: float = 120) -> Path:
        """Records the whole set and goes on from that record. Returns its folder.

        All guests are paused together; connections between them survive, those from here do not.
        """
        deadline = Deadline(timeout_s, f"snapshot {name}")
        with self._instance.change() as state:
            folder = self._instance.folder / "snapshots" / f"{name}-{state.generation}"
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            self._record(state, folder, final=folder, layer=state.layer, deadline=deadline)
            state.snapshots[name] = str(folder)
        self.restore(name, timeout_s=deadline.remaining_s())
        return folder

    def export(self, folder: Path, *, layer: Path, final: Path, timeout_s: float = 120) -> None:
        """Records the set into `folder`, which will be renamed to `final`, and ends the guests."""
        deadline = Deadline(timeout_s, f"snapshot {folder.name}")
        with self._instance.change() as state:
            self._record(state, folder, final=final, layer=str(layer), deadline=deadline)

    def _record(
        self, state: LabState, folder: Path, *, final: Path, layer: str, deadline: Deadline
    ) -> None:
        """Pauses all, saves memory, ends QEMU (which completes the images), links the images."""
        volatile.require_none(state)
        running = [host for host in state.roots if state.process(f"qemu-{host}")]
        state.off = [host for host in state.roots if host not in running]
        for host in running:
            with self._machines.qmp(state, host, timeout_s=deadline.remaining_s()) as qmp:
                qmp.execute("stop")
        save = self._machines.save_memory
        in_parallel(
            running, lambda h: save(state, h, folder / f"{h}.state", deadline.remaining_s())
        )
        self._end_guests(state)
        write_snapshot(folder, state, layer=layer, final=final)

    def restore(self, source: str | Path, *, timeout_s: float = 120) -> float:
        """Throws away what is and starts from a snapshot: a name of this lab, or a folder.

        Returns the seconds until ssh worked on all hosts that run.
        """
        began_s = time.monotonic()
        deadline = Deadline(timeout_s, f"restore of {source}")
        with self._instance.change() as state:
            folder = self._snapshot_folder(state, source)
            read_snapshot(folder)
            self._end_guests(state)
            self._start_guests(state, folder, deadline)
            usable = [h for h in state.roots if h not in state.off and h not in state.frozen]
            cut = {host for host, link in state.cut if link == "control"}
        in_parallel(
            [self.hosts[name] for name in usable if name not in cut],
            lambda host: host.set_clock(timeout_s=deadline.remaining_s()),
        )
        return time.monotonic() - began_s

    @staticmethod
    def _snapshot_folder(state: LabState, source: str | Path) -> Path:
        if isinstance(source, Path):
            return source
        if source not in state.snapshots:
            known = ", ".join(state.snapshots) or "none; take one: scripts/lab snapshot NAME"
            raise LabUsage(f"no snapshot {source}; there are: {known}")
        return Path(state.snapshots[source])

    def _start_guests(self, state: LabState, folder: Path, deadline: Deadline) -> None:
        older = state.generation
        state.generation += 1
        images = self._instance.folder / "disks"
        unpack_snapshot(folder, state, images / str(state.generation))
        shutil.rmtree(images / str(older), ignore_errors=True)
        self._machines.start_switches(state, timeout_s=deadline.remaining_s())
        on = [host for host in state.roots if host not in state.off]
        memory = {host: folder / f"{host}.state" for host in on}
        for host in on:
            self._machines.launch(state, host, memory[host])
        for host in on:
            self._machines.await_launched(
                state, host, memory[host], timeout_s=deadline.remaining_s()
            )
        for host, link in state.cut:
            if host in on:
                self._set_link(state, host, link, up=False, timeout_s=deadline.remaining_s())
        for host in on:
            if host not in state.frozen:
                with self._machines.qmp(state, host, timeout_s=deadline.remaining_s()) as qmp:
                    qmp.execute("cont")

    def _end_guests(self, state: LabState) -> None:
        for name in HOST_NUMBERS:
            self.hosts[name].disconnect(state)
        self._machines.end(state, [f"qemu-{name}" for name in HOST_NUMBERS])
        self._machines.end(state, [name for name in state.processes if name.startswith("nbd-")])

    def boot(self, *, timeout_s: float) -> None:
        """Cold start of all guests, as the image builder needs it."""
        with self._instance.change() as state:
            self._machines.start_switches(state, timeout_s=timeout_s)
            for host in state.roots:
                self._machines.start(state, host, timeout_s=timeout_s)
        in_parallel(self.hosts.values(), lambda host: host.connect(timeout_s=timeout_s))

    # -- links ------------------------------------------------------------------------------------

    def cut(self, host: str, *, link: str = "replication", timeout_s: float = 10) -> None:
        """Pulls a host's cable: nothing comes or goes, and the host sees no carrier."""
        self._cable(host, link, up=False, timeout_s=timeout_s)

    def mend(self, host: str, *, link: str = "replication", timeout_s: float = 10) -> None:
        """Plugs the cable in again."""
        self._cable(host, link, up=True, timeout_s=timeout_s)

    def _cable(self, host: str, link: str, *, up: bool, timeout_s: float) -> None:
        require_link(require_host(host), link)
        with self._instance.change() as state:
            self._set_link(state, host, link, up=up, timeout_s=timeout_s)
            state.cut = [pair for pair in state.cut if pair != [host, link]]
            if not up:
                state.cut.append([host, link])

    def _set_link(
        self, state: LabState, host: str, link: str, *, up: bool, timeout_s: float
    ) -> None:
        with self._machines.qmp(state, host, timeout_s=timeout_s) as qmp:
            qmp.execute("set_link", name=f"nic-{link}", up=up)

    # -- disks ------------------------------------------------------------------------------------

    def unplug(self, host: str, disk: str, *, timeout_s: float = 30) -> None:
        """Pulls a disk out of a running host. Its content and serial number stay with it."""
        with self._instance.change() as state:
            disks.unplug(self._machines, state, require_host(host), disk, timeout_s=timeout_s)

    def plug(
        self, host: str, disk: str, *, from_host: str | None = None, timeout_s: float = 30
    ) -> None:
        """Puts a disk into a running host; with `from_host`, pulls it out there first."""
        deadline = Deadline(timeout_s, f"plug of {disk} into {host}")
        with self._instance.change() as state:
            if from_host:
                left_s = deadline.remaining_s()
                disks.unplug(self._machines, state, require_host(from_host), disk, timeout_s=left_s)
            left_s = deadline.remaining_s()
            disks.plug(self._machines, state, require_host(host), disk, timeout_s=left_s)

    def add_volatile_disk(
        self, host: str, disk: str, *, size_mib: int = 256, timeout_s: float = 30
    ) -> None:
        """Plugs a new, empty disk in that loses unflushed writes at `power_off(lose_cache=SEED)`.

        Named as one of the host's (alpha-4 …). Cannot be part of a snapshot.
        """
        deadline = Deadline(timeout_s, f"volatile disk {disk}")
        with self._instance.change() as state:
            images = self._instance.folder / "disks" / str(state.generation)
            volatile.create(self._machines, state, disk, images, size_mib, deadline)
            left_s = deadline.remaining_s()
            disks.plug(self._machines, state, require_host(host), disk, timeout_s=left_s)

    def disturb(self, disk: str, order: volatile.Order, *, timeout_s: float = 10) -> dict[str, Any]:
        """Tells a volatile disk to fail, stall, heal or be looked at: see volatile.py."""
        return volatile.tell(self._machines, self._instance.read(), disk, order, timeout_s)

    # -- power ------------------------------------------------------------------------------------

    def power_off(
        self, host: str, *, lose_cache: int | None = None, timeout_s: float = 10
    ) -> dict[str, Any]:
        """Pulls the plug. Ordinary disks keep all that the guest had written, flushed or not.

        With `lose_cache`, a seed, the host's volatile disks lose some of what was not flushed;
        the answer says how much of each.
        """
        with self._instance.change() as state:
            self._require_on(state, host)
            self.hosts[host].disconnect(state)
            self._machines.end(state, [f"qemu-{host}"], timeout_s=timeout_s)
            state.frozen = [name for name in state.frozen if name != host]
            return volatile.cut_power(self._machines, state, host, lose_cache, timeout_s)

    def power_on(self, host: str, *, wait: bool = True, timeout_s: float = 600) -> None:
        """Boots a host that is off; with `wait`, until ssh answers. Cut links stay cut."""
        deadline = Deadline(timeout_s, f"boot of {host}")
        with self._instance.change() as state:
            if state.process(f"qemu-{require_host(host)}"):
                raise LabUsage(f"{host} is on already")
            self.hosts[host].disconnect(state)
            self._machines.start(state, host, timeout_s=deadline.remaining_s())
            for name, link in state.cut:
                if name == host:
                    left_s = deadline.remaining_s()
                    self._set_link(state, host, link, up=False, timeout_s=left_s)
        if wait:
            self.hosts[host].connect(timeout_s=deadline.remaining_s())

    def reset(self, host: str, *, wait: bool = True, timeout_s: float = 600) -> None:
        """The reset button: no shutdown, no sync. With `wait`, until ssh answers again."""
        deadline = Deadline(timeout_s, f"reset of {host}")
        with self._instance.change() as state:
            with self._machines.qmp(state, require_host(host), timeout_s=timeout_s) as qmp:
                qmp.execute("system_reset")
            self.hosts[host].disconnect(state)
        if wait:
            self.hosts[host].connect(timeout_s=deadline.remaining_s())

    def freeze(self, host: str, *, timeout_s: float = 10) -> None:
        """Stops the host's time: no instruction runs until `thaw`."""
        with self._instance.change() as state:
            with self._machines.qmp(state, require_host(host), timeout_s=timeout_s) as qmp:
                qmp.execute("stop")
            if host not in state.frozen:
                state.frozen.append(host)

    def thaw(self, host: str, *, timeout_s: float = 10) -> None:
        """Lets the host go on. Its clock is behind by the time that it stood still."""
        with self._instance.change() as state:
            with self._machines.qmp(state, require_host(host), timeout_s=timeout_s) as qmp:
                qmp.execute("cont")
            state.frozen = [name for name in state.frozen if name != host]

    def is_on(self, host: str) -> bool:
        return self._instance.read().process(f"qemu-{require_host(host)}") is not None

    @staticmethod
    def _require_on(state: LabState, host: str) -> None:
        if state.process(f"qemu-{require_host(host)}") is None:
            raise LabUsage(f"{host} is off already")

    # -- looking ----------------------------------------------------------------------------------

    def state(self) -> LabState:
        """What is plugged in where, cut, frozen or off: a copy."""
        return self._instance.read()

    def wait_until(
        self, description: str, predicate: Callable[[], T], *, timeout_s: float, poll_s: float = 0.2
    ) -> T:
        """Asks until the answer is true and returns it. Raises: LabTimeout with the description."""
        return wait_until(description, predicate, timeout_s=timeout_s, poll_s=poll_s)


def in_parallel(items: Iterable[S], act: Callable[[S], None]) -> None:
    """Does it to all at once; the first failure is raised when all have ended."""
    with ThreadPoolExecutor() as pool:
        for done in [pool.submit(act, item) for item in items]:
            done.result()
