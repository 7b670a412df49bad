"""A disk for one guest, served to QEMU as an NBD export: its write cache can be lost, and it can be
told to fail or to stall. Run as a process of its own, told what to do through a second socket.

    python3 -m tests.lab.harness.nbd IMAGE DISK-SOCKET CONTROL-SOCKET

Protocol: https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md (fixed newstyle,
simple replies).
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import os
import socket
import struct
import sys
import threading
from pathlib import Path
from typing import Any

from .volatile_cache import VolatileCache

GREETING = b"NBDMAGICIHAVEOPT"
FIXED_NEWSTYLE, NO_ZEROES = 1, 2
OPTION_MAGIC, REPLY_MAGIC = 0x49484156454F5054, 0x3E889045565A9
EXPORT_NAME, ABORT, INFO, GO = 1, 2, 6, 7
ACK, INFORMATION, UNSUPPORTED = 1, 3, (1 << 31) + 1
REQUEST_MAGIC, SIMPLE_REPLY_MAGIC = 0x25609513, 0x67446698
READ, WRITE, DISCONNECT, FLUSH = 0, 1, 2, 3
FUA = 1
# flags present, flush, FUA
EXPORT_FLAGS = 1 | 4 | 8
FAULTS = {"read": READ, "write": WRITE, "flush": FLUSH}


class DiskServer:
    """The export, and the faults that are switched on."""

    def __init__(self, image: Path) -> None:
        descriptor = os.open(image, os.O_RDWR | os.O_CLOEXEC)
        self._size = os.fstat(descriptor).st_size
        self._cache = VolatileCache(descriptor)
        self._lock = threading.Lock()
        self._failing: dict[int, int] = {}
        self._going = threading.Event()
        self._going.set()

    # -- told by the lab --------------------------------------------------------------------------

    def control(self, order: dict[str, Any]) -> dict[str, Any]:
        """One order: cut, fail, heal, stall, go or look."""
        match order["do"]:
            case "cut":
                with self._lock:
                    return dataclasses.asdict(self._cache.cut_power(int(order["seed"])))
            case "fail":
                for kind in order["kinds"]:
                    self._failing[FAULTS[kind]] = int(order.get("errno", errno.EIO))
            case "heal":
                self._failing.clear()
                self._going.set()
            case "stall":
                self._going.clear()
            case "look":
                with self._lock:
                    return {"unsafe_sectors": self._cache.unsafe_sectors()}
            case unknown:
                return {"error": f"unknown order {unknown}"}
        return {}

    # -- asked by QEMU ----------------------------------------------------------------------------

    def serve(self, connection: socket.socket) -> None:
        """One client until it leaves."""
        with connection, contextlib.suppress(ConnectionError, EOFError):
            if self._negotiate(connection):
                while self._answer(connection):
                    pass

    def _negotiate(self, connection: socket.socket) -> bool:
        connection.sendall(GREETING + struct.pack(">H", FIXED_NEWSTYLE | NO_ZEROES))
        _receive(connection, 4)
        while True:
            magic, option, length = struct.unpack(">QII", _receive(connection, 16))
            _receive(connection, length)
            if magic != OPTION_MAGIC or option == ABORT:
                return False
            export = struct.pack(">QH", self._size, EXPORT_FLAGS)
            if option == EXPORT_NAME:
                connection.sendall(export)
                return True
            if option in (INFO, GO):
                _reply(connection, option, INFORMATION, struct.pack(">H", 0) + export)
                _reply(connection, option, ACK)
                if option == GO:
                    return True
            else:
                _reply(connection, option, UNSUPPORTED)

    def _answer(self, connection: socket.socket) -> bool:
        header = struct.unpack(">IHHQQI", _receive(connection, 28))
        magic, flags, command, cookie, offset, length = header
        if magic != REQUEST_MAGIC or command == DISCONNECT:
            return False
        content = _receive(connection, length) if command == WRITE else b""
        self._going.wait()
        failure = self._failing.get(command, 0)
        answer = b""
        if not failure:
            failure, answer = self._act(command, flags, offset, length, content)
        connection.sendall(struct.pack(">IIQ", SIMPLE_REPLY_MAGIC, failure, cookie) + answer)
        return True

    def _act(
        self, command: int, flags: int, offset: int, length: int, content: bytes
    ) -> tuple[int, bytes]:
        """The error number, and what was read."""
        if offset + length > self._size:
            return errno.EINVAL, b""
        with self._lock:
            if command == READ:
                return 0, self._cache.read(offset, length)
            if command == WRITE:
                self._cache.write(offset, content, safe=bool(flags & FUA))
            elif command == FLUSH:
                self._cache.flush()
            else:
                return errno.EINVAL, b""
        return 0, b""


def _receive(connection: socket.socket, length: int) -> bytes:
    parts = []
    while length:
        part = connection.recv(min(length, 1 << 20))
        if not part:
            raise EOFError
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


def _reply(connection: socket.socket, option: int, kind: int, content: bytes = b"") -> None:
    connection.sendall(struct.pack(">QIII", REPLY_MAGIC, option, kind, len(content)) + content)


def _listen(path: str) -> socket.socket:
    Path(path).unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path)
    listener.listen()
    return listener


def _serve_disk(server: DiskServer, listener: socket.socket) -> None:
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=server.serve, args=(connection,), daemon=True).start()


def main(image: str, disk_socket: str, control_socket: str) -> None:
    server = DiskServer(Path(image))
    disk = _listen(disk_socket)
    threading.Thread(target=_serve_disk, args=(server, disk), daemon=True).start()
    orders = _listen(control_socket)
    while True:
        connection, _ = orders.accept()
        with connection, connection.makefile("rwb") as lines:
            for line in lines:
                lines.write(json.dumps(server.control(json.loads(line))).encode() + b"\n")
                lines.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
