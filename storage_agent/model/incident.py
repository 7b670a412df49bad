"""A frozen primary that asks what to do, and what the coordinator has said (design section 6)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

# Ends a freeze whose primary was replaced: it cannot be demoted, for frozen writes never end, and
# systemd's orderly way waits for them for minutes (measured: seven).
REBOOT_FROZEN = "reboot --force --no-sync"


class IncidentAnswer(StrEnum):
    """NONE: it waits. CONTINUE: it goes on alone. DENY: the other side was chosen."""

    NONE = "none"
    CONTINUE = "continue"
    DENY = "deny"


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """What the fence-peer handler has opened for one volume; the newest one only.

    incident: its nonce.  epoch: of the answer; while there is none, the volume's on this host
    (None: its file is missing or damaged, or nobody has filled it in yet).
    """

    incident: str
    volume: str
    resource: str
    boot_id: str
    opened_unix_s: int
    epoch: int | None
    answer: IncidentAnswer


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """The coordinator's word that the other side does not write and will not: for one promote,
    named by its epoch and operation id, in this boot of the host only."""

    volume: str
    epoch: int
    operation_id: str
    boot_id: str
