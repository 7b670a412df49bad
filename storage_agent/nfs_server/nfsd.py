"""The kernel's NFS server of this network namespace, by /proc/fs/nfsd (kernel fs/nfsd/nfsctl.c).

What rpc.nfsd would do, without a process. Host tools: none.
"""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

from storage_agent.host.nfs.adapter import (
    PORT,
    TcpSocket,
    client_sockets,
    parse_in_grace,
    parse_start_ticks,
    parse_tcp,
    parse_threads,
)
from storage_agent.model.errors import OperationFailed

_CACHES = ("nfsd.export", "nfsd.fh", "auth.unix.ip")
# An idle nfsd thread sleeps in one of these (net/sunrpc/svc_xprt.c).
_IDLE_IN = ("svc_recv", "svc_get_next_xprt")
_BACKLOG = 64
# Each look reads all descriptors, on the processor that nfsdcld needs to become ready.
_READY_POLL_S = 0.02
NO_CLIENT_TRACKING = "NFS_NO_CLIENT_TRACKING"


class Nfsd:
    """Used inside the namespaces. root: for tests on a tree of files."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        self._control = root / "proc/fs/nfsd"

    def threads(self) -> int:
        return parse_threads((self._control / "threads").read_text())

    def in_grace(self) -> bool:
        return parse_in_grace((self._control / "v4_end_grace").read_text())

    def start(self, address: str, threads: int) -> None:
        """NFSv4 over TCP on `address` only.

        Returns when the client tracking has been asked, which takes nfsdcld up to a second.
        Raises OperationFailed if nfsd runs without nfsdcld: it would give no client its locks
        back. Everything is undone then.
        """
        try:
            self._write("versions", "-2 -3 +4 +4.1 +4.2")
            self._listen(address)
            self._write("threads", str(threads))
            # The pipe exists exactly while nfsd uses nfsdcld (fs/nfsd/nfs4recover.c).
            if not (self._root / "run/rpc_pipefs/nfsd/cld").exists():
                raise OperationFailed(
                    "nfsd does not use nfsdcld: no client could reclaim its locks",
                    remedy="journalctl -k -g NFSD; is nfsdcld running?",
                    code=NO_CLIENT_TRACKING,
                )
        except OSError as exc:
            self.stop()
            raise OperationFailed(
                f"nfsd does not start: {exc.strerror or exc}",
                remedy="journalctl -k -g 'NFSD|nfsd'",
                code="NFSD_START",
            ) from exc
        except OperationFailed:
            self.stop()
            raise

    def stop(self) -> None:
        """Ends all threads; the kernel then forgets clients, sockets and exports."""
        self._write("threads", "0")
        # Listeners without threads (a start that failed half-way) go only with a thread.
        if (self._control / "portlist").read_text().strip():
            self._write("threads", "1")
            self._write("threads", "0")

    def forget_exports(self) -> None:
        """Makes nfsd ask rpc.mountd again for everything."""
        later = f"{int(time.time()) + 1}\n"
        for cache in _CACHES:
            (self._root / "proc/net/rpc" / cache / "flush").write_text(later)

    def is_idle(self, threads: tuple[int, ...]) -> bool:
        """Whether no request is being worked on and no answer is on its way.

        threads: pids of this server's threads. An ended one counts as idle.
        """
        queued = any(s.transmit_queue_bytes or s.receive_queue_bytes for s in self._clients())
        return not queued and all(self._sleeps(pid) for pid in threads)

    def unacknowledged(self) -> tuple[str, ...]:
        """`ADDRESS:PORT` of each client that has not said that an answer has arrived."""
        return tuple(s.remote() for s in self._clients() if s.transmit_queue_bytes)

    def _clients(self) -> tuple[TcpSocket, ...]:
        return client_sockets(parse_tcp((self._root / "proc/net/tcp").read_text()))

    def find_threads(self, since_ticks: int = 0, until_ticks: int = 1 << 62) -> tuple[int, ...]:
        """Pids of nfsd kernel threads that started in that time (clock ticks since boot).

        Threads do not show their namespace; when they started tells whose they are.
        """
        found = []
        for pid in (self._root / "proc/2/task/2/children").read_text().split():
            folder = self._root / "proc" / pid
            try:
                if (folder / "comm").read_text() != "nfsd\n":
                    continue
                started = parse_start_ticks((folder / "stat").read_text())
            except OSError:
                continue
            if since_ticks <= started <= until_ticks:
                found.append(int(pid))
        return tuple(found)

    def _sleeps(self, pid: int) -> bool:
        try:
            waits_in = (self._root / "proc" / str(pid) / "wchan").read_text()
        except OSError:
            return True
        return waits_in in _IDLE_IN

    def _listen(self, address: str) -> None:
        # Bound to the service address alone: the canary's and later addresses get no listener.
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        with listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((address, PORT))
            listener.listen(_BACKLOG)
            self._write("portlist", str(listener.fileno()))

    def _write(self, name: str, text: str) -> None:
        descriptor = os.open(self._control / name, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, text.encode() + b"\n")
        finally:
            os.close(descriptor)


def now_ticks() -> int:
    """Clock ticks since boot, as /proc/PID/stat counts them."""
    return int(time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK"))


def wait_for_inotify(pid: int, timeout_s: float, proc: Path = Path("/proc")) -> None:
    """Until nfsdcld has opened its database and watches for nfsd's pipe, which it does last
    (nfs-utils utils/nfsdcld/nfsdcld.c). nfsd gives it one second and does without it then.

    Raises OperationFailed.
    """
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        try:
            watches = any(
                "inotify wd:" in entry.read_text()
                for entry in (proc / str(pid) / "fdinfo").iterdir()
            )
        except OSError:
            watches = False  # a descriptor closed in between, or the process is gone
        if watches:
            return
        time.sleep(_READY_POLL_S)
    raise OperationFailed(
        f"nfsdcld (pid {pid}) is not ready after {timeout_s:g} s",
        remedy="journalctl -t nfsdcld; is the volume writable?",
        code="NFSDCLD_START",
    )
