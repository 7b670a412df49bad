"""What the seeded bugs of mutants_of_ends.py put in the place of the real code."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

from storage_agent.coordinator.silence import Silence
from storage_agent.engine.arbitration import Arbitration
from storage_agent.engine.engine import Engine
from storage_agent.engine.epoch import EpochStore
from storage_agent.engine.records import Records
from storage_agent.engine.report import Report
from storage_agent.engine.run import Run
from storage_agent.model.errors import OperationFailed
from storage_agent.model.finding import Finding
from storage_agent.model.incident import Grant, Incident
from storage_agent.model.nfs import ServerState
from storage_agent.model.operation import OperationRecord, OperationRequest, OperationState
from storage_agent.model.replica import Role
from storage_agent.model.wire import from_wire
from storage_agent.policy.arbitration import LinkWish, link_wish
from storage_agent.policy.common import blocker
from tests.simulation.drbd import Node
from tests.simulation.hunting import Patch
from tests.simulation.link import Link
from tests.simulation.machine import Machine


def ends_as(state: OperationState) -> Callable[[Engine, OperationRecord], OperationRecord]:
    original = Engine._end
    return lambda self, record: dataclasses.replace(original(self, record), state=state)


def shows_less(self: Records, operation_id: str) -> OperationRecord | None:
    record = _SHOW(self, operation_id)
    return None if record is None else dataclasses.replace(record, steps=())


_SHOW = Records.known


def shows_before(
    self: Arbitration, volume: Any, asked: Incident, coordinator: str
) -> Incident | None:
    before = self.incident(volume)
    _ANSWER(self, volume, asked, coordinator)
    return before


_ANSWER = Arbitration.answer


def of_any_boot(self: Arbitration, request: OperationRequest) -> bool:
    content = self._store.read("grant-data")
    if content is None:
        return False
    grant = from_wire(Grant, json.loads(content))
    return (grant.epoch, grant.operation_id) == (request.epoch, request.operation_id)


def effect_first(
    self: EpochStore, request: Any, number: int, then: Callable[[], None] = lambda: None
) -> None:
    then()
    _OWN(self, request, number)


_OWN = EpochStore.own


def stays_shut(*asked: Any) -> LinkWish:
    wish = link_wish(*asked)
    return LinkWish.NOTHING if wish is LinkWish.OPEN else wish


def unconnected_always(volume: Any, peer_view: Any, peer: str) -> tuple[Finding, ...]:
    text = f"it is not proven that {peer} is off"
    more = {"measured": "silent", "limit": "off", "remedy": f"--peer-is-off {peer}"}
    return (blocker("PEER_NOT_PROVEN_OFF", text, **more),)


def without_findings(self: Report, findings: Any, refusals: Any) -> OperationRecord:
    return self.ended(OperationState.REFUSED, refusals[0].summary)


def taken_back_well(self: Run, volume: Any) -> OperationRecord:
    self.performed = [k for k in self.entry.intended if k not in self.entry.undone]
    record = self._undo(volume, OperationFailed("interrupted"))
    return dataclasses.replace(record, state=OperationState.SUCCEEDED)


class _Sticky(dict[str, Any]):
    def pop(self, key: str, *default: Any) -> Any:
        return self.get(key)


def holds_for_ever() -> Patch:
    original = Engine.resume

    def resume(self: Engine) -> tuple[str, ...]:
        found = original(self)
        if found:
            self._running = _Sticky(self._running)
        return found

    return (Engine, "resume", resume)


def secondary_at_once(node: Node) -> str:
    """drbd_set_role() without a look at who has opened the device."""
    node.change(role=Role.SECONDARY)
    node.link.send_state(node)
    return ""


def keeps_its_disk(self: Link, node: Node, conn: str, **more: Any) -> None:
    _LOSE(self, node, conn, **{name: value for name, value in more.items() if name != "disk"})


_LOSE = Link.lose


def exports_anything(self: Machine) -> str:
    self.server = ServerState.STARTED
    return ""


def at_once(silence: Silence, host: str, _now_s: float) -> float:
    return 3600.0 if host in silence._unanswered else 0.0
