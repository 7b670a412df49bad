"""Which clients are connected, kept on the volume itself, so that whoever serves it next can wake
them (link.ServiceLink.tickle) also when this host has died.

What is read there may be anybody's: only addresses that a client can have and ports are taken.
"""

from __future__ import annotations

import ipaddress
import json
import re
import threading
from pathlib import Path

from storage_agent.host.nfs.adapter import client_sockets, parse_tcp
from storage_agent.host.volume.own import nfs_folder

_FILE = "connections"
_LIMIT = 10_000
_FILE_LIMIT_BYTES = 1 << 20
_CONNECTION = re.compile(r"(\d{1,3}(?:\.\d{1,3}){3}):(\d{1,5})", re.ASCII)


def read_connections(tcp: Path = Path("/proc/net/tcp")) -> tuple[str, ...]:
    """`ADDRESS:PORT` of each client that is connected now, sorted."""
    sockets = client_sockets(parse_tcp(tcp.read_text()))
    return tuple(sorted(s.remote() for s in sockets))[:_LIMIT]


def render_record(address: str, connections: tuple[str, ...]) -> bytes:
    return json.dumps({"address": address, "connections": connections}).encode() + b"\n"


def parse_record(content: bytes, address: str) -> tuple[str, ...]:
    """Those that were connected to `address`. A damaged record is an empty one: what it is for
    only makes clients quicker."""
    try:
        # Of bytes json would guess the encoding.
        record = json.loads(content.decode())
        if record["address"] != address:
            return ()
        found = [c for c in record["connections"][:_LIMIT] if _is_connection(c)]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ()
    return tuple(found)


def _is_connection(text: object) -> bool:
    found = _CONNECTION.fullmatch(text) if isinstance(text, str) else None
    if found is None or not 0 < int(found[2]) < 1 << 16:
        return False
    try:
        client = ipaddress.IPv4Address(found[1])
    except ValueError:
        return False
    # Nobody but a client is to hear of us.
    odd = client.is_multicast, client.is_loopback, client.is_reserved, client.is_unspecified
    return not any(odd)


def read_record(mount_point: str, address: str) -> tuple[str, ...]:
    """What the last server of the volume has left."""
    try:
        with nfs_folder(mount_point) as folder:
            content = folder.read(_FILE, _FILE_LIMIT_BYTES)
    except OSError:
        return ()
    return () if content is None else parse_record(content, address)


class ConnectionRecorder:
    """Writes the record in a thread of its own: a write to a frozen volume never returns, and the
    supervisor must still be able to take the link down. At most one write is under way."""

    def __init__(self, mount_point: str, address: str) -> None:
        self._mount_point = mount_point
        self._address = address
        self._recorded: tuple[str, ...] | None = None
        self._thread: threading.Thread | None = None

    def record(self, connections: tuple[str, ...]) -> None:
        """Starts a write if the list has changed since the last one."""
        if connections == self._recorded or self.is_writing():
            return
        self._thread = threading.Thread(target=self._write, args=(connections,), daemon=True)
        self._thread.start()

    def is_writing(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def wait(self, timeout_s: float) -> bool:
        """Whether no write is under way any more: an open file would keep the volume busy."""
        if self._thread is not None:
            self._thread.join(timeout_s)
        return not self.is_writing()

    def _write(self, connections: tuple[str, ...]) -> None:
        try:
            with nfs_folder(self._mount_point) as folder:
                folder.make_file(_FILE, render_record(self._address, connections))
        except OSError:
            return  # full or failing volume, or not ours: tried again with the next look
        self._recorded = connections
