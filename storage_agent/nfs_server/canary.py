"""Proof that the volume can be used through NFS: a client of our own on this very host writes,
reads back and removes a small file through the service address.

It lives in a network namespace of its own behind a veth pair, so that no admin has to give it an
address, and needs no mount.nfs: one forked child does it all and can be killed at any moment.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import time
from dataclasses import dataclass
from pathlib import Path

from storage_agent.host.nfs.settings import ServerSettings
from storage_agent.host.system import syscalls
from storage_agent.host.system.runner import wait_forked
from storage_agent.host.volume.own import FOLDER as AGENT_FOLDER
from storage_agent.nfs_server.exports import CANARY_ADDRESS
from storage_agent.nfs_server.nfsd import Nfsd
from storage_agent.nfs_server.reclaims import describe_waiting

# The same name every time: should one ever die with its record still in nfsdcld's database, the
# next one is taken for the same client and nobody waits in grace for the dead one.
HOSTNAME = "storage-agent-canary"
FOLDER = "canary"
_FILE = "probe"
_TARGET = "/run/canary"
_POLL_S = 0.1
_SIZE_BYTES = 4096
_RESULT_LIMIT_BYTES = 4096
_END_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryResult:
    """problem: empty when proven.  in_grace: it did not come to a try.  waited_s: for the end of
    grace.  took_s: from mount to unmount."""

    problem: str
    in_grace: bool = False
    waited_s: float = 0.0
    took_s: float = 0.0


def mount_options(address: str) -> str:
    """For mount(2) of type nfs4; soft and short, so that a dead server holds nobody."""
    return (
        "vers=4.2,proto=tcp,sec=sys,soft,timeo=30,retrans=2,noac,"
        f"addr={address},clientaddr={CANARY_ADDRESS}"
    )


@dataclass(frozen=True, slots=True)
class Canary:
    """A running one. results: descriptor that becomes readable when it has ended."""

    pid: int
    results: int

    def finish(self) -> CanaryResult:
        """Its result, and its end. Call once, when `results` is readable."""
        with os.fdopen(self.results, "rb") as pipe:
            content = pipe.read(_RESULT_LIMIT_BYTES)
        # Its mounts end with it, and that may hang on a server that no longer answers.
        wait_forked(self.pid, timeout_s=_END_S)
        if not content:
            return CanaryResult(problem="the canary died without a word")
        return CanaryResult(**json.loads(content))

    def kill(self) -> None:
        """Ends it early; `finish` still has to be called."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)


def start_canary(settings: ServerSettings, network: int, wait_s: float) -> Canary:
    """Forks one. network: descriptor of its namespace.  wait_s: for grace to end."""
    results, ours = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            result = _run(settings, network, time.monotonic() + wait_s)
            fields = {name: getattr(result, name) for name in CanaryResult.__slots__}
            os.write(ours, json.dumps(fields).encode()[:_RESULT_LIMIT_BYTES])
            status = 0
        finally:
            # Never back into the supervisor's loop.
            os._exit(status)
    os.close(ours)
    return Canary(pid, results)


def _run(settings: ServerSettings, network: int, deadline_s: float) -> CanaryResult:
    for sign in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
        signal.signal(sign, signal.SIG_DFL)
    begin_s = time.monotonic()
    nfsd = Nfsd()
    # An OPEN would be put off by the server as long as grace lasts, and the client's retries
    # would take time from the clients that reclaim.
    while nfsd.in_grace():
        if time.monotonic() >= deadline_s:
            waited_s = time.monotonic() - begin_s
            return CanaryResult(
                problem=describe_waiting(settings.mount_point), in_grace=True, waited_s=waited_s
            )
        time.sleep(_POLL_S)
    mounting_s = time.monotonic()
    try:
        _use(settings, network)
        problem = ""
    except OSError as exc:
        problem = f"{exc.filename or 'NFS'}: {exc.strerror or exc}"
    return CanaryResult(
        problem=problem,
        waited_s=round(mounting_s - begin_s, 3),
        took_s=round(time.monotonic() - mounting_s, 3),
    )


def _use(settings: ServerSettings, network: int) -> None:
    syscalls.setns(network, syscalls.CLONE_NEWNET)
    syscalls.unshare(syscalls.CLONE_NEWNS | syscalls.CLONE_NEWUTS)
    socket.sethostname(HOSTNAME)
    syscalls.mount("none", "/", flags=syscalls.MS_REC | syscalls.MS_PRIVATE)
    address = settings.service_address()
    source = f"{address}:{settings.mount_point}"
    flags = syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC
    syscalls.mount(source, _TARGET, "nfs4", flags, mount_options(address))
    try:
        _write_and_read(Path(_TARGET, AGENT_FOLDER, FOLDER, _FILE))
    finally:
        # Takes leave of the server: it keeps no record of this client.
        syscalls.unmount(_TARGET)


def _write_and_read(path: Path) -> None:
    content = os.urandom(_SIZE_BYTES)
    writer = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(writer, content)
        os.fsync(writer)
    finally:
        os.close(writer)
    # O_DIRECT: from the server, not from what this client remembers.
    reader = os.open(path, os.O_RDONLY | os.O_DIRECT)
    try:
        back = os.read(reader, _SIZE_BYTES)
    finally:
        os.close(reader)
    path.unlink()
    if back != content:
        raise OSError(None, "what was read is not what was written", str(path))
