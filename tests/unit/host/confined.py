"""A process with mounts as systemd gives them to a unit, beside a stand-in for the host (pid 1).

As src/core/namespace.c does it: a namespace of its own, slave of the host's, read-only where it is
told, shared again for what is made of it.
"""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Callable
from pathlib import Path

from storage_agent.host.system import outside, syscalls

_SHARED = 1 << 20
_READ_ONLY = syscalls.MS_BIND | syscalls.MS_REMOUNT | syscalls.MS_RDONLY


def confined(
    call: Callable[[], None], *, read_only: tuple[Path, ...], before: Callable[[], None]
) -> None:
    """Runs `call` in the unit; what fails there fails here. before: what the host has mounted by
    then. read_only: folders or mounts of the host's."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        _guard(writer, lambda: _host(writer, call, read_only, before))
    os.close(writer)
    with os.fdopen(reader) as pipe:
        told = pipe.read()
    os.waitpid(pid, 0)
    assert told == "", told


def _guard(writer: int, call: Callable[[], None]) -> None:
    try:
        signal.alarm(60)
        call()
    except BaseException:
        os.write(writer, traceback.format_exc().encode()[-4000:])
    finally:
        os._exit(0)


def _host(
    writer: int, call: Callable[[], None], read_only: tuple[Path, ...], before: Callable[[], None]
) -> None:
    syscalls.unshare(syscalls.CLONE_NEWNS)
    syscalls.mount("none", "/", flags=syscalls.MS_REC | syscalls.MS_PRIVATE)
    syscalls.mount("none", "/", flags=syscalls.MS_REC | _SHARED)
    before()
    host = os.getpid()
    pid = os.fork()
    if pid == 0:
        _guard(writer, lambda: _unit(host, call, read_only))
    os.waitpid(pid, 0)


def _unit(host: int, call: Callable[[], None], read_only: tuple[Path, ...]) -> None:
    syscalls.unshare(syscalls.CLONE_NEWNS)
    syscalls.mount("none", "/", flags=syscalls.MS_REC | syscalls.MS_SLAVE)
    for path in read_only:
        if not os.path.ismount(path):
            syscalls.mount(str(path), str(path), flags=syscalls.MS_BIND | syscalls.MS_REC)
        syscalls.mount("none", str(path), flags=_READ_ONLY)
    syscalls.mount("none", "/", flags=syscalls.MS_REC | _SHARED)
    outside.HOST = str(host)
    call()
