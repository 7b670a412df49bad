"""Frozen primaries ask, this answers: decided by the arbiter, durable before it is sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from storage_agent.coordinator.coordinator import Coordinator
from storage_agent.coordinator.deciding.arbiter import Decision, Incident, State, decide_incident
from storage_agent.coordinator.settings import VolumeSettings
from storage_agent.coordinator.withdrawal import withdraw
from storage_agent.model.errors import AgentError

OPEN = "none"
# Why an agent refuses to go on alone, and will go on refusing.
_FOR_GOOD = frozenset({"DISK_NOT_UPTODATE"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """verdict: `continue`, `deny`, or empty where none could be given. why: in words."""

    volume: str
    host: str
    incident: str
    verdict: str
    why: str


def answer_incidents(coordinator: Coordinator, host: str) -> list[Answered]:
    """All that are open on this host. Raises AgentError where they cannot be asked for."""
    listed = coordinator.fleet.ask(host, "incident.list")
    answered = []
    for item in _items(listed):
        volume = _volume_of(coordinator, host, item)
        if volume is not None and item.get("answer") == OPEN:
            answered.append(_answer(coordinator, volume, host, item))
    return answered


def _items(listed: Any) -> list[dict[str, Any]]:
    items = listed.get("incidents") if isinstance(listed, dict) else None
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise AgentError("a list of incidents is wanted", code="PROTOCOL")
    return items


def _volume_of(
    coordinator: Coordinator, host: str, item: dict[str, Any]
) -> VolumeSettings | None:  # fmt: skip
    for volume in coordinator.settings.volumes.values():
        if host in volume.hosts and volume.name == item.get("volume"):
            return volume
    return None


def _answer(
    coordinator: Coordinator, volume: VolumeSettings, host: str, item: dict[str, Any]
) -> Answered:
    nonce, boot_id, epoch = item.get("incident"), item.get("boot_id"), item.get("epoch")
    if not isinstance(nonce, str) or not isinstance(boot_id, str) or type(epoch) is not int:
        why = "the host has no usable epoch of it" if epoch is None else "it is not understood"
        return _told(volume, host, str(nonce)[:64], "", why)
    incident = Incident(host=host, incident=nonce, boot_id=boot_id, epoch=epoch)

    def rule(state: State) -> Decision:
        return decide_incident(state, incident)

    grant = None
    try:
        decision = coordinator.decide(volume, rule)
        grant = decision.grant
        verdict, number = "continue", grant.epoch if grant else 0
        if decision.deny_epoch is not None:
            verdict, number = "deny", decision.deny_epoch
        coordinator.fleet.ask(
            host,
            "incident.answer",
            {
                "volume": volume.name,
                "incident": nonce,
                "boot_id": boot_id,
                "epoch": number,
                "coordinator": decision.state.coordinator,
                "verdict": verdict,
            },
        )
        if verdict == "continue":
            coordinator.finish(volume, host, number)
    except AgentError as exc:
        why = f"{exc.code}: {exc.message}" + (f"; {exc.remedy}" if exc.remedy else "")
        if exc.code in _FOR_GOOD and grant is not None and withdraw(coordinator, volume, grant):
            peer = volume.peer_of(host)
            why += f"; {peer} may take over: storage-coordinator failover {volume.key} --to {peer}"
        return _told(volume, host, nonce, "", why)
    return _told(volume, host, nonce, verdict, f"epoch {number}")


def _told(volume: VolumeSettings, host: str, incident: str, verdict: str, why: str) -> Answered:
    return Answered(volume=volume.key, host=host, incident=incident, verdict=verdict, why=why)
