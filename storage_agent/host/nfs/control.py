"""The daemon's side of a volume's NFS server: what it is told, and how it is asked.

The unit itself (storage-agent-nfs@VOLUME) is started and stopped through systemd, elsewhere.
"""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

from storage_agent.host.nfs.protocol import (
    LINE_LIMIT_BYTES,
    Reply,
    Request,
    Verb,
    decode_reply,
    encode_request,
    socket_path,
)
from storage_agent.host.nfs.settings import render_settings, settings_of, settings_path
from storage_agent.host.system.files import replace_file
from storage_agent.model.configuration import VolumeConfig
from storage_agent.model.errors import Missing, OutcomeUnknown


def prepare_settings(volume: VolumeConfig, root: Path = Path("/")) -> None:
    """Writes what the supervisor reads when its unit starts and again at `start`. Idempotent;
    call it before either. Raises ConfigurationError."""
    path = settings_path(volume.name, root)
    content = render_settings(settings_of(volume))
    if path.exists() and path.read_bytes() == content:
        return
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    replace_file(path, content)


class ServerControl:
    """Asks one volume's supervisor. Every method raises Missing (code NFS_SERVER_ABSENT) where
    none runs, OutcomeUnknown when no answer came in time, and what the supervisor met."""

    def __init__(self, volume: str, root: Path = Path("/")) -> None:
        self._volume = volume
        self._path = socket_path(volume, root)

    def start(self, *, timeout_s: float) -> Reply:
        """nfsd runs and exports the volume, which must be mounted; the link stays down."""
        return self.ask(Verb.START, timeout_s)

    def link_up(self, *, timeout_s: float) -> Reply:
        """Lets clients in."""
        return self.ask(Verb.LINK_UP, timeout_s)

    def link_down(self, *, timeout_s: float) -> Reply:
        """Shuts clients out, letting answers out first (bounded)."""
        return self.ask(Verb.LINK_DOWN, timeout_s)

    def stop(self, *, timeout_s: float) -> Reply:
        """No nfsd; nothing of ours keeps the volume busy. Link down first if it is up."""
        return self.ask(Verb.STOP, timeout_s)

    def prove(self, *, timeout_s: float) -> Reply:
        """Writes and reads a file through NFS. Raises Busy (code NFS_IN_GRACE) if grace did not
        end in time, OperationFailed (code NFS_NOT_PROVEN) if it did not work."""
        return self.ask(Verb.PROVE, timeout_s)

    def status(self, *, timeout_s: float) -> Reply:
        """Changes nothing."""
        return self.ask(Verb.STATUS, timeout_s)

    def ask(self, verb: Verb, timeout_s: float) -> Reply:
        """Any verb."""
        deadline_s = time.monotonic() + timeout_s
        request = encode_request(Request(verb=verb, timeout_s=timeout_s))
        try:
            line = self._exchange(request, deadline_s)
        except (FileNotFoundError, ConnectionRefusedError) as exc:
            raise Missing(
                f"the NFS server of {self._volume} is not running",
                remedy=f"systemctl start storage-agent-nfs@{self._volume}",
                code="NFS_SERVER_ABSENT",
            ) from exc
        except OSError as exc:
            raise OutcomeUnknown(
                f"NFS server of {self._volume}, {verb}: no answer within {timeout_s:.3g} s ({exc})",
                remedy=f"systemctl status storage-agent-nfs@{self._volume}; storage-agent status",
                code="NFS_SERVER_ANSWER",
            ) from exc
        return decode_reply(line, self._volume)

    def _exchange(self, request: bytes, deadline_s: float) -> bytes:
        line = b""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(max(0.001, deadline_s - time.monotonic()))
            connection.connect(os.fspath(self._path))
            connection.sendall(request)
            while not line.endswith(b"\n") and len(line) < LINE_LIMIT_BYTES:
                connection.settimeout(max(0.001, deadline_s - time.monotonic()))
                chunk = connection.recv(65536)
                if not chunk:
                    raise ConnectionResetError("the supervisor ended")
                line += chunk
        return line
