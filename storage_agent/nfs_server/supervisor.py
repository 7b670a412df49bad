"""One volume's NFS server between standby and serving: what each verb does, in which order.

Runs inside the namespaces (namespaces.enter). Where the server stands is read from the kernel each
time, never remembered, so a supervisor that starts anew goes on where the last one died.
Host tools: ip, nft, rpc.mountd while preparing; nfsdcld on start.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from storage_agent.host.nfs.adapter import server_state
from storage_agent.host.nfs.protocol import GENERATION, Reply
from storage_agent.host.nfs.settings import ServerSettings
from storage_agent.host.system import syscalls
from storage_agent.host.system.files import replace_file
from storage_agent.host.system.runner import Child, Runner, end_stream
from storage_agent.model.errors import AgentError, Busy, Missing, OperationFailed
from storage_agent.model.nfs import ServerState
from storage_agent.nfs_server import link as link_module
from storage_agent.nfs_server import namespaces
from storage_agent.nfs_server.canary import Canary, CanaryResult, start_canary
from storage_agent.nfs_server.connections import ConnectionRecorder, read_connections, read_record
from storage_agent.nfs_server.exports import render_etab
from storage_agent.nfs_server.link import ServiceLink
from storage_agent.nfs_server.link_watch import LinkWatch
from storage_agent.nfs_server.nfsd import NO_CLIENT_TRACKING, Nfsd, now_ticks
from storage_agent.nfs_server.on_volume import OnVolume

# Answers that are not out by then are lost to their clients, who ask again.
DRAIN_S = 0.3
_DRAIN_POLL_S = 0.005
NFSD_TRIES = 3
_END_S = 5.0
_TOOL_S = 30.0
# When the address is announced and clients are woken again after link_up: a switch or a client
# may have missed the first.
REPEATS_S = (0.2, 0.6, 1.5, 3.0)
ReadSettings = Callable[[], ServerSettings]


class Supervisor:
    """read_settings: called again at each start, so that exports and threads may have changed.
    tell: what was found on the volume and put right, for the daemon."""

    def __init__(
        self,
        settings: ServerSettings,
        read_settings: ReadSettings,
        gateway: str | None,
        tell: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._read_settings = read_settings
        self._runner = Runner()
        self._nfsd = Nfsd()
        self._link = ServiceLink(settings, gateway)
        self._recorder = ConnectionRecorder(settings.mount_point, settings.service_address())
        self._mountd: Child | None = None
        self._on_volume = OnVolume(self._runner, tell)
        self._canary_network: int | None = None
        self._threads: tuple[int, ...] = ()
        self._started_ticks: tuple[int, int] | None = None
        self._to_wake: tuple[str, ...] = ()
        self._repeats: list[float] = []
        self._watch: LinkWatch | None = None

    # Preparing

    def prepare(self, make_link: Callable[[], None]) -> None:
        """To standby, or, over a server that still runs, back to where that one stands.

        make_link: makes the service link where it is missing (needs the host's namespace).
        """
        self._write_etab_if_known()
        self._prepare_network(make_link)
        self._mountd = self._runner.daemon(("rpc.mountd", "-F", "-N", "2", "-N", "3"))
        if self._nfsd.threads() > 0:
            self._take_over()
        elif self._link.is_up():
            self._link.down()

    def _prepare_network(self, make_link: Callable[[], None]) -> None:
        link_module.end_orphans_soon()
        if not self._link.exists():
            make_link()
        elif self._link.is_up():
            # Left closed by one that was killed in between. A halted one is down, and stays so.
            self._link.open_door()
        self._ip(link_module.address_batch(self._settings))
        self._runner.run(
            ("nft", "-f", "-"), timeout_s=_TOOL_S, stdin=link_module.door_rules().encode()
        )

    def prepare_canary(self) -> None:
        """The canary's namespace and its wire to ours."""
        network = namespaces.make_network()
        path = f"/proc/{os.getpid()}/fd/{network}"
        self._ip(link_module.canary_batch(path))
        own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            namespaces.enter_descriptor(path)
            self._ip(link_module.canary_peer_batch(self._settings))
        finally:
            syscalls.setns(own, syscalls.CLONE_NEWNET)
            os.close(own)
        self._canary_network = network

    def _take_over(self) -> None:
        """nfsd outlived its supervisor. If its volume is still there, only the helpers are
        missing; else nothing of it is worth keeping."""
        if not self._is_mounted():
            self._close()
            self._nfsd.stop()
            return
        self._on_volume.look_soon(self._settings.mount_point)
        # What rpc.mountd answered before lies in the dead supervisor's mount namespace.
        self._nfsd.forget_exports()
        self._threads = self._nfsd.find_threads()

    def _write_etab_if_known(self) -> None:
        if self._settings.filesystem_uuid:
            self._write_etab()

    def _write_etab(self) -> None:
        etab = Path(namespaces.STATE_FOLDER, "etab")
        content = render_etab(self._settings)
        if etab.read_text() != content:
            replace_file(etab, content.encode(), mode=0o644)

    def _ip(self, batch: str) -> None:
        self._runner.run(("ip", "-batch", "-"), timeout_s=_TOOL_S, stdin=batch.encode())

    # Looking

    def state(self) -> ServerState:
        return server_state(
            running=self._nfsd.threads() > 0,
            link_up=self._link.is_up(),
            halted=self._link.is_door_closed(),
        )

    def status(self) -> Reply:
        running = self._nfsd.threads() > 0
        mountd = self._mountd.pid if self._mountd is not None else None
        helpers = (("rpc.mountd", mountd), ("nfsdcld", self._on_volume.pid))
        parts = [f"{name} {pid}" for name, pid in helpers if pid is not None]
        if running and self._nfsd.in_grace():
            parts.append("in grace")
        return Reply(
            state=self.state(),
            detail=", ".join(parts),
            connections=read_connections() if running else (),
            generation=GENERATION,
        )

    def watch(self) -> LinkWatch:
        """Of the link, once that is there."""
        if self._watch is None:
            self._watch = LinkWatch(self._link, lambda: self.state() is ServerState.SERVING)
        return self._watch

    # Verbs

    def start(self) -> Reply:
        """nfsd with its clients' records, link still down."""
        if self._nfsd.threads() > 0:
            return Reply(state=self.state(), detail="already started")
        self._use(self._read_settings())
        if not self._is_mounted():
            raise Missing(
                f"nothing is mounted at {self._settings.mount_point}",
                remedy=f"storage-agent promote {self._settings.volume}",
                code="NOT_MOUNTED",
            )
        self._write_etab()
        self._start_nfsd()
        self._to_wake = read_record(self._settings.mount_point, self._settings.service_address())
        return Reply(
            state=self.state(),
            changed=True,
            detail=f"{self._settings.threads} threads",
            connections=self._to_wake,
        )

    def _start_nfsd(self) -> None:
        begin_ticks = now_ticks()
        try:
            self._on_volume.begin(self._settings.mount_point)
            for tries_left in reversed(range(NFSD_TRIES)):
                try:
                    self._nfsd.start(self._settings.service_address(), self._settings.threads)
                    break
                except OperationFailed as exc:
                    # A busy host can keep nfsdcld from answering within nfsd's second.
                    if exc.code != NO_CLIENT_TRACKING or not tries_left:
                        raise
        except (AgentError, OSError):
            self._on_volume.end(_END_S)
            raise
        self._started_ticks = (begin_ticks, now_ticks() + 1)

    def link_up(self) -> Reply:
        if self._nfsd.threads() == 0:
            raise OperationFailed(
                f"the NFS server of {self._settings.volume} is not started",
                remedy=f"storage-agent-nfs {self._settings.volume} start",
                code="NFS_NOT_STARTED",
            )
        was_up = self._link.is_up()
        self._link.open_door()
        self._link.up()
        self.call_clients()
        self._repeats = [time.monotonic() + after_s for after_s in REPEATS_S]
        woken = len(self._to_wake)
        return Reply(
            state=self.state(), changed=not was_up, detail=f"{woken} old connections woken"
        )

    def link_down(self) -> Reply:
        """Door, drain, list of connections, link. Touches the volume only in another thread."""
        self._repeats = []
        if self.state() is ServerState.HALTED and not self._link.is_up():
            self._to_wake = read_connections()
            self._close()
            self._recorder.record(self._to_wake)
            return Reply(state=self.state(), changed=True, connections=self._to_wake)
        if not self._link.is_up():
            return Reply(state=self.state(), detail="already down", connections=self._to_wake)
        self._link.close_door()
        drained = self._drain()
        self._to_wake = read_connections()
        self._close()
        if self._nfsd.threads() > 0:
            self._recorder.record(self._to_wake)
        detail = drained if drained else f"answers not out within {DRAIN_S:g} s"
        return Reply(state=self.state(), changed=True, detail=detail, connections=self._to_wake)

    def stop(self) -> Reply:
        """Nothing of ours on the volume. Raises Busy if a write to it does not end."""
        if self._link.is_up():
            self.link_down()
        running = self._nfsd.threads() > 0
        if running:
            self._nfsd.stop()
        self._threads, self._started_ticks, self._to_wake = (), None, ()
        recorded, ended = self._recorder.wait(_END_S), self._on_volume.end(_END_S)
        if not (recorded and ended):
            raise Busy(
                f"a write to {self._settings.mount_point} does not end: its device is frozen",
                remedy="storage-agent status; dmesg",
                code="VOLUME_FROZEN",
            )
        return Reply(state=self.state(), changed=running)

    def start_canary(self, wait_s: float) -> Canary:
        """Raises OperationFailed while clients could not be served either."""
        if self._canary_network is None or self.state() is not ServerState.SERVING:
            raise OperationFailed(
                f"the NFS server of {self._settings.volume} is not serving",
                remedy=f"storage-agent-nfs {self._settings.volume} link-up",
                code="NFS_NOT_SERVING",
            )
        return start_canary(self._settings, self._canary_network, wait_s)

    def canary_reply(self, result: CanaryResult) -> Reply:
        """Raises Busy (still in grace), OperationFailed (not proven)."""
        volume = self._settings.volume
        if result.in_grace:
            raise Busy(
                f"{volume} serves, but could not be proven yet: {result.problem}",
                remedy=f"storage-agent-nfs {volume} prove, once they are back or grace is over",
                code="NFS_IN_GRACE",
            )
        if result.problem:
            raise OperationFailed(
                f"{volume} cannot be written and read through NFS: {result.problem}",
                remedy=f"journalctl -u storage-agent-nfs@{volume}; journalctl -k -g nfs",
                code="NFS_NOT_PROVEN",
            )
        return Reply(
            state=self.state(),
            detail=f"waited {result.waited_s:g} s for grace, took {result.took_s:g} s"
            + (f"; {result.remark}" if result.remark else ""),
        )

    # Between verbs

    def tick(self) -> float:
        """What is due. Returns seconds until the next call."""
        now_s = time.monotonic()
        self._revive_helpers()
        if self._repeats and self._repeats[0] <= now_s:
            self._repeats.pop(0)
            self.call_clients()
        if self._started_ticks:
            self._threads = self._nfsd.find_threads(*self._started_ticks)
            self._started_ticks = None
        # Not before clients had time to come back: the old list is worth more than an empty one.
        if not self._repeats and self.state() is ServerState.SERVING:
            self._recorder.record(read_connections())
        return max(0.0, self._repeats[0] - now_s) if self._repeats else 2.0

    def call_clients(self) -> None:
        """Announces the address and wakes those who are not connected yet."""
        self._link.announce()
        connected = set(read_connections())
        self._link.tickle(tuple(c for c in self._to_wake if c not in connected))

    def end(self) -> None:
        """For SIGTERM: all down, helpers ended."""
        self.stop()
        if self._mountd is not None:
            end_stream(self._mountd)
            self._mountd = None

    # Inside

    def _use(self, settings: ServerSettings) -> None:
        fixed = ("volume", "address", "interface", "link")
        for name in fixed:
            if getattr(settings, name) != getattr(self._settings, name):
                raise OperationFailed(
                    f"{name} of {settings.volume} has changed in the configuration",
                    remedy="while it is not served here, because this interrupts clients: "
                    f"systemctl restart storage-agent-nfs@{settings.volume}",
                    code="NFS_RESTART_NEEDED",
                )
        if settings.mount_point != self._settings.mount_point:
            self._recorder = ConnectionRecorder(settings.mount_point, settings.service_address())
        self._settings = settings

    def _is_mounted(self) -> bool:
        return os.path.ismount(self._settings.mount_point)

    def _drain(self) -> str:
        """How long it took until no request was being worked on; empty if it did not end.

        A client often acknowledges an answer with its next request, which the door drops: a
        tickle makes it say so by itself, at once and not at the answer's retransmission."""
        begin_s = time.monotonic()
        asked: set[str] = set()
        while not self._nfsd.is_idle(self._threads):
            if time.monotonic() - begin_s >= DRAIN_S:
                return ""
            silent = set(self._nfsd.unacknowledged()) - asked
            self._link.tickle(tuple(silent))
            asked |= silent
            time.sleep(_DRAIN_POLL_S)
        return f"drained in {(time.monotonic() - begin_s) * 1000:.0f} ms"

    def _close(self) -> None:
        self._link.down()
        self._link.open_door()

    def _revive_helpers(self) -> None:
        if self._mountd is not None and self._mountd.poll() is not None:
            self._mountd = self._runner.daemon(("rpc.mountd", "-F", "-N", "2", "-N", "3"))
        if self._nfsd.threads() > 0:
            self._on_volume.look_soon(self._settings.mount_point)

    def processes(self) -> int:
        return self._runner.started
