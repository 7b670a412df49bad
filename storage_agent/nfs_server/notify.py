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

    def keep(self, name: str, path: str) -> None:
        """Held open by systemd (sd_notify(3), FDSTORE) for as long as the unit runs or is to be
        started again, however this process ends. One from before is held already."""
        if self._channel is None or name in os.environ.get("LISTEN_FDNAMES", "").split(":"):
            return
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            message = f"FDSTORE=1\nFDNAME={name}".encode()
            # What is not kept is no reason not to serve.
            with contextlib.suppress(OSError):
                socket.send_fds(self._channel, [message], [descriptor])
        finally:
            os.close(descriptor)

    def _send(self, text: str) -> None:
        if self._channel is not None:
            with contextlib.suppress(OSError):
                self._channel.send(text.encode())


def log(text: str) -> None:
    """One line on stderr, which is the journal."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
