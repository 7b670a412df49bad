"""Writes through DRBD with protocol C: drbd_req.c.

A write is done when every copy that it goes to has it. Until the peer has also confirmed the epoch
(P_BARRIER_ACK) it stays in the transfer log, and is out of sync should the peer be lost.
"""

from __future__ import annotations

from typing import Any

from storage_agent.model.replica import Role
from tests.simulation.drbd import Node
from tests.simulation.handshake import RANK
from tests.simulation.states import SOURCE, TARGET, UP_TO_DATE, WAIT_SOURCE, WAIT_TARGET


class Request:
    """local: `pending`, `ok`, `none`.  net: `pending`, `ok`, `none`.  ok: None until it is done."""

    __slots__ = ("alone", "doubtful", "key", "local", "net", "node", "number", "ok", "value")

    def __init__(self, node: Node, number: int, key: str, value: Any) -> None:
        self.node, self.number, self.key, self.value = node, number, key, value
        self.local = self.net = "pending"
        self.ok: bool | None = None
        self.alone = False
        # drbd_req_complete(): acknowledged although only an Inconsistent disk has it, or only the
        # peer, which does not know, or will not once it is restarted, that it has the only good
        # disk.
        self.doubtful = False

    def start(self) -> None:
        """Not before a frozen device thaws (drbd_send_and_submit() pushes it back)."""
        node = self.node
        if not may_write(node):
            self.local = self.net = "none"
            return
        self.local = "none"
        if node.backing is not None and RANK[node.s.disk] >= 4:
            self.local = "pending"
            node.md.touch(self.key)
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
        if self.ok is not None or "pending" in (self.local, self.net):
            return
        if self.local == "none" and self.net == "ok" and node.backing is not None:
            # drbd_req_destroy(): begun without a disk, which came meanwhile. The target asks for
            # its own bits in the kernel; here the source is told.
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


def submit(node: Node, number: int, key: str, value: Any) -> Request | None:
    """None: the device gives an I/O error at once. A frozen one takes it and answers later."""
    if node.s.role is not Role.PRIMARY:
        return None
    request = Request(node, number, key, value)
    if node.s.susp:
        request.local = request.net = "frozen"
        node.requests.append(request)
        return request
    node.requests.append(request)
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
