"""Seeded bugs in what a host does with operations that it does not know any more, and in what is
believed of a fence agent."""

from __future__ import annotations

from typing import Any

from storage_agent.coordinator import fencing, requirements
from storage_agent.coordinator.budget import Budget
from storage_agent.coordinator.commands import Ended
from storage_agent.engine import damage, journal, records
from storage_agent.engine.account import Account, Accounts
from storage_agent.engine.engine import Engine
from storage_agent.engine.entry import Entry
from storage_agent.engine.journal import Journal
from storage_agent.model.errors import Busy
from storage_agent.model.operation import OperationRecord, OperationRequest, OperationState
from tests.simulation.hunting import Mutant, Patch
from tests.simulation.hunting import seeded as _m


def _goes_on(why: Any) -> list[Patch]:
    return [(module, "why_not_to_go_on", why) for module in (damage, journal, records)]


def goes_on_with_all() -> list[Patch]:
    return _goes_on(lambda entry, account: "")


def _if_newest(entry: Entry, account: Account) -> str:
    is_newest = entry.request.operation_id == account.operation_id
    return "" if is_newest else "older"


def _by_exit_status(agent: Any, timeout_s: float) -> tuple[str, str]:
    """As it was."""
    ended: Ended | None
    ended, told = agent._ask("status", timeout_s)
    return ("OFF" if ended is not None and ended.exit_status == 2 else ""), told


def _without_epoch(self: Journal, operation_id: str, volume: str, epoch: int | None) -> None:
    _REQUIRE_UNUSED(self, operation_id, volume, None)


def _acts_first(self: Engine, request: OperationRequest) -> OperationRecord:
    record = _BEGIN(self, request)
    if record.state is OperationState.RUNNING:
        self.run(request.operation_id)
        raise Busy("it was done, and is refused all the same")
    return record


_REQUIRE_UNUSED = Journal.require_unused
_BEGIN = Engine.begin

MUTANTS_OF_MEMORY: tuple[Mutant, ...] = (
    _m("a journal that lost its end is gone on with", "I8", "truncated_below_newer",
       lambda: goes_on_with_all()),
    _m("the newest journal is gone on with, ended or not", "I8", "truncated_newest",
       lambda: _goes_on(_if_newest)),
    _m("what is forgotten never was", "I8", "forgotten_and_asked",
       lambda: [(Accounts, "knows", lambda self, volume, account, operation_id: False)]),
    _m("an old operation is asked again below its epoch", "I8", "replayed_below_epoch",
       lambda: [(Journal, "require_unused", _without_epoch)]),
    _m("what is refused was done", "I13", "switchover",
       lambda: [(Engine, "begin", _acts_first)]),
    _m("an end is not in the account", "I8", "truncated_newest",
       lambda: [(Journal, "turns", lambda self, request, phase: None)]),
    _m("a fence agent's exit status of 2 is off", "I1", "broken_fence",
       lambda: [(fencing._FenceAgent, "status", _by_exit_status)]),
    _m("any epoch that a host shows is believed", "I6", "lying_epoch",
       lambda: [(requirements, "implausible", lambda *known: None)]),
    _m("a host may open as many incidents as it likes", "I6", "flooding_host",
       lambda: [(Budget, "take", lambda self, key, now_s: True)]),
)  # fmt: skip
