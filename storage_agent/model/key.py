"""SSH keys that may talk to the agent."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class KeyRole(StrEnum):
    """What an SSH key may be bound to: sshd's forced command says which, the gateway repeats it.

    observe: reads.  operate: also moves volumes, and lets one go on alone and come back; where a
    coordinator arbitrates, in an epoch that was granted only.  grant: also answers incidents, and
    gives epochs.
    """

    OBSERVE = "observe"
    OPERATE = "operate"
    GRANT = "grant"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKey:
    """kind: `ssh-ed25519` …  material: base64.  fingerprint: as `ssh-keygen -l` shows it.
    comment: printable, may be empty."""

    kind: str
    bits: int
    material: str
    fingerprint: str
    comment: str

    @property
    def key_id(self) -> str:
        """The beginning of the fingerprint: found again in sshd's own log by it."""
        return self.fingerprint[: len("SHA256:") + 16]


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizedKey:
    """addresses: where it may come from, addresses and networks; empty: from anywhere."""

    key: PublicKey
    role: KeyRole
    addresses: tuple[str, ...] = ()
