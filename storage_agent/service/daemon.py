"""storage-agentd: the socket, the signals and systemd around an Agent."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import signal
import socket
import threading
from pathlib import Path

import structlog

from storage_agent import __version__
from storage_agent.host.system.clock import SystemClock
from storage_agent.host.system.lock import acquire
from storage_agent.model.errors import NotPermitted
from storage_agent.service import systemd
from storage_agent.service.agent import Agent
from storage_agent.service.api.access import GATEWAY_USER
from storage_agent.service.api.audit import Audit
from storage_agent.service.api.methods import Dispatcher
from storage_agent.service.api.server import Server
from storage_agent.service.api.session import Call
from storage_agent.service.api.sessions import RIGHTS_PERIOD_S, lost_rights
from storage_agent.service.pair_listener import PairListener
from storage_agent.service.refusal import refusal
from storage_agent.service.wiring import make_agent

RUN_FOLDER = Path("/run/storage-agent")
SOCKET_NAME = "agent.sock"
LOCK_NAME = "daemon.lock"
# More gateways wait only while the daemon stands still; each then asks again for a while.
BACKLOG = 1024
# Between SIGTERM and the end: for the step under way to come to its end. What takes longer is
# interrupted and resumed.
STOP_GRACE_S = 3.0
# The observer's loop turns every 10 s; one that does not for so long hangs.
OBSERVER_HANGS_S = 40.0
STATUS_PERIOD_S = 30.0

log = structlog.get_logger()


class Daemon:
    """`run` serves until SIGTERM or SIGINT."""

    def __init__(self, folder: Path = RUN_FOLDER) -> None:
        self._lock_fd = take_lock(folder)
        listener = systemd.passed_listener() or open_listener(folder)
        self._clock = SystemClock()
        self._server = Server(
            listener=listener,
            dispatch=self._dispatch,
            clock=self._clock,
            gateway_uid=user_id(GATEWAY_USER),
            answered=Audit(self._clock),
            lost_rights=lambda session: lost_rights(self._agent.key_role, session),
        )
        self._agent: Agent = make_agent(self._broadcast)
        self._dispatcher = Dispatcher(self._agent)
        self._pair = PairListener(
            lambda: self._agent.setup.config, refusal=lambda volume: refusal(self._agent, volume)
        )
        self._shown = ""

    def run(self) -> None:
        for sign in (signal.SIGTERM, signal.SIGINT):
            signal.signal(sign, lambda *_: self._server.stop())
        signal.signal(signal.SIGHUP, lambda *_: self._server.post(self._start_reload))
        self._agent.start()
        self._pair.start()
        if period_s := systemd.watchdog_period_s():
            self._server.every(period_s, self._pet_watchdog)
        self._server.every(STATUS_PERIOD_S, self._show_status)
        self._server.every(RIGHTS_PERIOD_S, self._server.end_lost_sessions)
        systemd.notify("READY=1")
        log.info("serving", version=__version__)
        self._server.run()
        systemd.notify("STOPPING=1")
        self._pair.stop()
        rested = self._agent.stop(STOP_GRACE_S)
        log.info("stopped", operations="at rest" if rested else "interrupted, will be resumed")

    def _dispatch(self, call: Call) -> None:
        self._dispatcher(call)

    def _broadcast(self, method: str, parameters: object) -> None:
        self._server.post(lambda: self._server.broadcast(method, parameters))

    def _start_reload(self) -> None:
        # It reads files: not on the loop.
        threading.Thread(target=self._reload, name="reload", daemon=True).start()

    def _reload(self) -> None:
        systemd.notify("RELOADING=1", f"MONOTONIC_USEC={int(self._clock.monotonic() * 1e6)}")
        try:
            self._agent.reload()
        finally:
            systemd.notify("READY=1")

    def _pet_watchdog(self) -> None:
        if self._agent.observer.age_s() < OBSERVER_HANGS_S:
            systemd.notify("WATCHDOG=1")

    def _show_status(self) -> None:
        text = self._agent.summary()
        if text != self._shown:
            self._shown = text
            systemd.notify(f"STATUS={text}")


def take_lock(folder: Path) -> int:
    """One daemon a host. Raises Busy. The kernel frees it with the process, however that ends."""
    return acquire(folder / LOCK_NAME, "storage-agentd")


def open_listener(folder: Path) -> socket.socket:
    """Where systemd passed none. With the lock held nobody else can be listening here."""
    path = folder / SOCKET_NAME
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o117)
    try:
        listener.bind(os.fspath(path))
    finally:
        os.umask(mask)
    with contextlib.suppress(KeyError):
        os.chown(path, 0, grp.getgrnam(GATEWAY_USER).gr_gid)
    listener.listen(BACKLOG)
    return listener


def user_id(name: str) -> int | None:
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        return None


def require_root() -> None:
    """Raises NotPermitted."""
    if os.geteuid() != 0:
        remedy = "systemctl start storage-agentd"
        raise NotPermitted("storage-agentd must run as root", remedy=remedy)
