"""Starts and ends the processes of a lab: guests and the switches between them.

Works on a LabState that the caller has locked. Host tools: qemu-system-x86_64, vde_switch.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from . import process
from .deadline import Deadline
from .errors import LabError
from .machine import MachineSpec, image_node, qemu_argv, served_node
from .process import ProcessId
from .qmp import Qmp
from .state import LabState, StateFile
from .topology import NETWORKS

PORT_TAKEN = "Could not set up host forwarding rule"
# Seen once, at a start on a busy machine: the switch was there and gave no port.
NO_SWITCH_PORT = "Could not open vde"
LAUNCH_TRIES = 5
UNLIMITED = 1 << 40
# As it comes, vde_switch keeps a hardware address at its port for three seconds (src/hash.c), and
# frames for a service address that moves faster go to the old host. Real switches follow at once.
SWITCH_SETTINGS = "hash/setminper 0\n"


class Machines:
    """The processes of one lab instance."""

    def __init__(self, instance: StateFile) -> None:
        self._instance = instance
        self._runtime = instance.runtime_folder()

    def qmp_path(self, host: str) -> Path:
        return self._runtime / f"{host}.qmp"

    def qmp(self, state: LabState, host: str, *, timeout_s: float) -> Qmp:
        """A conversation with a running guest's QEMU. Raises: LabError where it is off."""
        qemu = state.process(f"qemu-{host}")
        if qemu is None:
            remedy = f"scripts/lab --name {self._instance.name} power {host} on"
            raise LabError(f"{host} is off: {remedy}")
        return Qmp(self.qmp_path(host), qemu, timeout_s=timeout_s)

    # -- switches ---------------------------------------------------------------------------------

    def start_switches(self, state: LabState, *, timeout_s: float) -> None:
        deadline = Deadline(timeout_s, "switches")
        for network in NETWORKS:
            folder = self._switch(network)
            if state.process(f"vde-{network}"):
                continue
            shutil.rmtree(folder, ignore_errors=True)
            # It takes the end of its standard input for the order to end, unless it is a daemon.
            pid_file = folder.with_suffix(".pid")
            argv = ["vde_switch", "-d", "-p", str(pid_file), "-s", str(folder), "-m", "600"]
            settings = folder.with_suffix(".rc")
            settings.write_text(SWITCH_SETTINGS)
            argv += ["-f", str(settings)]
            process.run_tool(argv, timeout_s=deadline.remaining_s())
            # The daemon makes its pid file before it writes into it.
            while not (folder / "ctl").exists() or not _size_bytes(pid_file):
                deadline.pause()
            state.remember(f"vde-{network}", process.identify(int(pid_file.read_text())))

    def _switch(self, network: str) -> Path:
        return self._runtime / f"vde-{network}"

    # -- guests -----------------------------------------------------------------------------------

    def start(self, state: LabState, host: str, *, timeout_s: float) -> None:
        """Starts a guest that boots."""
        self.launch(state, host, None)
        self.await_launched(state, host, None, timeout_s=timeout_s)

    def launch(self, state: LabState, host: str, incoming: Path | None) -> None:
        """Starts a guest's QEMU. With `incoming` it loads that memory and stays paused."""
        state.ports.setdefault(host, _free_port())
        self.qmp_path(host).unlink(missing_ok=True)
        log = self._instance.folder / f"qemu-{host}.log"
        log.unlink(missing_ok=True)
        with _opened(incoming) as descriptor:
            spec = self._spec(state, host, descriptor)
            fds = () if descriptor is None else (descriptor,)
            state.remember(f"qemu-{host}", process.start(qemu_argv(spec), log=log, pass_fds=fds))

    def _spec(self, state: LabState, host: str, incoming_fd: int | None) -> MachineSpec:
        layer = Path(state.layer)
        return MachineSpec(
            host=host,
            memory_mib=state.memory_mib,
            kernel=layer / "vmlinuz",
            initrd=layer / "initrd",
            root=Path(state.roots[host]),
            disks={
                name: self.disk_node(state, name)
                for name, disk in state.disks.items()
                if disk.host == host
            },
            ssh_port=state.ports[host],
            switches={network: self._switch(network) for network in NETWORKS},
            qmp=self.qmp_path(host),
            console=self._instance.folder / f"console-{host}.log",
            incoming_fd=incoming_fd,
        )

    def disk_node(self, state: LabState, disk: str) -> dict[str, Any]:
        found = state.disks[disk]
        if found.volatile:
            return served_node(disk, self.disk_socket(disk))
        return image_node(disk, Path(found.file))

    def disk_socket(self, disk: str) -> Path:
        return self._runtime / f"{disk}.nbd"

    def _log(self, host: str) -> str:
        return _tail(self._instance.folder / f"qemu-{host}.log")

    def await_launched(
        self, state: LabState, host: str, incoming: Path | None, *, timeout_s: float
    ) -> None:
        """Until QEMU answers and has loaded the memory it was given."""
        deadline = Deadline(timeout_s, f"start of {host}")
        for _ in range(LAUNCH_TRIES):
            try:
                with self.qmp(state, host, timeout_s=deadline.remaining_s()) as qmp:
                    while qmp.execute("query-status")["status"] == "inmigrate":
                        deadline.pause()
                return
            except (LabError, OSError) as error:
                said = self._log(host)
                if PORT_TAKEN not in said and NO_SWITCH_PORT not in said:
                    raise LabError(f"{host} did not start: {error}; {said}") from error
            # Somebody else took the port between the look and the start.
            del state.ports[host]
            self.start_switches(state, timeout_s=deadline.remaining_s())
            self.launch(state, host, incoming)
        raise LabError(f"{host} did not start: {self._log(host)}; {self._switches(state)}")

    def _switches(self, state: LabState) -> str:
        """Which run, and what lies in their folders."""
        shown = []
        for network in NETWORKS:
            folder = self._switch(network)
            content = sorted(os.listdir(folder)) if folder.exists() else "no folder"
            runs = "runs" if state.process(f"vde-{network}") else "does not run"
            shown.append(f"the switch of {network} {runs}: {content}")
        return "; ".join(shown)

    def save_memory(self, state: LabState, host: str, file: Path, timeout_s: float) -> None:
        """Writes a paused guest's memory and devices to a file and completes its disk images."""
        deadline = Deadline(timeout_s, f"saving the memory of {host}")
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            with self.qmp(state, host, timeout_s=timeout_s) as qmp:
                qmp.execute("migrate-set-parameters", **{"max-bandwidth": UNLIMITED})
                qmp.give_file("memory", descriptor)
                qmp.execute("migrate", uri="fd:memory")
                while (status := qmp.execute("query-migrate")["status"]) != "completed":
                    if status == "failed":
                        raise LabError(f"{host}: QEMU could not save its memory: {self._log(host)}")
                    deadline.pause()
        finally:
            os.close(descriptor)

    def end(self, state: LabState, names: Iterable[str], *, timeout_s: float = 10) -> None:
        """Ends processes by their name in the state, at once."""
        for name in list(names):
            if running := state.process(name):
                process.end(running, timeout_s=timeout_s)
            state.processes.pop(name, None)


def end_recorded(state: LabState) -> None:
    """Ends every process of a lab that is still alive."""
    for recorded in state.processes.values():
        process.end(ProcessId(*recorded), timeout_s=10)


@contextlib.contextmanager
def _opened(path: Path | None) -> Iterator[int | None]:
    if path is None:
        yield None
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _tail(log: Path) -> str:
    try:
        return log.read_text(errors="replace").strip()[-500:] or "it said nothing"
    except FileNotFoundError:
        return "it said nothing"


def _size_bytes(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
