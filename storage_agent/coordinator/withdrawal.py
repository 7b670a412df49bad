"""A grant that was never used is taken back: its host accepts a newer epoch first, so that what may
still be on its way comes too late, and then shows that nothing has come of it."""

from __future__ import annotations

import dataclasses

from storage_agent.coordinator.coordinator import Coordinator
from storage_agent.coordinator.deciding.arbiter import Grant, GrantKind, State, withdrawn
from storage_agent.coordinator.settings import VolumeSettings
from storage_agent.model.answers import items_of, parse_record
from storage_agent.model.errors import AgentError
from storage_agent.model.incident import IncidentAnswer
from storage_agent.model.operation import OperationRecord, OperationState
from storage_agent.model.plan import StepKind

_WRITES = frozenset({StepKind.PRIMARY, StepKind.FIRST_PRIMARY})


def withdraw(coordinator: Coordinator, volume: VolumeSettings, grant: Grant) -> bool:
    """grant: PROMOTE or CONTINUE. False where the host has not confirmed that nothing has come of
    it and nothing will."""

    def next_epoch(state: State) -> State:
        is_newest = state.grant == grant and state.epoch == grant.epoch
        return dataclasses.replace(state, epoch=state.epoch + 1) if is_newest else state

    fenced = coordinator.store.change(volume.key, next_epoch)
    if fenced is None or fenced.epoch != grant.epoch + 1:
        return False
    claim_id = f"withdraw-{grant.operation_id or grant.incident}"
    try:
        coordinator.claim(volume, grant.host, fenced, claim_id)
        # Asked after the claim: what the host has not begun by now, it never will.
        if _may_have_written(coordinator, grant):
            return False
    except AgentError:
        return False

    def take_back(state: State) -> State:
        return withdrawn(state, fenced.epoch) if state == fenced else state

    after = coordinator.store.change(volume.key, take_back)
    return after is not None and after.grant is not None and after.grant.is_withdrawn


def _may_have_written(coordinator: Coordinator, grant: Grant) -> bool:
    """An earlier try may have got further than this one. Raises AgentError."""
    if grant.kind is GrantKind.CONTINUE:
        incidents = items_of(coordinator.fleet.ask(grant.host, "incident.list"), "incidents")
        return not any(
            (item.get("incident"), item.get("answer")) == (grant.incident, IncidentAnswer.NONE)
            for item in incidents
        )
    try:
        params = {"operation_id": grant.operation_id}
        record = parse_record(coordinator.fleet.ask(grant.host, "operation.show", params))
    except AgentError as exc:
        return exc.code != "UNKNOWN_OPERATION"
    return not never_wrote(record)


def never_wrote(record: OperationRecord) -> bool:
    return record.state is OperationState.REFUSED or (
        record.state is OperationState.ROLLED_BACK
        and not any(step.kind in _WRITES for step in record.steps)
    )
