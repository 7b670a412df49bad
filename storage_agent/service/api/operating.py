"""What begins an operation, or shows what one would do: requests made of a caller's parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from storage_agent.model.configuration import Arbitration, VolumeConfig
from storage_agent.model.errors import Refused, refuse_blockers
from storage_agent.model.operation import SHUTDOWN_ORIGIN, OperationRequest
from storage_agent.model.plan import OperationKind
from storage_agent.policy.epoch import ungranted_findings
from storage_agent.service.agent import Agent
from storage_agent.service.api.access import Role, rank, require_role
from storage_agent.service.api.answers import Planned
from storage_agent.service.api.parameters import (
    ConfirmedParameters,
    CreateParameters,
    OperateParameters,
    PlanParameters,
    SplitBrainParameters,
    coordinator_of,
    wait_options,
)
from storage_agent.service.api.rpc import BadRequest
from storage_agent.service.api.session import Call
from storage_agent.service.runs import Watcher
from storage_agent.service.verdicts import callers_id


class Later:
    """A handler that has taken the call along and answers it itself."""


LATER = Later()
Handler = Callable[[Agent, Call, Any], object]


def plan(agent: Agent, call: Call, parameters: PlanParameters) -> object:
    agent.require_volume(parameters.volume)
    _require_persons_word(call, parameters)
    chosen = {"role": parameters.role, "choice": parameters.choice}
    for key, kind in (("role", OperationKind.CREATE), ("choice", OperationKind.SPLIT_BRAIN)):
        if (parameters.operation is kind) != (chosen[key] is not None):
            raise BadRequest("bad-type", f"the key {key!r} belongs to {kind}, and {kind} needs it")
    options = wait_options(parameters.operation, parameters.wait_s)
    options |= {key: str(value) for key, value in chosen.items() if value is not None}
    request = OperationRequest(
        kind=parameters.operation,
        volume=parameters.volume,
        operation_id="plan",
        epoch=parameters.epoch,
        coordinator=coordinator_of(parameters.epoch, parameters.coordinator),
        expected_primary=parameters.expected_primary,
        peer_is_off=parameters.peer_is_off,
        marker_at_least=parameters.marker_at_least,
        marker_lost=parameters.marker_lost,
        stop_serving=parameters.stop_serving,
        origin=call.session.origin,
        options=options,
    )
    made, findings = agent.engine.plan(request)
    return Planned(plan=made, digest=made.digest(), findings=findings)


def operate(kind: OperationKind) -> Handler:
    def handle(agent: Agent, call: Call, parameters: OperateParameters) -> object:
        volume = agent.require_volume(parameters.volume)
        _require_persons_word(call, parameters)
        if kind is OperationKind.STANDALONE and volume.arbitration is Arbitration.COORDINATOR:
            _require_confirmed(call, parameters)
        # "The next one" is for whoever sits at the host: a coordinator says what it knows.
        is_local = call.session.role is Role.LOCAL
        if kind is OperationKind.PROMOTE and parameters.epoch is None and not is_local:
            raise BadRequest("missing-key", "the key 'epoch' is missing: promote needs it")
        _require_epoch_given(agent, call, volume, parameters.epoch)
        options = wait_options(kind, parameters.wait_s)
        if parameters.confirm is not None:
            options["confirm"] = parameters.confirm
        request = OperationRequest(
            kind=kind,
            volume=parameters.volume,
            operation_id=callers_id(parameters.operation_id),
            epoch=parameters.epoch,
            coordinator=coordinator_of(parameters.epoch, parameters.coordinator),
            expected_primary=parameters.expected_primary,
            peer_is_off=parameters.peer_is_off,
            marker_at_least=parameters.marker_at_least,
            marker_lost=parameters.marker_lost,
            stop_serving=parameters.stop_serving,
            origin=_origin(call, parameters.operation_id),
            options=options,
        )
        return _start(agent, call, request)

    return handle


def _require_epoch_given(agent: Agent, call: Call, volume: VolumeConfig, asked: int | None) -> None:
    """Before anything is written down. What is not known, or older, the engine refuses. Raises
    Refused."""
    known = agent.engine.epoch(volume.name)
    if asked is not None and known is not None and rank(call.session.role) < rank(Role.GRANT):
        refuse_blockers(ungranted_findings(volume, asked, known))


def _require_confirmed(call: Call, parameters: OperateParameters) -> None:
    """Who may write alone is the coordinator's to say; else a local person's, who has read the
    plan. Raises NotPermitted, Refused."""
    require_role(call.session.role, Role.LOCAL, "standalone without the coordinator")
    if parameters.confirm is None:
        raise Refused(
            f"{parameters.volume} is arbitrated by a coordinator: to let it go on alone without "
            "asking that must be confirmed",
            remedy=f"storage-agent standalone {parameters.volume}",
            code="NOT_CONFIRMED",
        )


def split_brain(agent: Agent, call: Call, parameters: SplitBrainParameters) -> object:
    choice = str(parameters.choice)
    return _begin_confirmed(OperationKind.SPLIT_BRAIN, agent, call, parameters, choice=choice)


def create(agent: Agent, call: Call, parameters: CreateParameters) -> object:
    role = str(parameters.role)
    return _begin_confirmed(OperationKind.CREATE, agent, call, parameters, role=role)


def confirmed(kind: OperationKind) -> Handler:
    def handle(agent: Agent, call: Call, parameters: ConfirmedParameters) -> object:
        return _begin_confirmed(kind, agent, call, parameters)

    return handle


def _begin_confirmed(
    kind: OperationKind,
    agent: Agent,
    call: Call,
    parameters: SplitBrainParameters | CreateParameters | ConfirmedParameters,
    **options: str,
) -> object:
    """What can give up data: for root at the host, who has read the plan."""
    agent.require_volume(parameters.volume)
    request = OperationRequest(
        kind=kind,
        volume=parameters.volume,
        operation_id=callers_id(parameters.operation_id),
        origin=call.session.origin,
        options={**options, "confirm": parameters.confirm},
    )
    return _start(agent, call, request)


def _start(agent: Agent, call: Call, request: OperationRequest) -> object:
    agent.require_usable()
    watcher = Watcher(
        progress=lambda record: call.notify("operation.progress", record),
        ended=call.answer,
        failed=call.fail,
    )
    agent.runs.start(agent.engine, request, watcher)
    return LATER


def _require_persons_word(call: Call, parameters: PlanParameters | OperateParameters) -> None:
    """What not everybody who operates may declare. Raises NotPermitted."""
    words = (
        ("peer_is_off", Role.GRANT),
        ("marker_lost", Role.LOCAL),
        ("stop_serving", Role.LOCAL),
    )
    for name, role in words:
        if getattr(parameters, name) is not None:
            require_role(call.session.role, role, name)


def _origin(call: Call, operation_id: str) -> str:
    """The unit that stops first at a shutdown speaks for the host, not for a person."""
    is_shutdown = operation_id.startswith(f"{SHUTDOWN_ORIGIN}-")
    is_local = call.session.role is Role.LOCAL
    return SHUTDOWN_ORIGIN if is_shutdown and is_local else call.session.origin
