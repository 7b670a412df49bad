"""Proof that the volume can be used through NFS: a client of our own on this very host reads, from
the service address, what was just written on the volume itself, and what it writes over a file
there is read back on the volume. So nothing but this volume passes, and a full one does too: the
file is there before (host/volume/reserve.py).

It lives in a network namespace of its own behind a veth pair, so that no admin has to give it an
address, and needs no mount.nfs: one forked child does it all and can be killed at any moment.
"""

from __future__ import annotations

import contextlib
import errno
import json
import mmap
import os
import signal
import socket
import time
from dataclasses import dataclass

from storage_agent.host.nfs.settings import ServerSettings
from storage_agent.host.system import syscalls
from storage_agent.host.system.runner import wait_forked
from storage_agent.host.volume.own import CANARY, FOLDER
from storage_agent.host.volume.reserve import PROBE, PROBE_BYTES, open_probe
from storage_agent.nfs_server.exports import CANARY_ADDRESS
from storage_agent.nfs_server.nfsd import Nfsd
from storage_agent.nfs_server.reclaims import describe_waiting

# The same name every time: should one ever die with its record still in nfsdcld's database, the
# next one is taken for the same client and nobody waits in grace for the dead one.
HOSTNAME = "storage-agent-canary"
_TARGET = "/run/canary"
_POLL_S = 0.1
_BLOCK_BYTES = PROBE_BYTES // 2
_RESULT_LIMIT_BYTES = 4096
_END_S = 2.0
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
# Its server is this host, but what lies there is anybody's.
_FLAGS = syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC | syscalls.MS_NOSYMFOLLOW


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryResult:
    """problem: empty when proven.  remark: what was left out.  in_grace: it did not come to a try.
    waited_s: for the end of grace.  took_s: from mount to unmount."""

    problem: str
    remark: str = ""
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
    mounting_s, remark, problem = time.monotonic(), "", ""
    try:
        remark = _use(settings, network)
    except OSError as exc:
        problem = f"{exc.filename or 'NFS'}: {exc.strerror or exc}"
    return CanaryResult(
        problem=problem,
        remark=remark,
        waited_s=round(mounting_s - begin_s, 3),
        took_s=round(time.monotonic() - mounting_s, 3),
    )


def _use(settings: ServerSettings, network: int) -> str:
    """Returns the remark."""
    probe = open_probe(settings.mount_point)
    syscalls.setns(network, syscalls.CLONE_NEWNET)
    syscalls.unshare(syscalls.CLONE_NEWNS | syscalls.CLONE_NEWUTS)
    socket.sethostname(HOSTNAME)
    syscalls.mount("none", "/", flags=syscalls.MS_REC | syscalls.MS_PRIVATE)
    address = settings.service_address()
    source = f"{address}:{settings.mount_point}"
    syscalls.mount(source, _TARGET, "nfs4", _FLAGS, mount_options(address))
    try:
        return exchange(probe, f"{_TARGET}/{FOLDER}/{CANARY}/{PROBE}")
    finally:
        # Takes leave of the server: it keeps no record of this client.
        syscalls.unmount(_TARGET)


def exchange(probe: int, path: str) -> str:
    """probe: the file on the volume itself, open.  path: the same through NFS.  Returns a remark
    where it could only be read. Raises OSError: not proven."""
    theirs, ours = os.urandom(_BLOCK_BYTES), os.urandom(_BLOCK_BYTES)
    os.pwrite(probe, theirs, 0)
    os.fsync(probe)
    if _read_directly(path) != theirs:
        raise OSError(None, "what is read is not what lies on the volume", path)
    try:
        _write(path, ours)
    except OSError as exc:
        if exc.errno not in _NO_ROOM:
            raise
        return f"full: proved by reading only ({exc.strerror})"
    if os.pread(probe, _BLOCK_BYTES, _BLOCK_BYTES) != ours:
        raise OSError(None, "what was written is not on the volume", path)
    return ""


def _read_directly(path: str) -> bytes:
    """From the server, not from what this client remembers (O_DIRECT, into whole pages)."""
    reader = os.open(path, os.O_RDONLY | os.O_DIRECT | os.O_NOFOLLOW)
    try:
        with mmap.mmap(-1, _BLOCK_BYTES) as page:
            return page[: os.preadv(reader, [page], 0)]
    finally:
        os.close(reader)


def _write(path: str, content: bytes) -> None:
    """Over blocks that are there: it takes nothing new."""
    writer = os.open(path, os.O_WRONLY | os.O_NOFOLLOW)
    try:
        os.pwrite(writer, content, _BLOCK_BYTES)
        os.fsync(writer)
    finally:
        os.close(writer)
