"""The table of methods: name, parameters, the role that is needed, and what is done.

Who may not call a method learns nothing about its parameters: the role is looked at first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from storage_agent import __version__
from storage_agent.model.configuration import Arbitration
from storage_agent.model.errors import AgentError, Refused, UsageError
from storage_agent.model.operation import SHUTDOWN_ORIGIN, OperationRecord, OperationRequest
from storage_agent.model.plan import OperationKind
from storage_agent.service.agent import Agent
from storage_agent.service.api.access import Role, require_role
from storage_agent.service.api.answers import (
    AnsweredIncident,
    Claimed,
    Configuration,
    Ended,
    Events,
    Granted,
    Incidents,
    Operations,
    Planned,
    Pong,
    Proof,
    Status,
    VolumeEpoch,
    VolumeSeal,
    Welcome,
)
from storage_agent.service.api.lanes import Lanes
from storage_agent.service.api.parameters import (
    AbandonParameters,
    AnswerParameters,
    ClaimParameters,
    CreateParameters,
    EpochParameters,
    EventsParameters,
    GrantParameters,
    Hello,
    KeyParameters,
    ListParameters,
    Nothing,
    OperateParameters,
    PlanParameters,
    ProofParameters,
    SealParameters,
    ShowParameters,
    SplitBrainParameters,
    VolumeParameters,
    coordinator_of,
    decode_parameters,
    wait_options,
)
from storage_agent.service.api.rpc import PROTOCOL_VERSION, BadRequest
from storage_agent.service.api.session import Call
from storage_agent.service.api.sessions import end_sessions, greet
from storage_agent.service.runs import Watcher
from storage_agent.service.verdicts import (
    answer_incident,
    callers_id,
    claim_epoch,
    give_proof,
    grant_promotion,
    list_incidents,
    set_seal,
    show_seal,
)

EVENTS_LIMIT = 1000
HISTORY_LIMIT = 50
log = structlog.get_logger()


class _Later:
    """A handler that has taken the call along and answers it itself."""


LATER = _Later()
Handler = Callable[[Agent, Call, Any], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """answers: the type of the result.  is_quick: answered on the server's loop, from memory
    (and, of a gateway's hello, the file of keys)."""

    name: str
    parameters: type
    answers: type
    needs: Role
    handler: Handler
    is_quick: bool = False


class Dispatcher:
    """The server's `dispatch`: gives each call its answer, in a thread of its own where looking
    or disk I/O is involved."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._lanes = Lanes()

    def __call__(self, call: Call) -> None:
        try:
            method = METHODS.get(call.request.method)
            if method is None:
                raise BadRequest(
                    "unknown-method",
                    f"there is no method {call.request.method[:40]!a}",
                    remedy="methods: " + ", ".join(METHODS),
                )
            # Before anything of the request is looked up.
            require_role(call.session.role, method.needs, method.name)
            parameters = decode_parameters(method.parameters, call.request.parameters)
        except AgentError as exc:
            call.fail(exc)
            return
        if method.is_quick:
            self._handle(method, call, parameters)
            return
        try:
            self._lanes.run(
                call.session.role,
                call.session.key_id,
                method.name,
                lambda: self._handle(method, call, parameters),
                call.is_wanted,
            )
        except AgentError as exc:
            call.fail(exc)

    def _handle(self, method: Method, call: Call, parameters: object) -> None:
        try:
            result = method.handler(self._agent, call, parameters)
            if not isinstance(result, _Later):
                call.answer(result)
        except AgentError as exc:
            call.fail(exc)
        except Exception as exc:
            log.exception("a request broke off", method=method.name)
            call.fail(
                AgentError(
                    f"{method.name} broke off: {type(exc).__name__}",
                    remedy="journalctl -u storage-agentd has the details; please report it",
                    code="INTERNAL",
                )
            )


def _ping(agent: Agent, _call: Call, _parameters: Nothing) -> object:
    host = agent.setup.config.host
    return Pong(host=host, agent_version=__version__, protocol=PROTOCOL_VERSION)


def _status(agent: Agent, _call: Call, _parameters: Nothing) -> object:
    return agent.status()


def _plan(agent: Agent, call: Call, parameters: PlanParameters) -> object:
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
        marker_at_least=_marker(parameters.marker_at_least),
        marker_lost=parameters.marker_lost,
        stop_serving=parameters.stop_serving,
        origin=call.session.origin,
        options=options,
    )
    plan, findings = agent.engine.plan(request)
    return Planned(plan=plan, digest=plan.digest(), findings=findings)


def _operate(kind: OperationKind) -> Handler:
    def handle(agent: Agent, call: Call, parameters: OperateParameters) -> object:
        volume = agent.require_volume(parameters.volume)
        _require_persons_word(call, parameters)
        if kind is OperationKind.STANDALONE and volume.arbitration is Arbitration.COORDINATOR:
            _require_confirmed(call, parameters)
        # "The next one" is for whoever sits at the host: a coordinator says what it knows.
        is_local = call.session.role is Role.LOCAL
        if kind is OperationKind.PROMOTE and parameters.epoch is None and not is_local:
            raise BadRequest("missing-key", "the key 'epoch' is missing: promote needs it")
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
            marker_at_least=_marker(parameters.marker_at_least),
            marker_lost=parameters.marker_lost,
            stop_serving=parameters.stop_serving,
            origin=_origin(call, parameters.operation_id),
            options=options,
        )
        return _start(agent, call, request)

    return handle


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


def _split_brain(agent: Agent, call: Call, parameters: SplitBrainParameters) -> object:
    agent.require_volume(parameters.volume)
    request = OperationRequest(
        kind=OperationKind.SPLIT_BRAIN,
        volume=parameters.volume,
        operation_id=callers_id(parameters.operation_id),
        origin=call.session.origin,
        options={"choice": str(parameters.choice), "confirm": parameters.confirm},
    )
    return _start(agent, call, request)


def _restore_epoch(agent: Agent, _call: Call, parameters: EpochParameters) -> object:
    agent.require_volume(parameters.volume)
    agent.engine.restore_epoch(parameters.volume, parameters.number)
    return VolumeEpoch(volume=parameters.volume, epoch=agent.engine.epoch(parameters.volume))


def _create(agent: Agent, call: Call, parameters: CreateParameters) -> object:
    agent.require_volume(parameters.volume)
    request = OperationRequest(
        kind=OperationKind.CREATE,
        volume=parameters.volume,
        operation_id=callers_id(parameters.operation_id),
        origin=call.session.origin,
        options={"role": str(parameters.role), "confirm": parameters.confirm},
    )
    return _start(agent, call, request)


def _abandon(agent: Agent, call: Call, parameters: AbandonParameters) -> object:
    agent.require_volume(parameters.volume)
    request = OperationRequest(
        kind=OperationKind.ABANDON,
        volume=parameters.volume,
        operation_id=callers_id(parameters.operation_id),
        origin=call.session.origin,
        options={"confirm": parameters.confirm},
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


def _marker(given: tuple[int, ...] | None) -> tuple[int, ...] | None:
    if given is not None and len(given) != 2:
        raise BadRequest("bad-type", "marker_at_least: epoch and counter are wanted")
    return given


def _show(agent: Agent, _call: Call, parameters: ShowParameters) -> object:
    record = agent.engine.show(parameters.operation_id)
    if record is None:
        raise UsageError(
            f"there is no operation {parameters.operation_id[:64]!a}",
            remedy="see them: storage-agent operation",
            code="UNKNOWN_OPERATION",
        )
    return record


def _list(agent: Agent, _call: Call, parameters: ListParameters) -> object:
    limit = _limit(parameters.limit, HISTORY_LIMIT)
    return Operations(operations=agent.engine.history(limit))


def _events(agent: Agent, _call: Call, parameters: EventsParameters) -> object:
    return Events(events=agent.events.last(_limit(parameters.limit, EVENTS_LIMIT)))


def _limit(asked: int, most: int) -> int:
    if not 1 <= asked <= most:
        raise BadRequest("bad-type", f"limit: 1 to {most}")
    return asked


def _subscribe(agent: Agent, call: Call, _parameters: Nothing) -> object:
    call.session.is_subscribed = True
    # With the subscription already on: no change between this answer and the first notification.
    return agent.status()


def _config(agent: Agent, _call: Call, _parameters: Nothing) -> object:
    setup = agent.setup
    if setup.problem is not None:
        raise setup.problem
    return Configuration(config=setup.config, digest=setup.digest, note=setup.note)


METHODS: Mapping[str, Method] = {
    method.name: method
    for method in (
        Method(name="hello", parameters=Hello, answers=Welcome, needs=Role.NONE, handler=greet,
               is_quick=True),
        Method(name="ping", parameters=Nothing, answers=Pong, needs=Role.OBSERVE, handler=_ping,
               is_quick=True),
        Method(name="status", parameters=Nothing, answers=Status, needs=Role.OBSERVE,
               handler=_status, is_quick=True),
        Method(name="subscribe", parameters=Nothing, answers=Status, needs=Role.OBSERVE,
               handler=_subscribe, is_quick=True),
        Method(name="events", parameters=EventsParameters, answers=Events, needs=Role.OBSERVE,
               handler=_events, is_quick=True),
        Method(name="plan", parameters=PlanParameters, answers=Planned, needs=Role.OBSERVE,
               handler=_plan),
        Method(name="operation.show", parameters=ShowParameters, answers=OperationRecord,
               needs=Role.OBSERVE, handler=_show),
        Method(name="operation.list", parameters=ListParameters, answers=Operations,
               needs=Role.OBSERVE, handler=_list),
        Method(name="config.show", parameters=Nothing, answers=Configuration,
               needs=Role.OBSERVE, handler=_config, is_quick=True),
        *(
            Method(name=str(kind), parameters=OperateParameters, answers=OperationRecord,
                   needs=Role.OPERATE, handler=_operate(kind))
            for kind in (OperationKind.PROMOTE, OperationKind.DEMOTE, OperationKind.ASSEMBLE,
                         OperationKind.STANDALONE, OperationKind.REJOIN)
        ),
        # It can give up data: never from afar.
        Method(name="split-brain", parameters=SplitBrainParameters, answers=OperationRecord,
               needs=Role.LOCAL, handler=_split_brain),
        Method(name="leave", parameters=OperateParameters, answers=OperationRecord,
               needs=Role.LOCAL, handler=_operate(OperationKind.LEAVE)),
        Method(name="create", parameters=CreateParameters, answers=OperationRecord,
               needs=Role.LOCAL, handler=_create),
        Method(name="abandon", parameters=AbandonParameters, answers=OperationRecord,
               needs=Role.LOCAL, handler=_abandon),
        Method(name="epoch.claim", parameters=ClaimParameters, answers=Claimed,
               needs=Role.GRANT, handler=claim_epoch),
        Method(name="epoch.restore", parameters=EpochParameters, answers=VolumeEpoch,
               needs=Role.LOCAL, handler=_restore_epoch),
        Method(name="incident.list", parameters=Nothing, answers=Incidents, needs=Role.OBSERVE,
               handler=list_incidents),
        Method(name="incident.answer", parameters=AnswerParameters, answers=AnsweredIncident,
               needs=Role.GRANT, handler=answer_incident),
        Method(name="grant.promote", parameters=GrantParameters, answers=Granted,
               needs=Role.GRANT, handler=grant_promotion),
        Method(name="seal.show", parameters=VolumeParameters, answers=VolumeSeal,
               needs=Role.OBSERVE, handler=show_seal),
        Method(name="proof.take", parameters=ProofParameters, answers=Proof,
               needs=Role.GRANT, handler=give_proof),
        Method(name="seal.set", parameters=SealParameters, answers=VolumeSeal,
               needs=Role.GRANT, handler=set_seal),
        Method(name="sessions.end", parameters=KeyParameters, answers=Ended, needs=Role.LOCAL,
               handler=end_sessions),
    )
}  # fmt: skip
READS = frozenset(method.name for method in METHODS.values() if method.needs is Role.OBSERVE)
