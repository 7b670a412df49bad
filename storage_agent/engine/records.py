"""What is told of operations: those on their way, those that have ended, and those of which neither
is known."""

from __future__ import annotations

from contextlib import suppress

from storage_agent.engine.acceptance import OPERATION_ID
from storage_agent.engine.account import Account, digest
from storage_agent.engine.entry import Entry, resumed
from storage_agent.engine.journal import Journal, damaged, why_not_to_go_on
from storage_agent.model.errors import OperationFailed
from storage_agent.model.operation import OperationRecord


class Records:
    """running: by volume.  unrecorded: ended, and the journal does not say so yet; by id."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.running: dict[str, OperationRecord] = {}
        self.unrecorded: dict[str, OperationRecord] = {}

    def show(
        self, operation_id: str, volumes: tuple[str, ...], epoch: int | None
    ) -> OperationRecord | None:
        """The state of an operation, running or ended; None where it was never accepted here.

        Raises OperationFailed (JOURNAL_DAMAGED), and Refused where it may have been: see
        Journal.require_unused. epoch: of the operation, as far as the caller knows."""
        found = self.known(operation_id)
        if found is None and OPERATION_ID.fullmatch(operation_id):
            for volume in volumes:
                self._journal.require_unused(operation_id, volume, epoch)
        return found

    def known(self, operation_id: str) -> OperationRecord | None:
        """As `show`, of what is remembered. Raises OperationFailed (JOURNAL_DAMAGED)."""
        for record in (*self.running.values(), *self.unrecorded.values()):
            if record.request.operation_id == operation_id:
                return record
        if not OPERATION_ID.fullmatch(operation_id):
            return None
        entry = self.entry(operation_id)
        return None if entry is None else self._record_in(entry)

    def entry(self, operation_id: str) -> Entry | None:
        """As Journal.read; one whose end is lost is damaged, too."""
        entry = self._journal.read(operation_id)
        if entry is not None:
            self._record_in(entry)
        return entry

    def history(self, limit: int) -> tuple[OperationRecord, ...]:
        """The newest operations, newest first, running ones included; without damaged ones."""
        found: list[OperationRecord] = []
        for entry in reversed(self._journal.entries()):
            if len(found) < limit:
                with suppress(OperationFailed):
                    found.append(self._record_in(entry))
        return tuple(found)

    def lately(self, volume: str) -> tuple[OperationRecord, ...]:
        """The newest operations of the volume, newest first, up to the first that is not known any
        more: what comes after it is not what was done last."""
        account = self._journal.readable_account(volume) or Account()
        entries = [e for e in self._journal.entries() if e.request.volume == volume]
        found: list[OperationRecord] = []
        for accepted, entry in zip(reversed(account.recent), reversed(entries), strict=False):
            if digest(entry.request.operation_id) != accepted:
                break
            try:
                found.append(self._record_in(entry))
            except OperationFailed:
                break
        return tuple(found)

    def _record_in(self, entry: Entry) -> OperationRecord:
        """Raises OperationFailed (JOURNAL_DAMAGED) where it has no end, and is not on its way."""
        operation_id = entry.request.operation_id
        ended = entry.record or self.unrecorded.get(operation_id)
        if ended is not None:
            return ended
        running = self.running.get(entry.request.volume)
        if running is None or running.request.operation_id != operation_id:
            account = self._journal.readable_account(entry.request.volume)
            lost = "the account of its volume is lost" if account is None else ""
            if why := lost or why_not_to_go_on(entry, account or Account()):
                raise damaged(f"operation-{operation_id}", why)
        return resumed(entry)
