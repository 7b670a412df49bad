"""Writes through DRBD with protocol C: drbd_req.c.

A write is done when every copy that it goes to has it. Until the peer has also confirmed the epoch
(P_BARRIER_ACK) it stays in the transfer log, and is out of sync should the peer be lost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from storage_agent.model.replica import Role
from tests.simulation.handshake import RANK
from tests.simulation.states import (
    NEGOTIATING,
    SOURCE,
    TARGET,
    UP_TO_DATE,
    WAIT_SOURCE,
    WAIT_TARGET,
)

if TYPE_CHECKING:
    from tests.simulation.drbd import Node


class Request:
    """local and net: `waits`, `pending`, `ok`, `none`.  ok: None until it is done."""

    __slots__ = ("alone", "doubtful", "key", "local", "net", "node", "number", "ok", "value")

    def __init__(self, node: Node, number: int, key: str, value: Any) -> None:
        self.node, self.number, self.key, self.value = node, number, key, value
        self.local = self.net = "waits"
        self.ok: bool | None = None
        self.alone = False
        # drbd_req_complete(): acknowledged although only an Inconsistent disk has it, or only the
        # peer, which does not know, or will not once it is restarted, that it has the only good
        # disk.
        self.doubtful = False

    def start(self) -> None:
        """Not before takes_writes()."""
        node = self.node
        if not may_write(node):
            self.local = self.net = "none"
            return
        self.local = "none"
        if node.backing is not None and RANK[node.s.disk] >= 4:
            self.local = "pending"
            in_use = {r.key for r in (*node.requests, *node.unconfirmed) if r.local != "none"}
            node.md.touch(self.key, in_use)
        self._send()

    def _send(self) -> None:
        node = self.node
        s = node.s
        remote = s.with_peer() and (
            s.pdsk is UP_TO_DATE or (RANK[s.pdsk] == 4 and s.conn in (SOURCE, TARGET))
        )
        if remote:
            self.net = "pending"
            node.link.send(node, ("data", self.number, self.key, self.value))
            return
        self.net = "none"
        self._mark()
        if s.conn == WAIT_SOURCE:
            node.link.send(node, ("out-of-sync", self.key))

    def _mark(self) -> None:
        if self.node.backing is not None:
            self.node.md.bits.add(self.key)

    def complete_local(self) -> None:
        """The backing disk has it; flushed, because every write here is an fsync's."""
        node = self.node
        if self.local == "pending" and node.backing is not None:
            node.backing.write(self.key, self.value)
            node.backing.flush()
            self.local = "ok"
            if node.s.conn in (WAIT_TARGET, TARGET):
                node.newer.add(self.key)
        self.finish()

    def acknowledged(self, *, written: bool) -> None:
        if self.net == "pending":
            self.net = "ok" if written else "none"
            if written:
                self.node.unconfirmed.append(self)
            else:
                self._mark()
            self.finish()

    def lose_disk(self) -> None:
        if self.local == "pending":
            self.local = "none"
            self.finish()

    def lose_peer(self) -> None:
        """CONNECTION_LOST_WHILE_PENDING."""
        if self.net == "pending":
            self.net = "none"
            self._mark()
            self.finish()

    def resend(self) -> None:
        """tl_restart(RESEND): the connection came back while frozen."""
        if self.net == "pending":
            self._send()
            self.finish()

    def finish(self) -> None:
        node = self.node
        if self.ok is not None or {"waits", "pending"} & {self.local, self.net}:
            return
        if self.local == "none" and self.net == "ok" and node.backing is not None:
            # drbd_req_destroy(): begun without a disk, which was attached while it was frozen. The
            # target asks for its own bits in the kernel; here the source is told.
            self._mark()
            node.link.send(node, ("out-of-sync", self.key))
        if node.s.susp:
            # The completion is held back as well (RQ_COMPLETION_SUSP).
            return
        self.ok = "ok" in (self.local, self.net)
        self.alone = self.net != "ok"
        other = node.link.other(node)
        knows = RANK[other.s.pdsk] < 4 and other.s.disk is UP_TO_DATE
        # drbd_state.c after_state_ch(): a disk that is attached when the Primary is Diskless
        # already starts no generation, and the Primary's old disk would win (rule 41).
        peer_has_it = knows and other.md.bitmap != 0
        self.doubtful = (self.alone and node.s.disk is not UP_TO_DATE) or (
            self.local != "ok" and not peer_has_it
        )
        if self in node.requests:
            node.requests.remove(self)
        if self.net == "ok":
            node.link.send(node, ("barrier", self.number))


def may_write(node: Node) -> bool:
    """drbd_req.c may_do_writes(): somewhere there must be current data."""
    return UP_TO_DATE in (node.s.disk, node.s.pdsk)


def takes_writes(node: Node) -> bool:
    """drbd_int.h may_inc_ap_bio(), drbd_state_is_stable(): no new one in between two states."""
    s = node.s
    is_stable = s.disk is not NEGOTIATING and s.conn != WAIT_TARGET
    return is_stable and not s.susp and not node.holds_writes


def is_writing(node: Node) -> bool:
    return any(request.local != "waits" for request in node.requests)


def release_writes(node: Node) -> None:
    """What waited, or was held back, goes on its way now."""
    for request in list(node.requests):
        if request.local == "waits" and takes_writes(node):
            request.start()
        request.finish()


def submit(node: Node, number: int, key: str, value: Any) -> Request | None:
    """None: the device gives an I/O error at once."""
    if node.s.role is not Role.PRIMARY:
        return None
    request = Request(node, number, key, value)
    node.requests.append(request)
    if takes_writes(node):
        request.start()
    request.finish()
    return request


def read(node: Node, key: str) -> Any:
    """From the local copy where it is current, else from the peer's (drbd_req.c
    drbd_may_do_local_read(), do_remote_read()). Raises OSError."""
    if node.backing is not None and node.s.disk is UP_TO_DATE:
        return node.backing.read(key)
    other = node.link.other(node)
    if node.s.with_peer() and node.s.pdsk is UP_TO_DATE and other.backing is not None:
        return other.backing.read(key)
    raise OSError("Input/output error")
