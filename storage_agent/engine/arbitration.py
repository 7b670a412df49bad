"""The coordinator's word, taken in: an answer to a frozen primary, a grant for a promotion.

Whatever is said is bound to an epoch, and the epoch is durable here before it has any effect: a
second word of the same epoch, or an older one, finds it and is refused. So is what any other
coordinator says than the one that is listened to.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable

from storage_agent.engine.epoch import EpochStore
from storage_agent.model.configuration import VolumeConfig
from storage_agent.model.errors import OutcomeUnknown, Refused, refuse_blockers
from storage_agent.model.incident import Grant, Incident, IncidentAnswer
from storage_agent.model.observed import Unobserved
from storage_agent.model.operation import OperationRequest
from storage_agent.model.plan import OperationKind
from storage_agent.model.ports import HostPort, Store
from storage_agent.model.replica import Replica
from storage_agent.model.snapshot import Facet
from storage_agent.model.wire import WireError, from_wire, to_wire
from storage_agent.policy.arbitration import alone_findings, answer_findings, grant_findings

CONTINUE, DENY = IncidentAnswer.CONTINUE, IncidentAnswer.DENY
_GUARDS = frozenset({Facet.REPLICA, Facet.GUARDS})
_LOOKED_AT = {
    CONTINUE: frozenset({Facet.INCIDENT, Facet.REPLICA}),
    DENY: frozenset({Facet.INCIDENT}),
}


class Arbitration:
    """epochs: the engine's own. May be called from several threads."""

    def __init__(self, *, host: HostPort, store: Store, epochs: EpochStore) -> None:
        self._host = host
        self._store = store
        self._epochs = epochs

    def incident(self, volume: VolumeConfig) -> Incident | None:
        """The volume's newest one, with the epoch that this host knows. What cannot be read is
        none: nobody could answer it."""
        found = self._found(volume)
        if not isinstance(found, Incident) or found.answer is not IncidentAnswer.NONE:
            return None if isinstance(found, Unobserved) else found
        try:
            return dataclasses.replace(found, epoch=self._epochs.read(volume.name).number)
        except Refused:
            return found

    def replica(self, volume: VolumeConfig) -> Replica | Unobserved | None:
        """A fresh look."""
        return self._host.observe(volume, frozenset({Facet.REPLICA})).replica

    def answer(self, volume: VolumeConfig, asked: Incident, coordinator: str) -> Incident:
        """asked: which incident, with answer and epoch. The same again gives the same.

        Raises Refused, OperationFailed, OutcomeUnknown where the handler went meanwhile.
        """
        seen = self._host.observe(volume, _LOOKED_AT[asked.answer])
        found = seen.incident
        refuse_blockers(answer_findings(volume, found, asked, self._host.boot_id()))
        assert isinstance(found, Incident)
        self._epochs.require_coordinator(volume.name, coordinator)
        if found.answer is not IncidentAnswer.NONE:
            return found
        if asked.answer is CONTINUE:
            refuse_blockers(alone_findings(volume, seen.replica))
        assert asked.epoch is not None
        answered = dataclasses.replace(found, answer=asked.answer, epoch=asked.epoch)
        # Not the nonce alone: continue and deny in one epoch are two words.
        owner = f"{asked.answer}-{asked.incident}"
        # A claim that comes between the epoch and the answer would find nothing answered.
        self._own(volume, asked.epoch, owner, coordinator, lambda: self._host.answer(answered))
        if self._found(volume) != answered:
            raise OutcomeUnknown(
                f"the incident of {volume.name} ended while it was answered",
                remedy="look before anything else is granted: storage-agent status",
                code="INCIDENT_GONE",
            )
        return answered

    def grant(self, volume: VolumeConfig, epoch: int, operation_id: str, coordinator: str) -> Grant:
        """Durable on return, for this boot. The same again gives the same. Raises Refused."""
        refuse_blockers(grant_findings(volume, self._host.observe(volume, _GUARDS)))
        self._own(volume, epoch, operation_id, coordinator)
        grant = Grant(
            volume=volume.name,
            epoch=epoch,
            operation_id=operation_id,
            boot_id=self._host.boot_id(),
        )
        self._store.replace(_name(volume.name), json.dumps(to_wire(grant)).encode())
        return grant

    def is_granted(self, request: OperationRequest) -> bool:
        """Whether the coordinator has granted exactly this promotion, in this boot."""
        content = self._store.read(_name(request.volume))
        if content is None or request.epoch is None:
            return False
        try:
            grant = from_wire(Grant, json.loads(content))
        except (ValueError, WireError):
            # Torn or foreign: no grant.
            return False
        return grant == Grant(
            volume=request.volume,
            epoch=request.epoch,
            operation_id=request.operation_id,
            boot_id=self._host.boot_id(),
        )

    def _found(self, volume: VolumeConfig) -> Incident | Unobserved | None:
        return self._host.observe(volume, frozenset({Facet.INCIDENT})).incident

    def _own(
        self,
        volume: VolumeConfig,
        epoch: int,
        owner: str,
        coordinator: str,
        then: Callable[[], None] = lambda: None,
    ) -> None:
        request = OperationRequest(
            kind=OperationKind.PROMOTE,
            volume=volume.name,
            operation_id=owner,
            epoch=epoch,
            coordinator=coordinator,
        )
        self._epochs.own(request, epoch, then)


def _name(volume: str) -> str:
    return f"grant-{volume}"
