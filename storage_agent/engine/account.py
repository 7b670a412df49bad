"""What this host durably knows of the order of its operations, apart from their journals.

A journal file can lose its end, come back from a backup, or be gone: read alone, an operation that
ended long ago looks interrupted, and one that is forgotten looks as if it had never been. So each
volume has an account: which operation was accepted last and how far it is, counted and not timed;
the highest epoch that an operation has taken; and short digests of the ids that were forgotten.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from dataclasses import dataclass
from enum import StrEnum

from storage_agent.engine.sealed import pack, unpack
from storage_agent.model.errors import Refused
from storage_agent.model.ports import Store
from storage_agent.policy.history import account_lost

# Digests that are kept of each volume: beyond, only those with an epoch are still told apart.
REMEMBERED_IDS = 5000
_KEYS = ("number", "operation_id", "phase", "epoch", "recent", "forgotten")
_DIGEST = re.compile(r"[0-9a-f]{16}")


class Phase(StrEnum):
    """BEGUN: it has taken its epoch.  UNDOING: it is being taken back: walked forward again it
    would do what has failed."""

    ACCEPTED = "accepted"
    BEGUN = "begun"
    UNDOING = "undoing"
    ENDED = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """number: of the operation accepted last, counted on this host.  epoch: highest that an
    operation here has taken; -1: none.  recent: digests of what was accepted, oldest first.
    forgotten: how many older ones the other file has at least."""

    number: int = 0
    operation_id: str = ""
    phase: Phase = Phase.ENDED
    epoch: int = -1
    recent: tuple[str, ...] = ()
    forgotten: int = 0

    def accepts(self, number: int, operation_id: str) -> Account:
        return dataclasses.replace(
            self,
            number=number,
            operation_id=operation_id,
            phase=Phase.ACCEPTED,
            recent=(*self.recent, digest(operation_id)),
        )


class Accounts:
    """Files `account-VOLUME` and `forgotten-VOLUME`. Writers of one volume come one by one."""

    def __init__(self, store: Store, host: str) -> None:
        self._store = store
        self._host = host
        self._digests: dict[str, frozenset[str]] = {}

    def read(self, volume: str) -> Account | None:
        """None where there is no file. Raises Refused (JOURNAL_LOST)."""
        content = self._store.read(f"account-{volume}")
        if content is None:
            return None
        try:
            value = unpack(content, frozenset(_KEYS), host=self._host, volume=volume)
            recent = tuple(value["recent"])
            found = Account(**value | {"phase": Phase(value["phase"]), "recent": recent})
            if not _is_sound(found):
                raise ValueError("values")
        except (ValueError, KeyError, TypeError):
            raise lost(volume, "is damaged, or was written for another host or volume") from None
        return found

    def write(self, volume: str, account: Account) -> None:
        """Durable on return."""
        value = {key: getattr(account, key) for key in _KEYS}
        value |= {"host": self._host, "volume": volume}
        self._store.replace(f"account-{volume}", pack(value))

    def knows(self, volume: str, account: Account, operation_id: str) -> bool:
        """Was it accepted here? Raises Refused (JOURNAL_LOST) where the digests are not all
        there."""
        if volume not in self._digests:
            self._digests[volume] = frozenset(self._forgotten(volume, account))
        wanted = digest(operation_id)
        return wanted in account.recent or wanted in self._digests[volume]

    def forget(self, volume: str, account: Account, kept: int, *also: str) -> None:
        """All but the newest ids become forgotten ones, and these, before their journals go.
        Durable on return. Raises Refused, OperationFailed."""
        split = max(0, len(account.recent) - kept)
        digests = [*self._forgotten(volume, account), *account.recent[:split]]
        digests += [digest(operation_id) for operation_id in also]
        digests = list(dict.fromkeys(digests))[-REMEMBERED_IDS:]
        # A power cut in between leaves some twice, and none out.
        count = min(account.forgotten, len(digests))
        self.write(volume, dataclasses.replace(account, forgotten=count))
        self._store.replace(f"forgotten-{volume}", "".join(f"{d}\n" for d in digests).encode())
        self._digests[volume] = frozenset(digests)
        fresh = dataclasses.replace(account, recent=account.recent[split:], forgotten=len(digests))
        self.write(volume, fresh)

    def begin_anew(self, volume: str, account: Account) -> None:
        """A person has said where it stands; what was known before is given up."""
        self._store.remove(f"forgotten-{volume}")
        self._digests.pop(volume, None)
        self.write(volume, account)

    def _forgotten(self, volume: str, account: Account) -> list[str]:
        content = self._store.read(f"forgotten-{volume}") or b""
        found = content.decode("ascii", "replace").split("\n")[:-1]
        if len(found) < account.forgotten or not all(map(_DIGEST.fullmatch, found)):
            raise lost(volume, f"does not go with forgotten-{volume}")
        return found


def lost(volume: str, what: str) -> Refused:
    finding = account_lost(volume, what)
    return Refused(finding.summary, remedy=finding.remedy, code=finding.code, findings=(finding,))


def _is_sound(account: Account) -> bool:
    numbers = (account.number, account.epoch, account.forgotten)
    return (
        all(type(number) is int for number in numbers)
        and account.number >= 0
        and account.forgotten >= 0
        and isinstance(account.operation_id, str)
        and all(isinstance(d, str) and _DIGEST.fullmatch(d) for d in account.recent)
    )


def digest(operation_id: str) -> str:
    return hashlib.sha256(operation_id.encode()).hexdigest()[:16]
