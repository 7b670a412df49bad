"""sd_notify(3) without python3-systemd, which is slow to import, and lines for the journal."""

from __future__ import annotations

import contextlib
import os
import socket
import sys


class Notifier:
    """Connects at once: systemd's socket is looked up while the host's /run is still in sight."""

    def __init__(self) -> None:
        self._channel: socket.socket | None = None
        if address := os.environ.get("NOTIFY_SOCKET"):
            self._channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._channel.connect("\0" + address[1:] if address[0] == "@" else address)

    def ready(self, status: str) -> None:
        self._send(f"READY=1\nSTATUS={status}")

    def status(self, status: str) -> None:
        self._send(f"STATUS={status}")

    def _send(self, text: str) -> None:
        if self._channel is not None:
            with contextlib.suppress(OSError):
                self._channel.send(text.encode())


def log(text: str) -> None:
    """One line on stderr, which is the journal."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
