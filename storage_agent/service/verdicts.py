"""The methods of a coordinator: incidents, their answers, grants for a promotion, seals."""

from __future__ import annotations

from storage_agent.engine.acceptance import require_operation_id
from storage_agent.model.errors import Refused
from storage_agent.model.incident import Incident, IncidentAnswer
from storage_agent.model.operation import OperationRequest
from storage_agent.model.plan import OperationKind
from storage_agent.model.seal import Seal
from storage_agent.service.agent import BOOT_ORIGIN, Agent
from storage_agent.service.api.answers import (
    AnsweredIncident,
    Claimed,
    Granted,
    Incidents,
    Proof,
    VolumeSeal,
)
from storage_agent.service.api.parameters import (
    AnswerParameters,
    ClaimParameters,
    GrantParameters,
    Nothing,
    ProofParameters,
    SealParameters,
    VolumeParameters,
)
from storage_agent.service.api.session import Call
from storage_agent.service.link_keeper import ORIGIN as ARBITRATION_ORIGIN


def list_incidents(agent: Agent, _call: Call, _parameters: Nothing) -> object:
    found = (agent.engine.arbitration.incident(v) for v in agent.setup.config.volumes.values())
    return Incidents(incidents=tuple(incident for incident in found if incident is not None))


def answer_incident(agent: Agent, call: Call, parameters: AnswerParameters) -> object:
    volume = agent.require_volume(parameters.volume)
    agent.require_usable()
    asked = Incident(
        incident=parameters.incident,
        volume=volume.name,
        resource=volume.name,
        boot_id=parameters.boot_id,
        opened_unix_s=0,
        epoch=parameters.epoch,
        answer=IncidentAnswer(parameters.verdict),
    )
    answered = agent.engine.arbitration.answer(volume, asked, parameters.coordinator)
    agent.told(
        volume.name,
        f"incident {answered.incident} answered: {answered.answer}, epoch {answered.epoch}, "
        f"by {call.session.origin}",
    )
    return AnsweredIncident(incident=answered)


def grant_promotion(agent: Agent, call: Call, parameters: GrantParameters) -> object:
    volume = agent.require_volume(parameters.volume)
    agent.require_usable()
    operation_id = callers_id(parameters.operation_id)
    granted = agent.engine.arbitration.grant(
        volume, parameters.epoch, operation_id, parameters.coordinator
    )
    agent.told(
        volume.name,
        f"promotion granted: operation {operation_id}, epoch {granted.epoch}, "
        f"by {call.session.origin}",
    )
    return Granted(granted=granted)


def callers_id(operation_id: str) -> str:
    """The agent's own ones are not for callers. Raises UsageError, Refused."""
    require_operation_id(operation_id)
    for origin in (BOOT_ORIGIN, ARBITRATION_ORIGIN):
        if operation_id.startswith(f"{origin}-"):
            raise Refused(
                f"operation ids that begin with {origin}- are the agent's own",
                remedy="choose another one",
            )
    return operation_id


def claim_epoch(agent: Agent, call: Call, parameters: ClaimParameters) -> object:
    volume = agent.require_volume(parameters.volume)
    agent.require_usable()
    # Of any kind: an epoch belongs to an operation, and this one does nothing else.
    request = OperationRequest(
        kind=OperationKind.DEMOTE,
        volume=parameters.volume,
        operation_id=callers_id(parameters.operation_id),
        epoch=parameters.epoch,
        coordinator=parameters.coordinator,
        origin=call.session.origin,
    )
    claimed = agent.engine.claim_epoch(request, parameters.succeeds)
    agent.engine.seals.want(parameters.volume)
    agent.told(parameters.volume, f"epoch {claimed.number} claimed by {call.session.origin}")
    replica = agent.engine.arbitration.replica(volume)
    return Claimed(volume=volume.name, epoch=claimed.number, replica=replica)


def show_seal(agent: Agent, _call: Call, parameters: VolumeParameters) -> object:
    volume = agent.require_volume(parameters.volume)
    record = agent.engine.seals.record(volume.name)
    return VolumeSeal(
        volume=volume.name,
        seal=record.seal if record else None,
        facts=agent.engine.seals.look(volume, agent.digest_of(volume)),
    )


def give_proof(agent: Agent, call: Call, parameters: ProofParameters) -> object:
    volume = agent.require_volume(parameters.volume)
    agent.require_usable()
    require_operation_id(parameters.name)
    found = agent.engine.seals.take_proof(volume, parameters.name)
    return Proof(volume=volume.name, name=parameters.name, sha256=found)


def set_seal(agent: Agent, call: Call, parameters: SealParameters) -> object:
    volume = agent.require_volume(parameters.volume)
    agent.require_usable()
    seal = Seal(
        epoch=parameters.epoch,
        client=parameters.client,
        facts=parameters.facts,
        sealed_unix_s=agent.unix_s(),
    )
    configuration = agent.digest_of(volume)
    agent.engine.seals.seal(volume, seal, configuration, parameters.coordinator)
    agent.told(volume.name, f"sealed in epoch {seal.epoch} by {call.session.origin}")
    return VolumeSeal(volume=volume.name, seal=seal, facts=seal.facts)
