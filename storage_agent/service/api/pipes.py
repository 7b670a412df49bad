"""The pipes of an SSH session, which the gateway hands over with its hello: the daemon reads the
caller's bytes and writes its answers there, and nobody copies them in between."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Sequence
from typing import Protocol

# stdin and stdout.
COUNT = 2


class Stream(Protocol):
    """What a connection needs of a socket."""

    def fileno(self) -> int: ...

    def recv(self, size: int, /) -> bytes: ...

    def send(self, content: memoryview, /) -> int: ...

    def close(self) -> None: ...


class Pipe:
    """One end, through a description of our own: that it never blocks is for nobody else to
    change."""

    def __init__(self, descriptor: int, flags: int) -> None:
        # Fails for all but pipes, and never waits, as a look at a file could.
        fcntl.fcntl(descriptor, fcntl.F_GETPIPE_SZ)
        path = f"/proc/self/fd/{descriptor}"
        self._descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)

    def fileno(self) -> int:
        return self._descriptor

    def recv(self, size: int, /) -> bytes:
        return os.read(self._descriptor, size)

    def send(self, content: memoryview, /) -> int:
        return os.write(self._descriptor, content)

    def close(self) -> None:
        os.close(self._descriptor)


def receive(sock: socket.socket, size: int) -> tuple[bytes, list[int]]:
    """What has come, and descriptors that came along. Raises OSError."""
    content, descriptors, _, _ = socket.recv_fds(sock, size, COUNT, socket.MSG_CMSG_CLOEXEC)
    return content, descriptors


def open_pipes(descriptors: Sequence[int]) -> tuple[Pipe, Pipe]:
    """To read from, to write to. Raises OSError for anything but two pipes."""
    source, target = descriptors
    reader = Pipe(source, os.O_RDONLY)
    try:
        return reader, Pipe(target, os.O_WRONLY)
    except OSError:
        reader.close()
        raise
