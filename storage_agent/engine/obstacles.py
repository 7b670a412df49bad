"""What of this host's own durable knowledge would refuse an operation, whatever the host shows.

`begin` and `run` refuse by the same reads; asked here they become findings, so that a plan says
them before an operation is asked for, and status all the time.
"""

from __future__ import annotations

from collections.abc import Callable

from storage_agent.engine.creation import Creations
from storage_agent.engine.epoch import EpochStore
from storage_agent.engine.journal import Journal
from storage_agent.engine.records import Records
from storage_agent.model.configuration import VolumeConfig
from storage_agent.model.errors import AgentError, error_finding
from storage_agent.model.finding import Finding
from storage_agent.model.operation import OperationState
from storage_agent.model.plan import OperationKind
from storage_agent.model.ports import Store
from storage_agent.policy.abandon import unfinished_findings
from storage_agent.policy.records import given_up_note

_WHERE = "ls -la /var/lib/storage-agent; journalctl -k -n 50"


class Obstacles:
    """Looks anew with each call; writes nothing that stays."""

    def __init__(
        self,
        *,
        store: Store,
        epochs: EpochStore,
        journal: Journal,
        creations: Creations,
        records: Records,
    ) -> None:
        self._store = store
        self._epochs = epochs
        self._journal = journal
        self._creations = creations
        self._records = records

    def ownership(self, volume: str) -> tuple[Finding, ...]:
        """That whose the volume is, or what was done with it, is not known any more."""
        return (
            *_refusal(lambda: self._epochs.read(volume)),
            *_refusal(lambda: self._journal.require_account(volume)),
        )

    def of(self, volume: VolumeConfig) -> tuple[Finding, ...]:
        """All that would refuse a promotion: also that nothing can be written down, and that the
        volume is half made, which has no epoch yet."""
        found = _refusal(self._store.require_writable)
        try:
            creation = self._creations.read(volume.name)
        except AgentError as exc:
            return (*found, *_said(exc))
        if creation is not None:
            return (*found, *unfinished_findings(volume, creation))
        return (
            *found,
            *self.ownership(volume.name),
            *_refusal(lambda: self._epochs.last_marker(volume.name)),
            *self._given_up(volume.name),
        )

    def _given_up(self, volume: str) -> tuple[Finding, ...]:
        """A person has said so, and nothing but attempts has followed."""
        try:
            lately = self._records.lately(volume)
        except AgentError as exc:
            return _said(exc)
        for record in lately:
            if record.state is not OperationState.SUCCEEDED:
                continue
            if record.request.kind is not OperationKind.ASSEMBLE:
                is_discard = record.request.options.get("choice") == "discard"
                return (given_up_note(volume),) if is_discard else ()
        return ()


def _refusal(look: Callable[[], object]) -> tuple[Finding, ...]:
    try:
        look()
    except AgentError as exc:
        return _said(exc)
    return ()


def _said(error: AgentError) -> tuple[Finding, ...]:
    if error.findings:
        return error.findings
    return (
        error_finding(
            error,
            measured=error.message,
            limit="files that this agent has written, readable",
            remedy=_WHERE,
        ),
    )
