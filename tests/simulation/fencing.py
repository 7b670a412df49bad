"""How a frozen Primary thaws, and what the fence-peer handler's exit status does.

drbd_nl.c conn_try_outdate_peer(), drbd_state.c w_after_conn_state_ch(), drbd_main.c tl_clear().
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from storage_agent.model.replica import Role
from tests.simulation.handshake import RANK
from tests.simulation.states import INCONSISTENT, OUTDATED, REPORT, UP_TO_DATE
from tests.simulation.writes import release_writes

if TYPE_CHECKING:
    from tests.simulation.drbd import Node


def outdate_peer(node: Node) -> bool:
    """conn_try_outdate_peer(). Blocks; runs in a task of the kernel."""
    if node.s.with_peer() or node.s.conn == REPORT:
        return False
    if RANK[node.s.disk] < 7:
        # "Not fencing peer, I'm not even Consistent myself." What is frozen fails now.
        thaw_without_peer(node)
        node.watch(node.view())
        return False
    connects = node.connects
    status = node.handler()
    node.world.log(node.host, f"drbd: fence-peer handler exits {status}")
    node.world.counts[f"handler exit {status}"] += 1
    if not node.s.with_peer() and node.s.conn != REPORT and connects == node.connects:
        if status in (4, 7):
            node.change(pdsk=OUTDATED)
        elif status == 3:
            node.change(pdsk=INCONSISTENT)
        elif status == 6 and node.s.role is not Role.PRIMARY:
            # is_valid_state() refuses it to a Primary; recorded: peer-is-primary-exit-6.
            node.change(disk=OUTDATED)
        elif status == 5 and node.s.disk is UP_TO_DATE:
            node.change(pdsk=OUTDATED)
    return RANK[node.s.pdsk] <= 5


def thaw_beside_outdated(node: Node) -> None:
    """The handler said that the peer is outdated: w_after_conn_state_ch() case 1."""
    if node.new_uuid_pending and node.backing is None:
        # drbd_uuid_new_current() without a disk: a NULL pointer. The worker is no more.
        node.has_crashed = True
        node.world.log(node.host, "drbd: kernel BUG, frozen for good")
        return
    if node.new_uuid_pending:
        node.make_new_uuid()
    node.new_uuid_pending = False
    node.world.log(node.host, "drbd: the peer counts as outdated")
    thaw_without_peer(node)


def thaw_without_peer(node: Node) -> None:
    node.s.susp = False
    clear_log(node)
    release_writes(node)


def clear_log(node: Node) -> None:
    """tl_clear(): what the peer has not confirmed is out of sync."""
    if node.backing is not None:
        node.md.bits |= {request.key for request in node.unconfirmed}
    node.unconfirmed.clear()
    for request in list(node.requests):
        request.lose_peer()
