"""What a host's sshd does with a coordinator that logs in."""

from __future__ import annotations

from dataclasses import dataclass

USER = "storage-agent"
SHELL = "/usr/lib/storage-agent/gateway"
KEYS = "/etc/storage-agent/authorized_keys"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """is_locked: its password's field begins with `!`.  is_expired: by its date in shadow(5)."""

    shell: str
    groups: tuple[str, ...]
    is_locked: bool
    is_expired: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SshdView:
    """settings: of `sshd -T` for the user, option in lower case -> a value a line.  account: None:
    there is no such user.  addresses: where coordinators' keys may be used from."""

    settings: dict[str, tuple[str, ...]]
    account: Account | None
    addresses: tuple[str, ...] = ()

    def one(self, option: str) -> str:
        """Empty where this sshd does not have the option."""
        return self.settings.get(option, ("",))[0]
