"""One connection's bytes: frames in, lines out, and the deadlines of both. Runs on the server's
loop alone; knows no method.

A gateway's connection hands the pipes of its SSH session over: frames and answers go through those
from the answer to its hello on. Its socket then only tells when either of the two has ended.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket

from storage_agent.service.api.access import Peer, Role
from storage_agent.service.api.pipes import Stream, open_pipes, receive
from storage_agent.service.api.rpc import FRAME_LIMIT_BYTES, BadRequest, too_large

FRAME_DEADLINE_S = 5.0
HELLO_DEADLINE_S = 5.0
WRITE_DEADLINE_S = 5.0
IDLE_DEADLINE_S = 600.0
OUT_LIMIT_BYTES = 1 << 20
# Above this no further request is taken until the caller has read.
OUT_PAUSE_BYTES = 64 << 10
_CHUNK_BYTES = 64 << 10


class Connection:
    """is_busy: a request is being worked on. is_ended: the caller has closed its side.
    registered: what the server's selector waits for, by stream; the server's own."""

    def __init__(self, sock: socket.socket, peer: Peer, role: Role, now_s: float) -> None:
        self.sock = sock
        self.peer = peer
        self.role = role
        self.origin = f"uid {peer.uid} pid {peer.pid}"
        self.key_id = ""
        self.opened_s = now_s
        self.is_subscribed = False
        self.is_busy = False
        self.is_ended = False
        self.closes_after_write = False
        self.registered: dict[Stream, int] = {}
        self._reader: Stream = sock
        self._writer: Stream = sock
        self._given: list[int] = []
        self._pipes: tuple[Stream, Stream] | None = None
        self._has_asked = False
        # Of the gateway; as its `main` says.
        self._exit_status = 1
        self._in = bytearray()
        self._out = bytearray()
        self._frame_begun_s: float | None = None
        self._write_stalled_s: float | None = None
        self._last_used_s = now_s
        self._hello_due_s = now_s + HELLO_DEADLINE_S

    def take_pipes(self) -> None:
        """Makes those usable that came with the hello, if any. Raises BadRequest."""
        if not self._given:
            return
        try:
            self._pipes = open_pipes(self._given)
        except (OSError, ValueError):
            raise BadRequest(
                "bad-request", "stdin and stdout must be pipes, as sshd makes them"
            ) from None
        finally:
            self._close_given()

    def hand_over(self) -> None:
        """From now on everything goes through the pipes, where there are any."""
        if self._pipes is not None:
            (self._reader, self._writer), self._pipes = self._pipes, None
            self._has_asked = False

    def close(self) -> None:
        """Tells a gateway how to end."""
        if self._reader is not self.sock:
            with contextlib.suppress(OSError):
                self.sock.send(bytes([self._exit_status]))
        self._close_given()
        for stream in {self.sock, self._reader, self._writer, *(self._pipes or ())}:
            stream.close()

    def _close_given(self) -> None:
        for descriptor in self._given:
            os.close(descriptor)
        self._given = []

    def carries(self, stream: object) -> bool:
        """Whether frames come or answers go through it."""
        return stream in (self._reader, self._writer)

    def wanted(self) -> dict[Stream, int]:
        """What to wait for, by stream."""
        found: dict[Stream, int] = {}
        if self._reader is not self.sock:
            found[self.sock] = selectors.EVENT_READ
        if self.wants_read():
            found[self._reader] = selectors.EVENT_READ
        if self._out:
            found[self._writer] = found.get(self._writer, 0) | selectors.EVENT_WRITE
        return found

    def read(self, now_s: float) -> None:
        """Takes what is there. Raises OSError for a broken connection."""
        try:
            if self.role is Role.NONE:
                chunk, given = receive(self.sock, _CHUNK_BYTES)
                # Once: what comes with anything but the first bytes is nobody's.
                self._close_given()
                self._given = given
            else:
                chunk = self._reader.recv(_CHUNK_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        self._last_used_s = now_s
        if not chunk:
            self.is_ended = True
            self._exit_status = 0
            return
        if b"\n" in chunk or not self._in:
            self._frame_begun_s = now_s
        self._in += chunk
        if self._in.endswith(b"\n"):
            self._frame_begun_s = None

    def has_frame(self) -> bool:
        """`next_frame` would give one, or raise."""
        if self.is_busy or self.closes_after_write or len(self._out) > OUT_PAUSE_BYTES:
            return False
        is_silent = self._reader is not self.sock and not self._has_asked
        if self.is_ended and (self._in or is_silent):
            return True
        return b"\n" in self._in or len(self._in) > FRAME_LIMIT_BYTES

    def next_frame(self) -> bytes | None:
        """The next whole line, if one is there. Raises BadRequest where none ends in the limit."""
        if self.is_busy or self.closes_after_write or len(self._out) > OUT_PAUSE_BYTES:
            return None
        end = self._in.find(b"\n", 0, FRAME_LIMIT_BYTES + 1)
        if end < 0:
            if len(self._in) > FRAME_LIMIT_BYTES:
                raise too_large()
            if not self.is_ended or not self._in:
                self._require_request()
                return None
            # The last line may come without its newline; cut short it is no JSON.
            end = len(self._in)
        self._has_asked = True
        frame = bytes(self._in[:end])
        del self._in[: end + 1]
        return frame

    def _require_request(self) -> None:
        """A coordinator that has sent nothing at all is told so, once."""
        if self.is_ended and self._reader is not self.sock and not self._has_asked:
            self._has_asked, self._exit_status = True, 2
            raise BadRequest("bad-request", "no request came: one JSON object a line")

    def wants_read(self) -> bool:
        return (
            not self.is_ended
            and not self.closes_after_write
            and len(self._in) <= FRAME_LIMIT_BYTES
            and len(self._out) <= OUT_PAUSE_BYTES
        )

    def send(self, line: bytes, now_s: float) -> None:
        """Queues a line and writes what the socket takes. Raises OSError, BufferError (the caller
        does not read)."""
        if len(self._out) + len(line) > OUT_LIMIT_BYTES:
            raise BufferError(f"{len(self._out)} bytes wait to be read")
        if not self._out:
            self._write_stalled_s = now_s
            # Nearly always all of it, without a stay in the queue.
            line = line[self._write_some(line, now_s) :]
        self._out += line
        self.write(now_s)

    def write(self, now_s: float) -> None:
        """Writes what the socket takes. Raises OSError."""
        while self._out:
            sent = self._write_some(self._out, now_s)
            if not sent:
                return
            del self._out[:sent]

    def _write_some(self, content: bytes | bytearray, now_s: float) -> int:
        """How many bytes the socket has taken. Raises OSError."""
        try:
            sent = self._writer.send(memoryview(content)[:_CHUNK_BYTES])
        except (BlockingIOError, InterruptedError):
            return 0
        self._write_stalled_s = None if sent == len(content) else now_s
        self._last_used_s = now_s
        return sent

    def deadline_s(self) -> tuple[float, str]:
        """When this connection is given up, and why."""
        found = (float("inf"), "")
        if not self.is_busy and not self.is_subscribed:
            found = (self._last_used_s + IDLE_DEADLINE_S, "idle")
        if self._frame_begun_s is not None and self.wants_read():
            found = min(found, (self._frame_begun_s + FRAME_DEADLINE_S, "the request did not end"))
        if self._write_stalled_s is not None:
            found = min(found, (self._write_stalled_s + WRITE_DEADLINE_S, "nobody reads"))
        if self.role is Role.NONE:
            found = min(found, (self._hello_due_s, "no hello came"))
        return found

    def is_finished(self) -> bool:
        """Nothing more will come or go."""
        if self._out:
            return False
        if self.closes_after_write:
            return True
        return self.is_ended and not self.is_busy and not self._in
