"""One SSH connection with many sessions, driven byte by byte: what ssh itself would not send."""

from __future__ import annotations

import json
import socket
import struct
import time
from typing import Any

import paramiko

from tests.gateway.host import DEADLINE_S, USER, StorageHost

# Little of an answer fits, so that the other end is soon blocked.
SMALL_WINDOW_BYTES = 32768


class Wire:
    """Used with `with`. sessions: any number, up to sshd's MaxSessions at a time."""

    def __init__(self, host: StorageHost, role: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", host.port), timeout=DEADLINE_S)
        self._transport = paramiko.Transport(self._socket)
        self._transport.start_client(timeout=DEADLINE_S)
        key = paramiko.Ed25519Key.from_private_key_file(str(host.key(role)))
        self._transport.auth_publickey(USER, key)

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self._transport.close()

    def session(self, command: bytes = b"", window_bytes: int | None = None) -> paramiko.Channel:
        channel = self._transport.open_session(window_size=window_bytes, timeout=DEADLINE_S)
        channel.settimeout(DEADLINE_S)
        channel.exec_command(command)
        return channel

    def reset(self) -> None:
        """TCP's RST: everything on its way is lost."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()


def answers(channel: paramiko.Channel) -> list[Any]:
    """All until the other end closes."""
    received = b""
    while chunk := channel.recv(65536):
        received += chunk
    return [json.loads(line) for line in received.splitlines()]


def one_line(channel: paramiko.Channel) -> bytes:
    """The one answer that is to come."""
    received = b""
    while not received.endswith(b"\n"):
        chunk = channel.recv(65536)
        assert chunk, f"the session ended after {received!r}"
        received += chunk
    return received


def trickle(channel: paramiko.Channel, content: bytes, pause_s: float) -> None:
    """One byte after the other, until all are sent or the other end has closed."""
    for byte in content:
        try:
            channel.sendall(bytes([byte]))
        except OSError:
            return
        time.sleep(pause_s)
