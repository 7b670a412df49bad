"""drbdadm primary and secondary: drbd_nl.c drbd_set_role(). Both block; in a task of the kernel."""

from __future__ import annotations

from storage_agent.model.replica import DiskState, Role
from tests.simulation.drbd import Node
from tests.simulation.fencing import outdate_peer
from tests.simulation.handshake import RANK
from tests.simulation.states import CONSISTENT, REPORT, UP_TO_DATE, State


def set_primary(node: Node) -> str:
    """drbd_nl.c drbd_set_role(R_PRIMARY). Blocks; runs in a task of the kernel."""
    node.is_promoting = True
    try:
        return _set_primary(node)
    finally:
        node.is_promoting = False


def _set_primary(node: Node) -> str:
    disk: DiskState | None = None
    answer = ""
    for attempt in range(4):
        node.world.wait(lambda: node.s.conn != REPORT and node.waiting_reply is None)
        if node.s.role is Role.PRIMARY:
            return ""
        answer = _request_primary(node, disk)
        if not answer:
            return ""
        alone = not node.s.with_peer()
        if answer.startswith("(-2)") and alone and node.s.disk is CONSISTENT and disk is None:
            if outdate_peer(node):
                disk = UP_TO_DATE
        elif answer.startswith("(-7)"):
            outdate_peer(node)
        elif answer.startswith("(-1)") and attempt < 3:
            node.world.sleep(3.0)
        elif not answer.startswith("lost"):
            return answer
    return answer


def _request_primary(node: Node, disk: DiskState | None) -> str:
    def wanted() -> State:
        ns = node.s.copy()
        ns.role = Role.PRIMARY
        if disk is not None and not ns.with_peer():
            ns.disk = disk
        return ns

    if problem := node.invalid(wanted()):
        return problem
    if node.s.with_peer():
        if problem := node.link.ask_peer(node, "primary"):
            return problem
        if problem := node.invalid(wanted()):
            return problem
    _become_primary(node, wanted())
    return ""


def _become_primary(node: Node, ns: State) -> None:
    node.world.log(node.host, f"drbd: Primary ({node.s.disk}, {node.s.conn}, {node.s.pdsk})")
    node.promoted(node)
    node.enter(ns)
    alone = not node.s.with_peer() or RANK[node.s.pdsk] <= 2
    if node.backing is not None and alone and not node.md.bitmap:
        node.make_new_uuid()
    node.link.send_state(node)


def set_secondary(node: Node) -> str:
    """drbd_set_role(R_SECONDARY). Assumed: the peer has confirmed before the role is given up
    (the kernel waits for acknowledgements only; the window is that of one message)."""
    node.world.wait(lambda: not node.unconfirmed or not node.s.with_peer())
    ns = node.s.copy()
    ns.role = Role.SECONDARY
    if problem := node.invalid(ns):
        return problem
    if node.s.role is Role.PRIMARY:
        node.world.log(node.host, "drbd: Secondary")
        node.enter(ns)
        node.link.send_state(node)
    return ""
