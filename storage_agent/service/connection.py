"""One connection's bytes: frames in, lines out, and the deadlines of both. Runs on the server's
loop alone; knows no method."""

from __future__ import annotations

import socket

from storage_agent.service.access import Peer, Role
from storage_agent.service.rpc import FRAME_LIMIT_BYTES, too_large

FRAME_DEADLINE_S = 5.0
HELLO_DEADLINE_S = 5.0
WRITE_DEADLINE_S = 5.0
IDLE_DEADLINE_S = 600.0
OUT_LIMIT_BYTES = 1 << 20
# Above this no further request is taken until the caller has read.
OUT_PAUSE_BYTES = 64 << 10
_CHUNK_BYTES = 64 << 10


class Connection:
    """is_busy: a request is being worked on. is_ended: the caller has closed its side."""

    def __init__(self, sock: socket.socket, peer: Peer, role: Role, now_s: float) -> None:
        self.sock = sock
        self.peer = peer
        self.role = role
        self.origin = f"uid {peer.uid} pid {peer.pid}"
        self.key_id = ""
        self.is_subscribed = False
        self.is_busy = False
        self.is_ended = False
        self.closes_after_write = False
        self._in = bytearray()
        self._out = bytearray()
        self._frame_begun_s: float | None = None
        self._write_stalled_s: float | None = None
        self._last_used_s = now_s
        self._hello_due_s = now_s + HELLO_DEADLINE_S

    def read(self, now_s: float) -> None:
        """Takes what is there. Raises OSError for a broken connection."""
        try:
            chunk = self.sock.recv(_CHUNK_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        self._last_used_s = now_s
        if not chunk:
            self.is_ended = True
            return
        if b"\n" in chunk or not self._in:
            self._frame_begun_s = now_s
        self._in += chunk
        if self._in.endswith(b"\n"):
            self._frame_begun_s = None

    def next_frame(self) -> bytes | None:
        """The next whole line, if one is there. Raises BadRequest where none ends in the limit."""
        if self.is_busy or self.closes_after_write or len(self._out) > OUT_PAUSE_BYTES:
            return None
        end = self._in.find(b"\n", 0, FRAME_LIMIT_BYTES + 1)
        if end < 0:
            if len(self._in) > FRAME_LIMIT_BYTES:
                raise too_large()
            if not self.is_ended or not self._in:
                return None
            # The last line may come without its newline; cut short it is no JSON.
            end = len(self._in)
        frame = bytes(self._in[:end])
        del self._in[: end + 1]
        return frame

    def wants_read(self) -> bool:
        return (
            not self.is_ended
            and not self.closes_after_write
            and len(self._in) <= FRAME_LIMIT_BYTES
            and len(self._out) <= OUT_PAUSE_BYTES
        )

    def wants_write(self) -> bool:
        return bool(self._out)

    def send(self, line: bytes, now_s: float) -> None:
        """Queues a line and writes what the socket takes. Raises OSError, BufferError (the caller
        does not read)."""
        if len(self._out) + len(line) > OUT_LIMIT_BYTES:
            raise BufferError(f"{len(self._out)} bytes wait to be read")
        if not self._out:
            self._write_stalled_s = now_s
        self._out += line
        self.write(now_s)

    def write(self, now_s: float) -> None:
        """Writes what the socket takes. Raises OSError."""
        while self._out:
            try:
                sent = self.sock.send(memoryview(self._out)[:_CHUNK_BYTES])
            except (BlockingIOError, InterruptedError):
                return
            del self._out[:sent]
            self._write_stalled_s = now_s if self._out else None
            self._last_used_s = now_s

    def deadline_s(self) -> tuple[float, str]:
        """When this connection is given up, and why."""
        candidates: list[tuple[float, str]] = []
        if self._frame_begun_s is not None and self.wants_read():
            candidates.append((self._frame_begun_s + FRAME_DEADLINE_S, "the request did not end"))
        if self._write_stalled_s is not None:
            candidates.append((self._write_stalled_s + WRITE_DEADLINE_S, "nobody reads"))
        if self.role is Role.NONE:
            candidates.append((self._hello_due_s, "no hello came"))
        if not self.is_busy and not self.is_subscribed:
            candidates.append((self._last_used_s + IDLE_DEADLINE_S, "idle"))
        return min(candidates, default=(float("inf"), ""))

    def is_finished(self) -> bool:
        """Nothing more will come or go."""
        if self._out:
            return False
        if self.closes_after_write:
            return True
        return self.is_ended and not self.is_busy and not self._in
