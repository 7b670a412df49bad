"""Journals that cannot be what they look like: set aside before anything is gone on with, and told.

A file that lost its end, came back from a backup, or is another host's would be taken for an
operation that a crash has interrupted, and gone on with below what has happened since.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress

from storage_agent.engine.account import Phase
from storage_agent.engine.entry import Entry
from storage_agent.engine.journal import Journal, why_not_to_go_on
from storage_agent.model.errors import OperationFailed, Refused
from storage_agent.model.finding import Finding
from storage_agent.model.ports import Store
from storage_agent.policy.history import record_damaged, record_lost


class Damage:
    """Files `damaged-ID`: the reason as their first line, then what was in the journal."""

    def __init__(self, store: Store, journal: Journal, host: str) -> None:
        self._store = store
        self._journal = journal
        self._host = host
        # By the names of their files, why they are not gone on with.
        self._left: dict[str, str] = {}

    def set_aside(self, volumes: Iterable[str]) -> None:
        """volumes: those that are configured. With the account of a volume lost, its journals stay
        where they are: nothing is gone on with there. So do they where the state folder cannot be
        written: that keeps nothing else from going on. Raises OperationFailed where it cannot be
        read."""
        entries = {entry.request.operation_id: entry for entry in self._journal.entries()}
        damaged = (*self._unreadable(), *self._misplaced(entries.values()))
        with suppress(OperationFailed):
            self._note_ends(entries.values())
        self._left = {}
        for operation_id, why in damaged:
            entry = entries.get(operation_id)
            owners = volumes if entry is None else (entry.request.volume,)
            try:
                self._set_one_aside(operation_id, why, owners)
            except (OperationFailed, Refused):
                self._left[f"operation-{operation_id}"] = why
        self._journal.forget_numbers()

    def _set_one_aside(self, operation_id: str, why: str, owners: Iterable[str]) -> None:
        for volume in owners:
            account = self._journal.readable_account(volume)
            if account is not None:
                # Asked for again, it is not taken for a new one.
                self._journal.accounts.forget(volume, account, self._journal.kept, operation_id)
        content = self._store.read(f"operation-{operation_id}") or b""
        self._store.replace(f"damaged-{operation_id}", f"{why}\n".encode() + content)
        self._store.remove(f"operation-{operation_id}")

    def findings(self, volumes: Iterable[str]) -> tuple[Finding, ...]:
        """What a person has to know. Raises OperationFailed, also for one that is damaged since."""
        left = set(self._store.names("operation-")) & self._left.keys()
        found = [record_damaged(name, self._left[name]) for name in sorted(left)]
        for name in self._store.names("damaged-"):
            why = (self._store.read(name) or b"").partition(b"\n")[0].decode("ascii", "replace")
            found.append(record_damaged(name, why))
        for volume in volumes:
            if lost := self._journal.lost(volume):
                found += lost
                continue
            account = self._journal.account(volume)
            if account.phase is not Phase.ENDED and self._is_gone(account.operation_id):
                found.append(record_lost(volume, account.operation_id))
        return tuple(found)

    def _note_ends(self, entries: Iterable[Entry]) -> None:
        """Killed between the journal's end and the account's."""
        newest = {entry.request.volume: entry for entry in entries}
        for volume, entry in newest.items():
            account = self._journal.readable_account(volume)
            is_open = account is not None and account.phase is not Phase.ENDED
            if entry.record is not None and is_open:
                self._journal.turns(entry.request, Phase.ENDED)

    def _unreadable(self) -> Iterator[tuple[str, str]]:
        for name in self._store.names("operation-"):
            operation_id = name.removeprefix("operation-")
            try:
                self._journal.read(operation_id)
            except OperationFailed as exc:
                if exc.code != "JOURNAL_DAMAGED":
                    raise
                yield operation_id, exc.message.partition("damaged: ")[2]

    def _misplaced(self, entries: Iterable[Entry]) -> Iterator[tuple[str, str]]:
        entries = tuple(entries)
        numbers = Counter(entry.number for entry in entries if entry.number)
        for entry in entries:
            account = self._journal.readable_account(entry.request.volume)
            if account is None:
                continue
            why = ""
            if not entry.number:
                why = "" if entry.record else "it has no end, and is of an earlier version"
            elif entry.host != self._host:
                why = f"it is of the host {entry.host[:64]!a}"
            elif entry.record is None:
                why = why_not_to_go_on(entry, account)
            elif numbers[entry.number] > 1 and entry.request.operation_id != account.operation_id:
                why = f"another operation has its number, {entry.number}"
            if why:
                yield entry.request.operation_id, why

    def _is_gone(self, operation_id: str) -> bool:
        return self._journal.read(operation_id) is None
