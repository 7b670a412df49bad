"""By what it is known that the old primary does not write: the grant, a fence agent's word, or a
person's. A fence agent that cannot do its work stops nothing that another proof allows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from storage_agent.coordinator.deciding.arbiter import Grant
from storage_agent.coordinator.fencing import BESIDE_TIMEOUT_S, ONLY_PROOF_TIMEOUT_S, Fence
from storage_agent.coordinator.settings import Settings, VolumeSettings
from storage_agent.model.errors import AgentError, OperationFailed
from storage_agent.model.finding import Finding, blocker


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """By what it may be known. is_arbitrated: by the grant.  is_declared_off: by a person's word.
    on_text: gets what went wrong and stops nothing."""

    is_arbitrated: bool
    is_declared_off: bool
    fence: Fence | None
    on_text: Callable[[str], None]

    def may_come(self) -> bool:
        return self.is_arbitrated or self.is_declared_off or self.fence is not None

    def require(self, volume: VolumeSettings, grant: Grant, old: str) -> str:
        """In words. Raises OperationFailed (FENCING_FAILED): there is none."""
        other = ""
        if self.is_arbitrated:
            other = f"grant of epoch {grant.epoch}"
        elif self.is_declared_off:
            other = f"a person's word that {old} is off"
        if self.fence is None:
            return other
        try:
            fenced = self.fence(old, BESIDE_TIMEOUT_S if other else ONLY_PROOF_TIMEOUT_S)
        except AgentError as exc:
            if not other:
                raise OperationFailed(
                    f"{exc.message}; nothing was promoted, for nothing else proves it",
                    remedy=_power_remedy(volume, grant.host),
                    code="FENCING_FAILED",
                ) from exc
            self.on_text(f"fencing failed, goes on by {other}: {exc.message}")
            return other
        return f"{other}, {fenced}" if self.is_arbitrated else fenced


def wanted_proof(
    settings: Settings, volume: VolumeSettings, arbitration: str, old: str, *, is_guarded: bool
) -> str:
    """What will be asked for, in words. arbitration: empty where it is not known.
    is_guarded: the old host was seen to stand still without a grant."""
    fence = settings.hosts[old].fence
    if not arbitration:
        return ""
    if arbitration != "none" and is_guarded:
        beside = f"; {fence.agent} turns {old} off as well" if fence else ""
        return f"this coordinator's grant: {old} does not go on without one{beside}"
    person = f"a person powers {old} off and types its name"
    if fence:
        return f"{fence.agent} reports {old} off, or {person}"
    alone = "; `automatic` can do nothing here" if volume.automatic else ""
    return f"{person}: {_why(arbitration, old)}, and {old} has no fence agent{alone}"


def _why(arbitration: str, old: str) -> str:
    if arbitration == "none":
        return "nobody arbitrates"
    return f"{old} was not seen to stand still without a grant"


def person_needed(volume: VolumeSettings, target: str, arbitration: str) -> Finding:
    """Nothing could prove it."""
    old = volume.peer_of(target)
    return blocker(
        "PERSON_NEEDED",
        f"{_why(arbitration, old)}: {old} may be writing {volume.name} on alone, and neither a "
        "fence agent nor a person has said that it is off",
        measured=f'arbitration = "{arbitration}", {old} not seen to be guarded',
        limit=f"{old} is off",
        remedy=_power_remedy(volume, target),
    )


def _power_remedy(volume: VolumeSettings, target: str) -> str:
    return (
        f"turn {volume.peer_of(target)} off and make sure of it; then: "
        f"storage-coordinator failover {volume.key} --to {target}"
    )
