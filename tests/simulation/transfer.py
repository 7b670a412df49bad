"""What goes over an established connection: resync, and replicated writes.

drbd_receiver.c receive_bitmap(), receive_DataRequest() and receive_Data(), drbd_worker.c
drbd_resync_finished(). In the kernel the target asks for its bits; here the source sends them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from tests.simulation.drbd import Node
from tests.simulation.handshake import RANK
from tests.simulation.states import (
    CONNECTED,
    INCONSISTENT,
    SOURCE,
    TARGET,
    UP_TO_DATE,
    WAIT_SOURCE,
    WAIT_TARGET,
)
from tests.simulation.world import World

Message = tuple[Any, ...]
BATCH = 4


class Transfer(ABC):
    """The part of Link that a connection uses once it stands."""

    world: World

    @abstractmethod
    def send(self, node: Node, message: Message) -> None: ...

    @abstractmethod
    def send_state(self, node: Node) -> None: ...

    # --- resync ---------------------------------------------------------------------------------

    def _on_bitmap(self, node: Node, bits: tuple[str, ...]) -> None:
        """receive_bitmap() and drbd_gen_and_send_sync_uuid(): the source's first, then the
        target's."""
        if node.s.conn not in (WAIT_SOURCE, WAIT_TARGET) or node.backing is None:
            return
        node.md.bits |= set(bits)
        if node.s.conn == WAIT_TARGET:
            self.send(node, ("bitmap", tuple(sorted(node.md.bits))))
            return
        base = node.md.bitmap
        node.md.set_bitmap(base + 1 if base else self.world.new_uuid())
        node.change(conn=SOURCE, pdsk=INCONSISTENT)
        told = (node.md.current, node.md.bitmap, tuple(node.md.history))
        self.send(node, ("sync-uuid", told, tuple(sorted(node.md.bits))))
        self._send_batch(node)

    def _on_out_of_sync(self, node: Node, key: str) -> None:
        if node.backing is not None:
            node.md.bits.add(key)

    def _on_sync_uuid(self, node: Node, told: Any, bits: tuple[str, ...]) -> None:
        if node.s.conn != WAIT_TARGET or node.backing is None:
            return
        node.peer_uuids = told
        node.md.current, node.md.bitmap = told[1], 0
        node.md.bits |= set(bits)
        node.change(conn=TARGET, disk=INCONSISTENT)
        if not bits:
            self._ask_for_the_end(node)

    def _send_batch(self, node: Node) -> None:
        """Keys of the bitmap, read when they are sent, after the writes under way there
        (drbd_rs_begin_io() waits for the application's)."""
        assert node.backing is not None
        keys = sorted(node.md.bits)[:BATCH]
        for request in list(node.requests):
            if request.key in keys and request.local == "pending":
                request.complete_local()
        if not keys:
            self._ask_for_the_end(node)
            return
        self.send(node, ("sync", tuple((k, node.backing.read(k)) for k in keys)))

    def _on_sync(self, node: Node, blocks: Any) -> None:
        if node.s.conn != TARGET or node.backing is None:
            return
        for key, value in blocks:
            # drbd_al_begin_io(): a target's own write waits for the resync of its block, and so
            # lands on top of it.
            if key not in node.newer:
                node.backing.write(key, value)
        node.backing.flush()
        node.md.bits -= {key for key, _ in blocks}
        self.send(node, ("synced", tuple(key for key, _ in blocks)))
        if not node.md.bits:
            self._ask_for_the_end(node)

    def _on_synced(self, node: Node, keys: tuple[str, ...]) -> None:
        if node.s.conn == SOURCE and node.backing is not None:
            node.md.bits -= set(keys)
            self._send_batch(node)

    def _ask_for_the_end(self, node: Node) -> None:
        """drbd_resync_finished(): not before the other has answered a ping, and so heard all
        that was said before."""
        self.send(node, ("ping",))

    def _on_ping(self, node: Node) -> None:
        self.send(node, ("ping-ack",))

    def _on_ping_ack(self, node: Node) -> None:
        if node.backing is None or node.md.bits:
            return
        if node.s.conn == TARGET:
            self._finish_target(node)
        elif node.s.conn == SOURCE:
            self._finish_source(node)

    def _finish_target(self, node: Node) -> None:
        current, bitmap, history = node.peer_uuids
        md = node.md
        md.history = list(history)
        md.bitmap = bitmap
        md.clear_bitmap()
        md.current = current
        node.change(conn=CONNECTED, disk=UP_TO_DATE, pdsk=UP_TO_DATE)
        self.send_state(node)

    def _finish_source(self, node: Node) -> None:
        node.md.clear_bitmap()
        node.change(conn=CONNECTED, disk=UP_TO_DATE, pdsk=UP_TO_DATE)

    # --- writes ---------------------------------------------------------------------------------

    def _complete_local_write(self, node: Node) -> None:
        """Any one, but those to one block do not overtake each other (page lock)."""
        pending = [r for r in node.requests if r.local == "pending"]
        chosen = pending[int(self.world.random() * len(pending))]
        next(r for r in pending if r.key == chosen.key).complete_local()

    def _on_data(self, node: Node, number: int, key: str, value: Any) -> None:
        written = node.backing is not None and RANK[node.s.disk] >= 4
        if not written:
            self.send(node, ("ack", number, False))
            return
        assert node.backing is not None
        node.backing.write(key, value)
        if RANK[node.s.pdsk] < 4:
            # receive_Data(): "In case we have the only disk of the cluster"
            node.md.bits.add(key)
        node.peer_writes.append((number, key, value))

    def _complete_peer_write(self, node: Node) -> None:
        """e_end_block(). The commit of an fsync carries DP_FLUSH and DP_FUA: durable when
        acknowledged."""
        number, _, _ = node.peer_writes.pop(0)
        if node.backing is not None:
            node.backing.flush()
        self.send(node, ("ack", number, node.backing is not None))

    def _on_ack(self, node: Node, number: int, written: bool) -> None:
        for request in list(node.requests):
            if request.number == number:
                request.acknowledged(written=written)

    def _on_barrier(self, node: Node, number: int) -> None:
        """receive_Barrier(): acknowledged as soon as all before it are written, flushed then."""
        if node.backing is not None:
            self.send(node, ("barrier-ack", number))
            node.backing.flush()

    def _on_barrier_ack(self, node: Node, number: int) -> None:
        node.unconfirmed = [r for r in node.unconfirmed if r.number != number]
