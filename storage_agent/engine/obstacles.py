"""What of this host's own durable knowledge would refuse an operation, whatever the host shows.

`begin` and `run` refuse by the same reads; asked here they become findings, so that a plan says
them before an operation is asked for, and status all the time.
"""

from __future__ import annotations

from collections.abc import Callable

from storage_agent.engine.account import Phase
from storage_agent.engine.creation import Creations
from storage_agent.engine.epoch import EpochStore
from storage_agent.engine.journal import Journal
from storage_agent.engine.records import Records
from storage_agent.model.configuration import VolumeConfig
from storage_agent.model.errors import AgentError, error_finding
from storage_agent.model.finding import Finding
from storage_agent.model.operation import OperationRecord, OperationState
from storage_agent.model.plan import OperationKind
from storage_agent.model.ports import Store
from storage_agent.policy.creating.abandon import unfinished_findings
from storage_agent.policy.records import given_up_note

_WHERE = "ls -la /var/lib/storage-agent; journalctl -k -n 50"


class Obstacles:
    """Looks anew with each call; writes nothing that stays."""

    def __init__(
        self,
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
        # Of each volume: of which state of its account, and whether its copy was given up by then.
        self._last: dict[str, tuple[tuple[int, bool] | None, bool]] = {}

    def ownership(self, volume: str) -> tuple[Finding, ...]:
        """That whose the volume is, or what was done with it, is not known any more."""
        return (
            *_refusal(lambda: self._epochs.read(volume)),
            *_refusal(lambda: self._journal.require_account(volume)),
        )

    def of(self, volume: VolumeConfig, *, writes_next: bool = False) -> tuple[Finding, ...]:
        """All that would refuse a promotion: also that nothing can be written down, and that the
        volume is half made, which has no epoch yet.

        writes_next: the caller's next act writes to the store, and ends where it cannot: clients
        may be waiting, and need not wait for a try as well."""
        found = () if writes_next else _refusal(self._store.require_writable)
        try:
            creation = self._creations.read(volume.name)
        except AgentError as exc:
            return (*found, *_said(exc))
        if creation is not None:
            return (*found, *unfinished_findings(volume, creation))
        found += (
            *self.ownership(volume.name),
            *_refusal(lambda: self._epochs.last_marker(volume.name)),
            *self._given_up(volume.name),
        )
        # One file that cannot be read is met by several of them.
        return tuple(dict.fromkeys(found))

    def _given_up(self, volume: str) -> tuple[Finding, ...]:
        """A person has said so, and nothing but attempts has followed."""
        try:
            account = self._journal.account(volume)
            # All journals have to be read for it: once for each operation that has ended.
            key = (account.number, account.phase is Phase.ENDED)
            if self._last.get(volume, (None, False))[0] != key:
                self._last[volume] = (key, _gave_up(self._records.lately(volume)))
        except AgentError as exc:
            return _said(exc)
        return (given_up_note(volume),) if self._last[volume][1] else ()


def _gave_up(lately: tuple[OperationRecord, ...]) -> bool:
    """lately: newest first."""
    for record in lately:
        is_work = record.request.kind is not OperationKind.ASSEMBLE
        if is_work and record.state is OperationState.SUCCEEDED:
            return record.request.options.get("choice") == "discard"
    return False


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
