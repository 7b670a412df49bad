"""A grant that was never used is taken back: its host accepts a newer epoch first, so that what may
still be on its way comes too late, and then shows that nothing has come of it."""

from __future__ import annotations

import dataclasses

from storage_agent.coordinator.coordinator import Coordinator
from storage_agent.coordinator.deciding.arbiter import (
    Grant,
    GrantKind,
    State,
    finished,
    withdrawn,
)
from storage_agent.coordinator.settings import VolumeSettings
from storage_agent.coordinator.views import VolumeView
from storage_agent.model.answers import items_of, parse_record
from storage_agent.model.errors import AgentError
from storage_agent.model.incident import IncidentAnswer
from storage_agent.model.operation import OperationRecord, OperationState
from storage_agent.model.plan import StepKind

_WRITES = frozenset({StepKind.PRIMARY, StepKind.FIRST_PRIMARY})


def withdraw(coordinator: Coordinator, volume: VolumeSettings, grant: Grant) -> bool:
    """grant: PROMOTE or CONTINUE. False where the host has not confirmed that nothing has come of
    it and nothing will."""
    try:
        fenced = _fenced(coordinator, volume, grant)
        # Asked after the claim: what the host has not begun by now, it never will.
        if fenced is None or _may_have_written(coordinator, volume, grant):
            return False
    except AgentError:
        return False

    def take_back(state: State) -> State:
        return withdrawn(state, fenced.epoch) if state == fenced else state

    after = coordinator.store.change(volume.key, take_back)
    return after is not None and after.grant is not None and after.grant.is_withdrawn


def settle(coordinator: Coordinator, view: VolumeView) -> None:
    """A promotion whose end is not known here, while both copies are in sync again: nobody else can
    be chosen until it has one. Its host accepts a newer epoch, so that nothing comes of it any
    more; what has come of it shows in the looks after that. Raises AgentError."""
    state = view.state
    grant = state.grant if state is not None and state.is_loose else None
    if grant is None or grant.kind not in (GrantKind.PROMOTE, GrantKind.CONTINUE):
        return
    if view.of(grant.host).operation is not None or not all(h.is_in_sync for h in view.hosts):
        return
    fenced = _fenced(coordinator, view.volume, grant)
    primary, unix_s = view.primary(), coordinator.unix_s()
    owner = primary.host if primary else grant.host

    def end(state: State) -> State:
        return finished(state, owner=owner, unix_s=unix_s) if state == fenced else state

    coordinator.store.change(view.volume.key, end)


def _fenced(coordinator: Coordinator, volume: VolumeSettings, grant: Grant) -> State | None:
    """The record, once the grant's host has accepted an epoch above all that was sent to it. None
    where something else was decided meanwhile. Raises AgentError, Busy while it does something."""

    def next_epoch(state: State) -> State:
        return dataclasses.replace(state, epoch=state.epoch + 1) if state.grant == grant else state

    fenced = coordinator.store.change(volume.key, next_epoch)
    if fenced is None or fenced.grant != grant:
        return None
    claim_id = f"withdraw-{grant.operation_id or grant.incident}"
    coordinator.claim(volume, grant.host, fenced, claim_id)
    return fenced


def _may_have_written(coordinator: Coordinator, volume: VolumeSettings, grant: Grant) -> bool:
    """An earlier try may have got further than this one. Raises AgentError."""
    if grant.kind is GrantKind.CONTINUE:
        incidents = items_of(coordinator.fleet.ask(grant.host, "incident.list"), "incidents")
        return not any(
            (item.get("incident"), item.get("answer")) == (grant.incident, IncidentAnswer.NONE)
            for item in incidents
        )
    try:
        # With the epoch its agent can tell one that never was from one that it has forgotten.
        params = {
            "operation_id": grant.operation_id,
            "volume": volume.name,
            "epoch": grant.epoch,
        }
        record = parse_record(coordinator.fleet.ask(grant.host, "operation.show", params))
    except AgentError as exc:
        return exc.code != "UNKNOWN_OPERATION"
    return not never_wrote(record)


def never_wrote(record: OperationRecord) -> bool:
    return record.state is OperationState.REFUSED or (
        record.state is OperationState.ROLLED_BACK
        and not any(step.kind in _WRITES for step in record.steps)
    )
