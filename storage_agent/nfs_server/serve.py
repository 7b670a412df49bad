"""The supervisor as a process: start, socket, signals, loop. The kernel's modules that it needs are
loaded by its unit: nothing here can."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import selectors
import signal
import socket
import time
from dataclasses import dataclass
from pathlib import Path

from storage_agent.host.nfs.protocol import Reply, Request, Verb, decode_request, encode_reply
from storage_agent.host.nfs.settings import read_settings
from storage_agent.host.system.runner import Runner
from storage_agent.model.errors import AgentError, Busy, OperationFailed
from storage_agent.model.wire import WireError
from storage_agent.nfs_server import namespaces
from storage_agent.nfs_server.canary import Canary
from storage_agent.nfs_server.host_side import HostSide
from storage_agent.nfs_server.link import parse_gateway
from storage_agent.nfs_server.notify import Notifier, log
from storage_agent.nfs_server.supervisor import Supervisor

_REQUEST_S = 2.0
_REQUEST_LIMIT_BYTES = 4096
# Of the time that a caller of `prove` gives, what is not spent on waiting for grace to end.
_CANARY_S = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """A canary under way and who waits for it."""

    canary: Canary
    connection: socket.socket
    begin_s: float
    end_s: float


class Loop:
    """One request at a time; only `prove` goes on beside others, in its child."""

    def __init__(self, supervisor: Supervisor, listener: socket.socket, notifier: Notifier) -> None:
        self._supervisor = supervisor
        self._listener = listener
        self._notifier = notifier
        self._proof: Proof | None = None
        self._ending = False
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ, self._accept)
        watch = supervisor.watch()
        self._selector.register(watch.descriptor(), selectors.EVENT_READ, watch.hear)
        self._install_signals()

    def run(self) -> None:
        """Until SIGTERM."""
        pause_s = 0.0
        while not self._ending:
            for key, _ in self._selector.select(pause_s):
                key.data()
            if self._proof and time.monotonic() > self._proof.end_s:
                self._proof.canary.kill()
            pause_s = self._supervisor.tick()
        if self._proof:
            self._proof.canary.kill()

    def _install_signals(self) -> None:
        """SIGTERM, and SIGCHLD of a helper that died, end the loop's sleep through a pipe."""
        reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self._end)
        self._selector.register(reader, selectors.EVENT_READ, lambda: os.read(reader, 4096))

    def _end(self, *_: object) -> None:
        self._ending = True

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        try:
            request = _read_request(connection)
            if request.verb is Verb.PROVE:
                self._start_proof(request, connection)
            else:
                _answer(connection, self._do(request.verb))
        except AgentError as exc:
            log(f"{exc.code}: {exc.message}")
            _answer(connection, exc)
        except (OSError, WireError) as exc:
            log(f"request failed: {exc}")
            _answer(connection, OperationFailed(str(exc), remedy="see the journal of the unit"))

    def _do(self, verb: Verb) -> Reply:
        supervisor = self._supervisor
        if verb is Verb.STATUS:
            return supervisor.status()
        if verb in (Verb.LINK_DOWN, Verb.STOP) and self._proof:
            self._proof.canary.kill()
        calls = {
            Verb.START: supervisor.start,
            Verb.LINK_UP: supervisor.link_up,
            Verb.LINK_DOWN: supervisor.link_down,
            Verb.STOP: supervisor.stop,
        }
        begin_s, processes = time.monotonic(), supervisor.processes()
        reply = dataclasses.replace(
            calls[verb](),
            duration_s=round(time.monotonic() - begin_s, 4),
            processes=supervisor.processes() - processes,
        )
        log(f"{verb}: {reply.state}, {reply.duration_s * 1000:.0f} ms, {reply.detail}")
        self._notifier.status(reply.state)
        return reply

    def _start_proof(self, request: Request, connection: socket.socket) -> None:
        if self._proof:
            raise Busy("a canary is under way already", remedy="ask again in a moment")
        canary = self._supervisor.start_canary(max(0.0, request.timeout_s - _CANARY_S))
        begin_s = time.monotonic()
        self._proof = Proof(
            canary=canary,
            connection=connection,
            begin_s=begin_s,
            end_s=begin_s + request.timeout_s,
        )
        self._selector.register(canary.results, selectors.EVENT_READ, self._finish_proof)

    def _finish_proof(self) -> None:
        assert self._proof is not None
        proof, self._proof = self._proof, None
        self._selector.unregister(proof.canary.results)
        took_s = round(time.monotonic() - proof.begin_s, 4)
        try:
            reply = self._supervisor.canary_reply(proof.canary.finish())
        except AgentError as exc:
            log(f"{exc.code}: {exc.message}")
            _answer(proof.connection, exc)
            return
        log(f"prove: {reply.detail}")
        _answer(proof.connection, dataclasses.replace(reply, duration_s=took_s))


def serve(volume: str) -> None:
    """The process's whole life. Raises AgentError or OSError if standby cannot be reached."""
    settings = read_settings(volume)
    host, notifier, runner = HostSide(volume), Notifier(), Runner()
    listener = host.listen()
    gateway = parse_gateway(Path("/proc/net/route").read_text(), settings)
    found = namespaces.enter(volume, settings.mount_point, runner)
    # With its last mount the kernel ends the server (fs/nfsd/nfsctl.c nfsd_umount(); seen with
    # 6.1.192), and ours dies with our mount namespace.
    notifier.keep("nfsd", namespaces.NFSD)
    supervisor = Supervisor(settings, host.read_settings, gateway, host.write_note)
    supervisor.prepare(lambda: host.make_link(settings, runner))
    supervisor.prepare_canary()
    loop = Loop(supervisor, listener, notifier)
    host.write_pid()
    log(f"{'taken over' if found else 'prepared'}: {supervisor.state()}")
    notifier.ready(supervisor.state())
    loop.run()
    supervisor.end()
    host.clean()


def main(volume: str) -> int:
    """Returns the exit status; systemd starts it again after any but 0."""
    try:
        serve(volume)
    except AgentError as exc:
        log(f"{exc.message}; {exc.remedy}")
        return exc.exit_status
    except OSError as exc:
        log(f"cannot prepare: {exc}")
        return OperationFailed.exit_status
    return 0


def _read_request(connection: socket.socket) -> Request:
    connection.settimeout(_REQUEST_S)
    line = b""
    while not line.endswith(b"\n") and len(line) < _REQUEST_LIMIT_BYTES:
        chunk = connection.recv(_REQUEST_LIMIT_BYTES)
        if not chunk:
            raise WireError("no request came")
        line += chunk
    return decode_request(line)


def _answer(connection: socket.socket, answer: Reply | AgentError) -> None:
    # A caller that has gone away misses the answer; what was done stays done.
    with connection, contextlib.suppress(OSError):
        connection.settimeout(_REQUEST_S)
        connection.sendall(encode_reply(answer))
