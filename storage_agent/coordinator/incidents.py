"""Frozen primaries ask, this answers: decided by the arbiter, durable before it is sent.

A host can ask as often as it likes, and with as many names of incidents. What that costs is bounded
here: an incident is answered in one epoch, a new one costs an epoch only where the host itself
shows a frozen primary, and so many of them only in a while.
"""

from __future__ import annotations

from dataclasses import dataclass

from storage_agent.coordinator.coordinator import INCIDENT_EVERY_S, Coordinator
from storage_agent.coordinator.deciding.arbiter import (
    Decision,
    Grant,
    GrantKind,
    Incident,
    State,
    decide_incident,
)
from storage_agent.coordinator.reaching.answers import AskedIncident, incidents_of
from storage_agent.coordinator.settings import VolumeSettings
from storage_agent.coordinator.views import host_view
from storage_agent.coordinator.withdrawal import withdraw
from storage_agent.model.clock import Deadline
from storage_agent.model.errors import AgentError

# Its agent sees the incident's file and the kernel's events each by itself.
LAG_S = 0.9
LAG_POLL_S = 0.3
# Why an agent refuses to go on alone, and will go on refusing.
_FOR_GOOD = frozenset({"DISK_NOT_UPTODATE"})
# It has heard something newer since it was denied.
_OVERTAKEN = frozenset({"STALE_EPOCH"})


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
    listed = incidents_of(host, coordinator.fleet.ask(host, "incident.list"))
    answered = []
    for volume in coordinator.settings.volumes.values():
        asked = listed.get(volume.name) if host in volume.hosts else None
        if isinstance(asked, AgentError):
            answered.append(_told(volume, host, "", "", asked.message))
        elif asked is not None and asked.is_open:
            answered.append(_answer(coordinator, volume, host, asked))
    return answered


def _answer(
    coordinator: Coordinator, volume: VolumeSettings, host: str, asked: AskedIncident
) -> Answered:
    if asked.epoch is None:
        return _told(volume, host, asked.incident, "", "the host has no usable epoch of it")
    incident = Incident(
        host=host, incident=asked.incident, boot_id=asked.boot_id, epoch=asked.epoch
    )
    grant = None
    try:
        if why := _unfounded(coordinator, volume, incident):
            return _told(volume, host, asked.incident, "", why)
        verdict, number, grant, name = _decide(coordinator, volume, incident)
        coordinator.fleet.ask(
            host,
            "incident.answer",
            {
                "volume": volume.name,
                "incident": incident.incident,
                "boot_id": incident.boot_id,
                "epoch": number,
                "coordinator": name,
                "verdict": verdict,
            },
        )
        if verdict == "continue":
            coordinator.finish(volume, host, number)
    except AgentError as exc:
        why = f"{exc.code}: {exc.message}" + (f"; {exc.remedy}" if exc.remedy else "")
        if exc.code in _OVERTAKEN:
            coordinator.denied.pop((volume.key, host), None)
        if exc.code in _FOR_GOOD and grant is not None and withdraw(coordinator, volume, grant):
            peer = volume.peer_of(host)
            why += f"; {peer} may take over: storage-coordinator failover {volume.key} --to {peer}"
        return _told(volume, host, asked.incident, "", why)
    return _told(volume, host, asked.incident, verdict, f"epoch {number}")


def _unfounded(coordinator: Coordinator, volume: VolumeSettings, incident: Incident) -> str:
    """Why a new incident gets no epoch; empty where it does, and where it has one. Raises
    AgentError."""
    host, state = incident.host, coordinator.store.get(volume.key)
    grant = state.grant if state else None
    is_granted = (
        grant is not None
        and (grant.kind, grant.host) == (GrantKind.CONTINUE, host)
        and grant.incident == incident.incident
    )
    if is_granted or _denied_epoch(coordinator, volume, incident) is not None:
        return ""
    if not _shows_frozen(coordinator, volume, host):
        return f"{host} does not show {volume.name} as a frozen primary"
    if not coordinator.incident_budget.take((volume.key, host), coordinator.clock.monotonic()):
        return (
            f"{host} opens one incident of {volume.name} after the other: one in "
            f"{INCIDENT_EVERY_S:g} s is answered"
        )
    return ""


def _shows_frozen(coordinator: Coordinator, volume: VolumeSettings, host: str) -> bool:
    """What it shows of itself may lag a little behind what it asks. Raises AgentError."""
    deadline = Deadline.after(coordinator.clock, LAG_S)
    while True:
        view = host_view(volume.name, host, coordinator.fleet.status(host))
        if view.is_primary and view.is_frozen:
            return True
        if deadline.passed(coordinator.clock):
            return False
        coordinator.clock.sleep(LAG_POLL_S)


def _denied_epoch(
    coordinator: Coordinator, volume: VolumeSettings, incident: Incident
) -> int | None:  # fmt: skip
    nonce, epoch = coordinator.denied.get((volume.key, incident.host), ("", 0))
    return epoch if nonce == incident.incident else None


def _decide(
    coordinator: Coordinator, volume: VolumeSettings, incident: Incident
) -> tuple[str, int, Grant | None, str]:
    """Verdict, epoch, grant, and the name that the host knows us by. Raises Refused."""
    told_epoch = _denied_epoch(coordinator, volume, incident)

    def rule(state: State) -> Decision:
        decision = decide_incident(state, incident)
        if told_epoch is not None and decision.deny_epoch is not None:
            # The same word again, which takes no other epoch.
            return Decision(state=state, deny_epoch=told_epoch)
        return decision

    decision = coordinator.decide(volume, rule)
    name = decision.state.coordinator
    if decision.deny_epoch is not None:
        coordinator.denied[volume.key, incident.host] = (incident.incident, decision.deny_epoch)
        return "deny", decision.deny_epoch, None, name
    assert decision.grant is not None
    return "continue", decision.grant.epoch, decision.grant, name


def _told(volume: VolumeSettings, host: str, incident: str, verdict: str, why: str) -> Answered:
    return Answered(volume=volume.key, host=host, incident=incident, verdict=verdict, why=why)
