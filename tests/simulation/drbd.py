"""DRBD 8.4 on one host: states, metadata, attach, fencing.

Modelled after the in-tree driver (drbd_state.c, drbd_nl.c, drbd_receiver.c, drbd_req.c; the
function is named at each rule) and checked against two kernels: rules.py says which rule how.
Roles are in roles.py, the handler's verdict in fencing.py, the connection in link.py, writes in
writes.py.
Assumed: no verify, Ahead/Behind, --force or IO error that does not detach; durable metadata.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from storage_agent.model.replica import DiskState, Replica, Role
from tests.simulation.disk import Disk, Metadata
from tests.simulation.fencing import thaw_beside_outdated
from tests.simulation.handshake import RANK
from tests.simulation.sights import replica_view
from tests.simulation.states import (
    CONNECTED,
    CONSISTENT,
    DISKLESS,
    GONE,
    INCONSISTENT,
    LIMITS,
    NEGOTIATING,
    OUTDATED,
    REPORT,
    SOURCE,
    STANDALONE,
    UNKNOWN,
    UP_TO_DATE,
    WAIT_SOURCE,
    WAIT_TARGET,
    State,
    between,
    lost_contact,
)
from tests.simulation.world import World
from tests.simulation.writes import is_writing

if TYPE_CHECKING:
    from tests.simulation.link import Link
    from tests.simulation.writes import Request


class Node:
    """The kernel's side of one host. `handler`: runs fence-peer and returns its exit status.
    `promoted`: called the moment before the role becomes Primary."""

    link: Link

    def __init__(self, world: World, host: str, *, stonith: bool) -> None:
        self.world = world
        self.host = host
        self.stonith = stonith
        self.handler: Callable[[], int] = lambda: 1
        self.watch: Callable[[Replica | None], None] = lambda view: None
        self.promoted: Callable[[Node], None] = lambda node: None
        self.reset()

    def reset(self) -> None:
        """The module is not loaded: after boot, and after `drbdadm down`."""
        self.up = False
        self.s = State()
        self.backing: Disk | None = None
        self.lost: Disk | None = None
        self.negotiated: tuple[DiskState, DiskState] = (DISKLESS, UNKNOWN)
        self.session = 0
        self.connects = 0
        self.whole_connection = 0
        self.crashed = False
        self.new_uuid_pending = False
        # The kernel itself, in this resource's worker: see fencing.thaw_beside_outdated().
        self.has_crashed = False
        self.exposed_uuid = 0
        # Was Primary on the peer's disk alone, which began a generation of its own then.
        self.peer_only = False
        self.peer_lost_s = 0.0
        self.peer_disk_lost_s = 0.0
        self.target_since_s = 0.0
        self.peer_uuids: tuple[int, int, tuple[int, ...]] = (0, 0, ())
        self.openers = 0
        # device->state_mutex: while a promotion is under way no connection is made.
        self.is_promoting = False
        # drbd_suspend_io(): no new one while a disk comes or goes.
        self.holds_writes = False
        self.waiting_reply: str | None = None
        self.requests: list[Request] = []
        self.unconfirmed: list[Request] = []
        # Written here while it is a target: what the resync brings is older.
        self.newer: set[str] = set()
        # From the peer, on their way to the disk: number, key, value.
        self.peer_writes: list[tuple[int, str, object]] = []
        # The simulation's own record: this attachment was in sync, and then only lost its peer.
        self.unbroken = False
        # A handshake of this attachment made it the source: the peer has older data.
        self.was_source = False
        self.attach_count = getattr(self, "attach_count", 0)
        self.split_brain = getattr(self, "split_brain", False)

    @property
    def md(self) -> Metadata:
        assert self.backing is not None
        return self.backing.metadata

    # --- state changes --------------------------------------------------------------------------

    def change(self, **changes: object) -> None:
        """_drbd_set_state() with CS_HARD: sanitised, never refused."""
        ns = self.s.copy()
        for name, value in changes.items():
            setattr(ns, name, value)
        self.enter(ns)

    def enter(self, ns: State) -> None:
        os = self.s
        self._sanitize(os, ns)
        if ns.is_same(os):
            return
        if os.conn == WAIT_TARGET and ns.conn == CONNECTED and ns.disk is UP_TO_DATE:
            self.world.doubt = True  # summary.KNOWN: RESYNC_ABORTED
        self.s = ns
        if ns.conn == WAIT_TARGET != os.conn:
            self.newer.clear()
            self.target_since_s = self.world.now_s
        if ns.disk is DISKLESS:
            self.backing = None
        if ns.with_peer():
            self.split_brain = False
        self._write_flags()
        if self.backing is not None and RANK[os.disk] < 7 <= RANK[ns.disk]:
            self.exposed_uuid = self.md.current
        self._after(os, ns)
        self._follow_truth(ns)
        self.world.counts["state changes"] += 1
        self.watch(self.view())

    def _sanitize(self, os: State, ns: State) -> None:
        """drbd_state.c sanitize_state()."""
        if not ns.with_peer():
            ns.peer = Role.UNKNOWN
            # Recorded: link-cut-while-syncing keeps peer-disk:Inconsistent.
            if not RANK[INCONSISTENT] <= RANK[ns.pdsk] <= RANK[UNKNOWN]:
                ns.pdsk = UNKNOWN
            if ns.disk is NEGOTIATING and ns.conn != REPORT:
                # "Connection lost while negotiating, no data!"
                same = self.backing is not None and self.exposed_uuid == self.md.current
                ns.disk = self.negotiated[0] if same else DISKLESS
        elif ns.conn != CONNECTED and (RANK[ns.disk] <= 2 or RANK[ns.pdsk] <= 2):
            ns.conn = CONNECTED
        if ns.with_peer():
            # "D_CONSISTENT and D_OUTDATED vanish when we get connected"
            if ns.disk in (CONSISTENT, OUTDATED):
                ns.disk = UP_TO_DATE
            if ns.pdsk in (CONSISTENT, OUTDATED):
                ns.pdsk = UP_TO_DATE
        if limits := LIMITS.get(ns.conn):
            low, high, peer_low, peer_high = limits
            ns.disk = between(ns.disk, low, high)
            ns.pdsk = between(ns.pdsk, peer_low, peer_high)
        is_alone = ns.role is Role.PRIMARY and not ns.with_peer() and RANK[ns.pdsk] > 5
        was_alone = os.role is Role.PRIMARY and not os.with_peer() and RANK[os.pdsk] > 5
        # The policy is an option of the disk: without one there is none.
        has_policy = self.stonith and RANK[os.disk] >= 4
        if has_policy and is_alone and not was_alone:
            ns.susp = True  # recorded: frozen-by-fencing

    def _write_flags(self) -> None:
        """drbd_state.c _drbd_set_state(), what it keeps in the metadata."""
        if self.backing is None or RANK[self.s.disk] < 4:
            return
        md, s = self.md, self.s
        md.crashed_primary = self.crashed
        md.primary_indicator = s.role is Role.PRIMARY or (
            RANK[s.pdsk] < 4 and s.peer is Role.PRIMARY
        )
        md.consistent = RANK[s.disk] > 4
        md.was_up_to_date = RANK[s.disk] > 5
        md.peer_outdated = 4 <= RANK[s.pdsk] <= 5

    def _after(self, os: State, ns: State) -> None:
        """drbd_state.c after_state_ch() and w_after_conn_state_ch()."""
        if ns.disk is UP_TO_DATE and ns.pdsk is UP_TO_DATE:
            # Its flag on the disk goes with the next change of state.
            self.crashed = False
        lost = lost_contact(os.pdsk, ns.pdsk)
        someone = Role.PRIMARY in (ns.role, ns.peer)
        if lost and someone and self.backing and not self.md.bitmap and ns.disk is UP_TO_DATE:
            if ns.susp:
                self.new_uuid_pending = True
            else:
                self.make_new_uuid()
        if RANK[ns.pdsk] < 4 and self.backing and ns.disk is UP_TO_DATE:
            became_primary = os.peer is not Role.PRIMARY and ns.peer is Role.PRIMARY
            if became_primary and not self.md.bitmap and ns.with_peer():
                self.make_new_uuid()
        if ns.susp and RANK[ns.pdsk] <= 5:
            thaw_beside_outdated(self)
        if ns.conn == STANDALONE and os.conn != STANDALONE:
            self.session = 0

    def make_new_uuid(self) -> None:
        self.md.new_current(self.world.new_uuid())
        self.exposed_uuid = self.md.current
        self.world.log(self.host, f"drbd: new generation {self.md.current:x}")
        if self.s.with_peer():
            self.link.send(self, ("uuids", self.md.current))

    def _follow_truth(self, ns: State) -> None:
        if ns.pdsk in GONE and ns.with_peer():
            self.peer_disk_lost_s = self.world.now_s
        if ns.role is Role.PRIMARY and ns.with_peer() and ns.disk in GONE:
            self.peer_only = True
        if ns.conn in (WAIT_SOURCE, SOURCE):
            self.was_source = True
        elif ns.with_peer() or RANK[ns.disk] < 7:
            self.was_source = False
        if ns.conn == CONNECTED and ns.disk is UP_TO_DATE and ns.pdsk is UP_TO_DATE:
            self.unbroken = not self.md.bits
            self.whole_connection = self.connects
        elif ns.with_peer() and ns.disk is UP_TO_DATE and ns.pdsk in GONE:
            # Connected all the time: every write since came to this copy as well. Or the Primary
            # without its disk writes to this generation alone, just begun or not.
            is_same = self.unbroken and self.whole_connection == self.connects
            exposed = self.link.other(self).exposed_uuid
            serves_it = ns.peer is Role.PRIMARY and exposed in (self.md.current, self.md.bitmap)
            self.unbroken = is_same or (exposed != 0 and serves_it)
        elif ns.with_peer() or RANK[ns.disk] < 7:
            self.unbroken = False

    def is_target_since(self, looked_s: float) -> bool:
        """A handshake after that look made it one: the peer has it all, and is read instead."""
        is_beside_whole = self.s.with_peer() and self.s.pdsk is UP_TO_DATE
        return is_beside_whole and self.target_since_s >= looked_s

    # --- commands -------------------------------------------------------------------------------

    @contextmanager
    def without_writes(self) -> Iterator[None]:
        """drbd_suspend_io(): what is under way ends first, unless it is frozen. Blocks."""
        self.holds_writes = True
        try:
            if is_writing(self):
                self.world.wait(lambda: self.s.susp or not is_writing(self))
            yield
        finally:
            self.holds_writes = False

    def attach(self, disk: Disk) -> str:
        """drbd_nl.c drbd_adm_attach(). Empty, or why not."""
        md, s = disk.metadata, self.s
        if s.conn == REPORT:
            return "the connection is just being made"
        stale = self.exposed_uuid and self.exposed_uuid != md.current
        if s.pdsk is not UP_TO_DATE and Role.PRIMARY in (s.role, s.peer) and stale:
            return "(150) Can only attach to the data we lost last"
        # The peer's new generation was not heard of: summary.KNOWN, RESYNC_ABORTED.
        self.world.doubt |= self.takes_old_disk()
        self.peer_only = False
        # drbdmeta apply-al, which drbdadm runs first.
        self.crashed = md.crashed_primary or md.primary_indicator
        if self.crashed:
            md.bits |= set(md.activity)
        self.attach_count += 1
        self.unbroken = False
        self.backing = disk
        seen = INCONSISTENT
        if md.consistent:
            seen = CONSISTENT if md.was_up_to_date else OUTDATED
        pdsk = OUTDATED if md.peer_outdated else s.pdsk
        if seen is CONSISTENT and pdsk is OUTDATED:
            seen = UP_TO_DATE
        self.negotiated = (seen, pdsk)
        if s.conn == CONNECTED:
            self.change(disk=NEGOTIATING)
            self.link.send_hello(self)
        else:
            self.change(disk=seen, pdsk=pdsk)
        return ""

    def takes_old_disk(self) -> bool:
        """Whether an attach now would serve from a disk that misses acknowledged writes."""
        return self.s.role is Role.PRIMARY and not self.s.with_peer() and self.peer_only

    def lose_disk(self) -> None:
        """on-io-error detach: D_FAILED, then D_DISKLESS; the peer is told."""
        if self.backing is None:
            return
        for request in list(self.requests):
            request.lose_disk()
        # Assumed: a disk that vanishes keeps what it had acknowledged.
        self.backing.flush()
        self.lost, self.backing = self.backing, None
        self.change(disk=DiskState.FAILED)
        self.link.send_state(self)
        self.change(disk=DISKLESS)
        self.link.send_state(self)

    def invalid(self, ns: State) -> str:
        """drbd_state.c is_valid_state()."""
        if ns.role is Role.PRIMARY and ns.peer is Role.PRIMARY:
            return "(-1) Multiple primaries not allowed by config"
        if ns.role is Role.SECONDARY and self.openers:
            return "(-12) Device is held open by someone"
        if ns.role is Role.PRIMARY:
            if not ns.with_peer() and RANK[ns.disk] < 8:
                return "(-2) Need access to UpToDate data"
            if not ns.with_peer() and RANK[ns.pdsk] >= 6:
                return "(-7) Refusing to be Primary while peer is not outdated"
            if RANK[ns.disk] <= 4 and RANK[ns.pdsk] <= 4:
                return "(-2) Need access to UpToDate data"
        return ""

    # --- what the host sees ---------------------------------------------------------------------

    def view(self) -> Replica | None:
        """As events2 shows it."""
        if not self.up:
            return None
        s = self.s
        split_brain = self.split_brain and s.conn == STANDALONE
        bits = len(self.backing.metadata.bits) if self.backing else 0
        return replica_view(s.role, s.disk, s.conn, s.pdsk, s.peer, s.susp, split_brain, bits)
