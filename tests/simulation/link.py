"""The replication link: sessions, messages that arrive late or never, handshake and resync.

drbd_receiver.c and drbd_worker.c. Messages of one session arrive in order or not at all; each
direction can be cut by itself; each side notices the loss in its own time. Every delivery is one
choice of the scheduler.
"""

from __future__ import annotations

from collections import deque
from functools import cache
from typing import Any

from storage_agent.model.replica import Role
from tests.simulation.drbd import Node
from tests.simulation.fencing import clear_log, outdate_peer
from tests.simulation.handshake import RANK, SPLIT_BRAIN, Hello, decide
from tests.simulation.states import (
    CONNECTED,
    CONNECTING,
    CONSISTENT,
    DISKLESS,
    GONE,
    INCONSISTENT,
    NEGOTIATING,
    OUTDATED,
    REPORT,
    STANDALONE,
    WAIT_SOURCE,
    WAIT_TARGET,
)
from tests.simulation.transfer import Message, Transfer
from tests.simulation.world import World
from tests.simulation.writes import release_writes, takes_writes

# drbd_strings.c
NEEDS_GOOD_DATA = "(-2) Need access to UpToDate data"
REFUSED = "(-10) State change was refused by peer node"


@cache
def _method_of(message: str) -> str:
    return "_on_" + message.replace("-", "_")


class Link(Transfer):
    def __init__(self, world: World, first: Node, second: Node) -> None:
        self.world = world
        self.nodes = (first, second)
        self.is_cut = {first.host: False, second.host: False}  # by sender
        self.powered = {first.host: True, second.host: True}
        self.queues: dict[str, deque[tuple[int, Message]]] = {n.host: deque() for n in self.nodes}
        self._sessions = 0
        # Asked their peer to let them go, and never heard the answer.
        self.unheard: set[str] = set()
        for node in self.nodes:
            node.link = self

    def other(self, node: Node) -> Node:
        return self.nodes[1] if node is self.nodes[0] else self.nodes[0]

    def whole(self) -> bool:
        return True not in self.is_cut.values()

    # --- sending and delivering -----------------------------------------------------------------

    def send(self, node: Node, message: Message) -> None:
        if node.session:
            self.queues[node.host].append((node.session, message))

    def send_state(self, node: Node) -> None:
        if node.s.conn != STANDALONE:
            self.send(node, ("state", node.s.role, node.s.disk))

    def send_hello(self, node: Node, *, reply: bool = False) -> None:
        md = node.backing.metadata if node.backing else None
        self.send(
            node,
            (
                "hello",
                Hello(
                    role=node.s.role,
                    disk=node.s.disk,
                    negotiating=node.negotiated[0],
                    current=md.current if md else node.exposed_uuid,
                    bitmap=md.bitmap if md else 0,
                    history=tuple(md.history) if md else (),
                    crashed_primary=node.crashed,
                    reply=reply,
                ),
            ),
        )

    def step(self) -> bool:
        """One thing that the network does, chosen by chance. False: there is nothing to do."""
        choices = self._choices()
        if not choices:
            return False
        what, node = choices[int(self.world.random() * len(choices))]
        if what == "deliver":
            self._deliver(node)
        elif what == "connect":
            self._connect()
        elif what == "begin":
            release_writes(node)
        elif what == "local":
            self._complete_local_write(node)
        elif what == "peer write":
            self._complete_peer_write(node)
        else:
            self.lose(node)
        return True

    def has_work(self) -> bool:
        return bool(self._choices())

    def _choices(self) -> list[tuple[str, Node]]:
        found: list[tuple[str, Node]] = []
        if self._is_idle():
            return found
        one, two = self.nodes
        for node, other in ((one, two), (two, one)):
            if not self._runs(node):
                continue
            # drbd_receiver.c drbd_recv(): DISCONNECT_SENT and answered, so it waits.
            agreed = node.waiting_reply == ""
            if self.queues[other.host] and not self.is_cut[other.host]:
                found.append(("deliver", node))
            elif node.session and not agreed and self._is_gone(node, other):
                found.append(("lose", node))
            if node.peer_writes:
                found.append(("peer write", node))
            if node.requests and any(r.local == "pending" for r in node.requests):
                found.append(("local", node))
            if any(r.local == "waits" for r in node.requests) and takes_writes(node):
                found.append(("begin", node))
        waiting = one.s.conn == two.s.conn == CONNECTING and not (one.session or two.session)
        # conn_connect(): "Prevent a race between resync-handshake and being promoted to Primary."
        waiting = waiting and not (one.is_promoting or two.is_promoting)
        if waiting and self.whole() and self._runs(one) and self._runs(two):
            found.append(("connect", one))
        return found

    def _is_idle(self) -> bool:
        """Most of the time, and seen at once: nothing is under way, and no session begins or
        ends."""
        one, two = self.nodes
        if one.requests or two.requests or one.peer_writes or two.peer_writes:
            return False
        first, second = self.queues.values()
        if first or second or one.session != two.session:
            return False
        if one.session:
            return not self.world.frozen_hosts and self.whole()
        return one.s.conn != CONNECTING or two.s.conn != CONNECTING

    def _runs(self, node: Node) -> bool:
        world = self.world
        return self.powered[node.host] and not (world.frozen_hosts and world.is_frozen(node.host))

    def _is_gone(self, node: Node, other: Node) -> bool:
        return other.session != node.session or not self.whole() or self.world.is_frozen(other.host)

    def _deliver(self, node: Node) -> None:
        session, message = self.queues[self.other(node).host].popleft()
        if session != node.session:
            return
        self.world.counts["messages"] += 1
        getattr(self, _method_of(message[0]))(node, *message[1:])

    def _connect(self) -> None:
        self._sessions += 1
        self.unheard.clear()
        for node in self.nodes:
            self.queues[node.host].clear()
            node.session = self._sessions
            node.connects += 1
            node.change(conn=REPORT)
        for node in self.nodes:
            self.send_hello(node)

    # --- the end of a connection ----------------------------------------------------------------

    def lose(self, node: Node, to: str = CONNECTING, **more: object) -> None:
        """drbd_receiver.c conn_disconnect(). The freeze comes before anything is completed."""
        self.world.log(node.host, f"drbd: connection lost, {to}")
        node.session = 0
        node.peer_lost_s = self.world.now_s
        while node.peer_writes:
            self._complete_peer_write(node)
        was_primary = node.s.role is Role.PRIMARY
        node.waiting_reply = None
        node.change(conn=to, **more)
        if not node.s.susp:
            clear_log(node)
        if was_primary and RANK[node.s.pdsk] >= 6:
            self._fence(node)

    def _fence(self, node: Node) -> None:
        """conn_try_outdate_peer_async(): a thread of the kernel's own."""
        self.world.spawn(f"{node.host}:fence", node.host, lambda: outdate_peer(node))

    def drop(self, node: Node, why: str) -> None:
        """C_DISCONNECTING: this side goes StandAlone, the other finds the connection closed."""
        self.world.counts["connections dropped"] += 1
        self.world.log(node.host, f"drbd: {why}")
        # The helper that the agent hears of it by is called for nothing else.
        node.split_brain |= why == SPLIT_BRAIN
        self.lose(node, STANDALONE)

    def disconnect(self, node: Node) -> str:
        """`drbdadm disconnect`, drbd_nl.c conn_try_disconnect(). Blocks; in a kernel's task. Empty,
        or why not.

        Between a Primary and a Secondary the latter becomes Outdated (recorded: `outdated`).
        """
        self.world.wait(lambda: node.s.conn != REPORT and node.waiting_reply is None)
        while node.s.with_peer() and Role.PRIMARY in (node.s.role, node.s.peer):
            session, is_primary = node.session, node.s.role is Role.PRIMARY
            if is_primary and RANK[node.s.disk] < 8:
                return NEEDS_GOOD_DATA
            if not is_primary and RANK[node.s.disk] < 5:
                # It cannot be Outdated (SS_IS_DISKLESS, SS_LOWER_THAN_OUTDATED): by force.
                break
            refused = self.ask_peer(node, "disconnect")
            if not node.session:
                self.unheard.add(node.host)
            if not refused and node.session == session:
                # SS_PRIMARY_NOP comes where the peer might be good, or what it has is forgotten
                # with the connection.
                might = is_primary and not 4 <= RANK[node.s.pdsk] <= 5
                more: dict[str, object] = {"pdsk": OUTDATED} if might else {}
                if not is_primary and RANK[node.s.disk] > 5:
                    more = {"disk": OUTDATED}
                self.lose(node, STANDALONE, **more)
                return ""
            if refused == REFUSED:
                return refused
        if node.s.conn != STANDALONE:
            self.lose(node, STANDALONE)
        return ""

    # --- agreed changes -------------------------------------------------------------------------

    def ask_peer(self, node: Node, what: str) -> str:
        """drbd_req_state() with a cluster-wide change. Empty where the peer agrees."""
        node.waiting_reply = "asked"
        self.send(node, ("ask", what))
        self.world.wait(lambda: node.waiting_reply != "asked")
        answer, node.waiting_reply = node.waiting_reply, None
        return "lost the connection" if answer is None else answer

    def _on_ask(self, node: Node, what: str) -> None:
        if node.waiting_reply == "asked" and node is self.nodes[0]:
            self.send(node, ("answer", "lost: concurrent state change"))
            return
        if what == "primary":
            refused = node.s.role is Role.PRIMARY
            if not refused:
                node.change(peer=Role.PRIMARY)
            text = "(-1) Multiple primaries not allowed by config"
            self.send(node, ("answer", text if refused else ""))
            return
        if node.s.role is Role.PRIMARY and RANK[node.s.disk] < 8:
            self.send(node, ("answer", REFUSED))
            return
        self.send(node, ("answer", ""))
        if node.s.role is Role.PRIMARY:
            self.lose(node, CONNECTING, pdsk=OUTDATED)
        elif RANK[node.s.disk] > 5:
            self.lose(node, CONNECTING, disk=OUTDATED)
        else:
            self.lose(node, CONNECTING)

    def _on_answer(self, node: Node, text: str) -> None:
        if node.waiting_reply == "asked":
            node.waiting_reply = text

    def _on_state(self, node: Node, role: Role, disk: Any) -> None:
        if not node.s.with_peer():
            return
        if node.s.disk is NEGOTIATING and RANK[disk] < 3:
            # receive_state(): that ends it as well.
            self._take_as_it_is(node, role, disk)
            node.change(peer=role, pdsk=disk, disk=node.negotiated[0])
            return
        node.change(peer=role, pdsk=disk)

    def _take_as_it_is(self, node: Node, role: Role, disk: Any) -> None:
        """drbd_adm_attach() looked at the peer's disk, which has gone since."""
        is_old = node.exposed_uuid not in (0, node.md.current)
        if is_old and disk in GONE and Role.PRIMARY in (node.s.role, role):
            self.world.doubt = True  # summary.KNOWN: RESYNC_ABORTED

    def _on_uuids(self, node: Node, current: int) -> None:
        if node.backing is None:
            node.exposed_uuid = current  # receive_uuids(): "created a new current UUID for me"

    # --- handshake ------------------------------------------------------------------------------

    def _on_hello(self, node: Node, hello: Hello) -> None:
        """receive_uuids() and receive_state()."""
        s = node.s
        fresh = s.conn == REPORT
        negotiates = NEGOTIATING in (s.disk, hello.disk)
        # "disconnect, if the wrong UUIDs are attached on a connected peer"
        diskless_primary = s.role is Role.PRIMARY and node.backing is None
        if diskless_primary and RANK[hello.disk] >= 3 and node.exposed_uuid != hello.current:
            self.drop(node, "Can only connect to data with current UUID")
            return
        if diskless_primary and node.lost is not None and node.lost.metadata.bits:
            # The peer has finished a resync, unseen, and has this generation; what was written
            # here alone since then it has not.
            self.world.doubt = True  # summary.KNOWN: RESYNC_ABORTED
        if node.backing is None and RANK[hello.disk] >= 3:
            node.exposed_uuid = hello.current
        node.peer_uuids = (hello.current, hello.bitmap, hello.history)
        verdict: int | str = 0
        with_disks = RANK[s.disk] >= 3 and RANK[hello.disk] >= 3
        if with_disks and (fresh or negotiates):
            verdict = self._decide(node, hello)
        asked = hello.disk is NEGOTIATING and not hello.reply and s.disk is not NEGOTIATING
        # after_state_ch(), "attach on the peer". Who is refused hears nothing.
        if asked and not isinstance(verdict, str):
            self.send_hello(node, reply=True)
        self._enter(node, hello, verdict)

    def _decide(self, node: Node, hello: Hello) -> int | str:
        disk = node.negotiated[0] if node.s.disk is NEGOTIATING else node.s.disk
        return decide(
            node.md,
            hello,
            disk=disk,
            own_disk=node.s.disk,
            crashed=node.crashed,
            role=node.s.role,
            first=node is self.nodes[0],
        )

    def _enter(self, node: Node, hello: Hello, verdict: int | str) -> None:
        ns = node.s.copy()
        fresh = ns.conn == REPORT
        theirs = hello.disk
        if theirs is NEGOTIATING:
            theirs = INCONSISTENT if hello.negotiating is INCONSISTENT else CONSISTENT
        if isinstance(verdict, str):
            if ns.disk is NEGOTIATING:
                node.backing = None
                node.change(disk=DISKLESS)
                self.send_state(node)
                return
            if hello.disk is not NEGOTIATING:
                self.drop(node, verdict)
                return
            theirs, verdict = DISKLESS, 0
        ns.conn = CONNECTED if not verdict else WAIT_SOURCE if verdict > 0 else WAIT_TARGET
        if ns.disk is NEGOTIATING and verdict >= 0:
            ns.disk = node.negotiated[0]
            self._take_as_it_is(node, hello.role, hello.disk)
        ns.peer, ns.pdsk = hello.role, theirs
        rebooted = ns.pdsk is CONSISTENT and ns.susp and not verdict and fresh
        if rebooted and node.new_uuid_pending and node.backing is not None:
            self._thaw_with_rebooted_peer(node)
            return
        if fresh and (problem := node.invalid(ns)):
            self.drop(node, problem)
            return
        self._joined(node, ns, verdict)

    def _thaw_with_rebooted_peer(self, node: Node) -> None:
        """receive_state(): "Aborting Connect, can not thaw IO with an only Consistent peer"."""
        node.new_uuid_pending = False
        node.session = 0
        node.make_new_uuid()
        node.change(conn=CONNECTING, susp=False)
        node.s.susp = False
        clear_log(node)
        release_writes(node)
        self._fence(node)

    def _joined(self, node: Node, ns: Any, verdict: int) -> None:
        was_frozen, ns.susp = ns.susp, node.has_crashed
        node.enter(ns)
        node.new_uuid_pending = False
        self.world.log(node.host, f"drbd: {ns.conn}, {node.s.disk}/{node.s.pdsk}")
        if abs(verdict) >= 2 and node.backing is not None:
            node.md.bits |= node.backing.keys() | self._peer_keys(node)
        if node.s.conn == WAIT_SOURCE:
            self.send(node, ("bitmap", tuple(sorted(node.md.bits))))
        if was_frozen and not node.has_crashed:
            # RESEND: as if flushed, for a peer that was not restarted meanwhile.
            node.unconfirmed.clear()
            for request in list(node.requests):
                request.resend()
            release_writes(node)

    def _peer_keys(self, node: Node) -> set[str]:
        """A full sync covers the whole disk."""
        other = self.other(node)
        return other.backing.keys() if other.backing else set()
