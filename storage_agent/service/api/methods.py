"""The table of methods: name, parameters, the role that is needed, and what is done.

Who may not call a method learns nothing about its parameters: the role is looked at first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import structlog

from storage_agent import __version__
from storage_agent.model.errors import AgentError, UsageError
from storage_agent.model.operation import OperationRecord
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
from storage_agent.service.api.operating import (
    Handler,
    Later,
    confirmed,
    create,
    operate,
    plan,
    split_brain,
)
from storage_agent.service.api.parameters import (
    AnswerParameters,
    ClaimParameters,
    ConfirmedParameters,
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
    decode_parameters,
)
from storage_agent.service.api.rpc import PROTOCOL_VERSION, BadRequest
from storage_agent.service.api.session import Call
from storage_agent.service.api.sessions import end_sessions, greet
from storage_agent.service.verdicts import (
    answer_incident,
    claim_epoch,
    give_proof,
    grant_promotion,
    list_incidents,
    set_seal,
    show_seal,
)

log = structlog.get_logger()


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
            if not isinstance(result, Later):
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


def _restore_epoch(agent: Agent, _call: Call, parameters: EpochParameters) -> object:
    agent.require_volume(parameters.volume)
    agent.engine.restore_epoch(parameters.volume, parameters.number)
    agent.told(parameters.volume, f"its epoch is {parameters.number}, a person has said so")
    return VolumeEpoch(volume=parameters.volume, epoch=agent.engine.epoch(parameters.volume))


def _show(agent: Agent, _call: Call, parameters: ShowParameters) -> object:
    if parameters.volume is not None:
        agent.require_volume(parameters.volume)
    record = agent.engine.show(parameters.operation_id, parameters.volume, parameters.epoch)
    if record is None:
        raise UsageError(
            f"there is no operation {parameters.operation_id[:64]!a}",
            remedy="see them: storage-agent operation",
            code="UNKNOWN_OPERATION",
        )
    return record


def _list(agent: Agent, _call: Call, parameters: ListParameters) -> object:
    return Operations(operations=agent.engine.history(parameters.limit))


def _events(agent: Agent, _call: Call, parameters: EventsParameters) -> object:
    return Events(events=agent.events.last(parameters.limit))


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
               handler=plan),
        Method(name="operation.show", parameters=ShowParameters, answers=OperationRecord,
               needs=Role.OBSERVE, handler=_show),
        Method(name="operation.list", parameters=ListParameters, answers=Operations,
               needs=Role.OBSERVE, handler=_list),
        Method(name="config.show", parameters=Nothing, answers=Configuration,
               needs=Role.OBSERVE, handler=_config, is_quick=True),
        *(
            Method(name=str(kind), parameters=OperateParameters, answers=OperationRecord,
                   needs=Role.OPERATE, handler=operate(kind))
            for kind in (OperationKind.PROMOTE, OperationKind.DEMOTE, OperationKind.ASSEMBLE,
                         OperationKind.STANDALONE, OperationKind.REJOIN)
        ),
        # It can give up data: never from afar.
        Method(name="split-brain", parameters=SplitBrainParameters, answers=OperationRecord,
               needs=Role.LOCAL, handler=split_brain),
        Method(name="leave", parameters=OperateParameters, answers=OperationRecord,
               needs=Role.LOCAL, handler=operate(OperationKind.LEAVE)),
        Method(name="create", parameters=CreateParameters, answers=OperationRecord,
               needs=Role.LOCAL, handler=create),
        *(
            Method(name=str(kind), parameters=ConfirmedParameters, answers=OperationRecord,
                   needs=Role.LOCAL, handler=confirmed(kind))
            for kind in (OperationKind.ABANDON, OperationKind.ASSEMBLE_DEGRADED,
                         OperationKind.REMAKE)
        ),
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
