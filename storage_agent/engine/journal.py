"""What was intended, one file an operation, each record fsynced before the act it announces.

The kernel is the truth; the journal only says what this agent meant to do, so that after a
crash it knows which of the things it now sees are its own. It goes on with the newest operation of
a volume alone, and only where the volume's account (account.py) says so, too: whatever else looks
unfinished has lost its end, or is another's.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress

from storage_agent.engine.account import Account, Accounts, Phase, lost
from storage_agent.engine.entry import Entry, body_of, parse, sealed_after
from storage_agent.model.errors import OperationFailed, Refused
from storage_agent.model.finding import Finding
from storage_agent.model.operation import Epoch, OperationRequest
from storage_agent.model.ports import Store
from storage_agent.policy.history import forgotten

# Of each volume, so that none makes another's be forgotten.
KEPT_OPERATIONS = 100
# Which of them are the oldest takes reading them all: not after each operation.
PRUNED_AT_ONCE = 25


class Journal:
    """Append-only files `operation-ID` in the store, and the account of each volume. host: whose
    they are. Accepting and forgetting want the engine's lock."""

    def __init__(self, store: Store, host: str) -> None:
        self._store = store
        self._host = host
        self._noted: dict[str, list[bytes]] = {}
        self.accounts = Accounts(store, host)
        self.kept, self.pruned_at_once = KEPT_OPERATIONS, PRUNED_AT_ONCE
        # Of each volume, from the journals alone: how many there are, and the highest number.
        self._counts: Counter[str] = Counter()
        self._highest: dict[str, int] | None = None

    # --- one operation --------------------------------------------------------------------------

    def accept(
        self,
        request: OperationRequest,
        boot_id: str,
        wall_s: float,
        owned: Epoch | None,
        *,
        needs_account: bool,
    ) -> None:
        """owned: the volume's epoch, where it is known. Durable on return.

        needs_account: without one it is refused; else it is written down uncounted where the
        account is lost, and after a crash nothing goes on with it.

        Raises Refused (OPERATION_FORGOTTEN, JOURNAL_LOST) for what may have been before,
        OperationFailed where the state folder cannot be written."""
        volume, name = request.volume, request.operation_id
        try:
            account = self.account(volume)
            # Else it was killed between the account and the journal itself, and did not begin.
            if (account.operation_id, account.phase) != (name, Phase.ACCEPTED):
                self._require_new(request, owned)
                known = (account.number, *self._numbers().values(), *self._other_accounts())
                account = account.accepts(max(known) + 1, name)
                self.accounts.write(volume, account)
        except Refused as exc:
            if needs_account or exc.code != "JOURNAL_LOST":
                raise
            account = Account()
        self.write(
            name,
            "accepted",
            request=request,
            boot_id=boot_id,
            wall_s=wall_s,
            number=account.number,
            host=self._host,
        )
        highest = self._numbers()
        highest[volume] = max(highest.get(volume, 0), account.number)
        self._counts[volume] += 1

    def write(self, operation_id: str, phase: str, **fields: object) -> None:
        """Durable on return, with what was noted. Raises OperationFailed where the state folder
        cannot be written."""
        name = _name(operation_id)
        content = self._store.read(name) or b""
        whole = content[: content.rfind(b"\n") + 1]
        bodies = [*self._noted.get(operation_id, ()), body_of(phase, fields)]
        lines = sealed_after(name, whole, bodies)
        if whole != content:
            # A power cut tore the last record; what it announced did not begin.
            self._store.replace(name, whole + lines)
        else:
            self._store.append(name, lines)
        self._noted.pop(operation_id, None)

    def note(self, operation_id: str, phase: str, **fields: object) -> None:
        """Durable with the next record. For what was seen: after a crash it is seen again."""
        self._noted.setdefault(operation_id, []).append(body_of(phase, fields))

    def begins(self, request: OperationRequest, epoch: int) -> None:
        """Before the operation takes this epoch. Durable on return."""
        self._turn(request, Phase.BEGUN, epoch)

    def turns(self, request: OperationRequest, phase: Phase) -> None:
        """After its journal says so. Durable on return."""
        self._turn(request, phase, -1)

    def read(self, operation_id: str) -> Entry | None:
        """None where no such operation is known. Raises OperationFailed when damaged."""
        name = _name(operation_id)
        content = self._store.read(name)
        if content is None:
            return None
        try:
            return parse(name, content)
        except (ValueError, KeyError, TypeError) as exc:
            raise damaged(name, str(exc)) from exc

    def require_unused(self, operation_id: str, volume: str, epoch: int | None) -> None:
        """Raises Refused for an operation that has no journal and may have been: one that was
        accepted here, or that could have taken this epoch; and where that cannot be told."""
        account = self.account(volume)
        if self.accounts.knows(volume, account, operation_id):
            raise _refused(forgotten(operation_id, "it was accepted, and its journal is gone"))
        if epoch is not None and epoch <= account.epoch:
            raise _refused(forgotten(operation_id, f"an operation has taken epoch {account.epoch}"))

    # --- all of them ----------------------------------------------------------------------------

    def entries(self) -> tuple[Entry, ...]:
        """All readable operations, in the order in which they were accepted. A damaged file is
        left out here and named when it is asked for."""
        found = []
        for name in self._store.names("operation-"):
            try:
                entry = self.read(name.removeprefix("operation-"))
            except OperationFailed as exc:
                if exc.code != "JOURNAL_DAMAGED":
                    raise
                continue
            if entry is not None:
                found.append(entry)
        # Those of an earlier version have no number, and come first by their clock.
        return tuple(sorted(found, key=lambda entry: (entry.number, entry.accepted_wall_s)))

    def prune(self, volume: str, keep: str) -> None:
        """Forgets the volume's oldest operations beyond KEPT_OPERATIONS, PRUNED_AT_ONCE or more;
        never the one that owns its epoch (keep): asked again, it must get its answer."""
        self._numbers()
        if self._counts[volume] < self.kept + self.pruned_at_once:
            return
        ended = [
            entry.request.operation_id
            for entry in self.entries()
            if entry.request.volume == volume and entry.record is not None
        ]
        old = [one for one in ended[: max(0, len(ended) - self.kept)] if one != keep]
        self.accounts.forget(volume, self.account(volume), self.kept, *old)
        for operation_id in old:
            self._store.remove(_name(operation_id))
        self._counts[volume] = self.kept

    def account(self, volume: str) -> Account:
        """One that begins now where there is none and none is missing. Raises Refused."""
        account = self.accounts.read(volume)
        if self._numbers().get(volume, 0) > (account.number if account else 0):
            raise lost(volume, "is older than its journals" if account else "is missing")
        return account or Account()

    def readable_account(self, volume: str) -> Account | None:
        try:
            return self.account(volume)
        except Refused:
            return None

    def require_account(self, volume: str) -> None:
        """Raises Refused (JOURNAL_LOST) where it is lost, or what belongs to it."""
        self.accounts.knows(volume, self.account(volume), "")

    def lost(self, volume: str) -> tuple[Finding, ...]:
        """As require_account, as findings."""
        try:
            self.require_account(volume)
        except Refused as exc:
            return exc.findings
        return ()

    def begin_anew(self, volume: str, epoch: int) -> None:
        """A person has said where the volume stands, or it was made. Durable on return."""
        known = (0, *self._numbers().values(), *self._other_accounts())
        self.accounts.begin_anew(volume, Account(number=max(known), epoch=epoch))

    def forget_numbers(self) -> None:
        """The files have changed by another way than this."""
        self._highest = None

    # --- inside ---------------------------------------------------------------------------------

    def _require_new(self, request: OperationRequest, owned: Epoch | None) -> None:
        """What is older than the volume's epoch, or another operation's, is refused as such when it
        is decided."""
        name, epoch = request.operation_id, request.epoch
        if epoch is not None and owned is not None:
            is_stale = epoch < owned.number
            is_others = epoch == owned.number and name != owned.operation_id
            epoch = None if is_stale or is_others else epoch
        self.require_unused(name, request.volume, epoch)

    def _turn(self, request: OperationRequest, phase: Phase, epoch: int) -> None:
        account = self.readable_account(request.volume)
        if account is not None and account.operation_id == request.operation_id:
            fresh = dataclasses.replace(account, phase=phase, epoch=max(epoch, account.epoch))
            self.accounts.write(request.volume, fresh)

    def _numbers(self) -> dict[str, int]:
        """The highest of each volume in the journals of this host."""
        if self._highest is None:
            entries = self.entries()
            self._counts = Counter(entry.request.volume for entry in entries)
            self._highest = {e.request.volume: e.number for e in entries if e.host == self._host}
        return self._highest

    def _other_accounts(self) -> Iterator[int]:
        """Their numbers: no two operations of a host have the same."""
        for name in self._store.names("account-"):
            with suppress(Refused):
                found = self.accounts.read(name.removeprefix("account-"))
                yield found.number if found else 0


def unfinished(journal: Journal) -> tuple[Entry, ...]:
    """What is to be gone on with: at most one of each volume. Looks, changes nothing."""
    return tuple(
        entry
        for entry in journal.entries()
        if entry.record is None
        and (account := journal.readable_account(entry.request.volume)) is not None
        and why_not_to_go_on(entry, account) == ""
    )


def why_not_to_go_on(entry: Entry, account: Account) -> str:
    """With an operation that has no end. Empty where it is to be gone on with."""
    if entry.number != account.number or entry.request.operation_id != account.operation_id:
        return "it has no end, and a newer operation of its volume was accepted"
    if account.phase is Phase.ENDED:
        return "it had ended, and its last records are lost"
    if account.phase is Phase.BEGUN and entry.plan is None:
        return "it had begun, and its last records are lost"
    if account.phase is Phase.UNDOING and not entry.undoing:
        return "it was being taken back, and its last records are lost"
    return ""


def damaged(name: str, why: str) -> OperationFailed:
    return OperationFailed(
        f"the journal {name} is damaged: {why}",
        remedy="see where the volume stands: storage-agent status; the daemon's next start sets "
        "the file aside: systemctl restart storage-agentd",
        code="JOURNAL_DAMAGED",
    )


def _name(operation_id: str) -> str:
    return f"operation-{operation_id}"


def _refused(finding: Finding) -> Refused:
    return Refused(finding.summary, remedy=finding.remedy, code=finding.code, findings=(finding,))
