"""The gate before users: parity, sync, a move that would succeed, capacity, an export that a client
has used; then a seal on both hosts. Nothing but the seals is changed.

Killed anywhere it is begun again: everything is looked at anew. What breaks a seal each agent sees
by itself, and says in every status.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass

from storage_agent.coordinator.coordinator import Coordinator
from storage_agent.coordinator.deciding.contradictions import contradictions
from storage_agent.coordinator.move_check import check_move
from storage_agent.coordinator.reaching.answers import config_of, facts_of
from storage_agent.coordinator.requirements import require_epochs
from storage_agent.coordinator.settings import VolumeSettings
from storage_agent.coordinator.views import SEAL_CODES, HostView, VolumeView
from storage_agent.model.errors import AgentError, OperationFailed, Refused
from storage_agent.model.finding import Finding, Severity, blocker, blockers, warning
from storage_agent.model.seal import SealFacts
from storage_agent.model.wire import to_wire

SECTOR_BYTES = 512
# Elsewhere they only warn.
_PARITY = frozenset({"CONFIG_DIFFERS", "VERSION_DIFFERS", "MOVE_UNFINISHED"})

PROOF_BYTES = 16 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """What a client is to do with the export of `path` at `address`: make the new file `name`
    there with this content (lines of text), and read it back."""

    address: str
    path: str
    name: str
    content: bytes


# Returns the client's name. Raises AgentError: the export cannot be used.
Prove = Callable[[Errand], str]
OnText = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """client: that has used the export; empty where nothing is exported.  findings: warnings that
    are left.  is_already: both hosts were sealed, and show what was sealed."""

    volume: str
    epoch: int
    client: str
    findings: tuple[Finding, ...]
    is_already: bool


def go_live(
    coordinator: Coordinator,
    volume: VolumeSettings,
    prove: Prove,
    on_text: OnText = lambda _text: None,
) -> Live:
    """Raises Refused with all that is in the way, and the agents' own errors."""
    view = coordinator.look(volume)
    state = require_epochs(view)
    left = _require_pair(coordinator, view)
    primary = view.primary()
    assert primary is not None
    on_text("pair: versions and configurations are the same, both copies in sync")
    on_text(f"move: a switchover to {volume.peer_of(primary.host)} would succeed")
    facts = {host: _facts(coordinator, volume, host) for host in volume.hosts}
    _refuse(volume, _capacity(volume, facts))
    left = (*left, *_growth(volume, facts))
    on_text(f"capacity: array {_size(facts, 'array')}, replica {_size(facts, 'replica')}, on both")
    on_text(f"growth: {_rooms(volume, facts)}")
    seal = primary.seal
    if view.is_sealed and seal is not None:
        return Live(
            volume=volume.key, epoch=seal.epoch, client=seal.client, findings=left, is_already=True
        )
    client = _proved(coordinator, volume, primary.host, prove)
    on_text(f"export: {client} has written and read" if client else "export: none is configured")
    for host in volume.hosts:
        sealed = {
            "volume": volume.name,
            "epoch": state.epoch,
            "coordinator": state.coordinator,
            "client": client,
        }
        coordinator.fleet.ask(host, "seal.set", {**sealed, "facts": to_wire(facts[host])})
        on_text(f"seal: recorded on {host}")
    return Live(
        volume=volume.key, epoch=state.epoch, client=client, findings=left, is_already=False
    )


def _require_pair(coordinator: Coordinator, view: VolumeView) -> tuple[Finding, ...]:
    """The warnings that are left. Raises Refused."""
    primary = view.primary()
    found = [finding for finding in contradictions(view) if finding.code not in SEAL_CODES]
    for host in view.hosts:
        found += _verdict(host)
    if primary is not None:
        found += check_move(coordinator, view, view.volume.peer_of(primary.host)).findings
    elif not blockers(tuple(found)):
        found.append(
            blocker(
                "NO_PRIMARY",
                f"which host serves {view.volume.name} cannot be told",
                measured=", ".join(f"{host.host}: {host.role}" for host in view.hosts),
                limit="one Primary",
                remedy=f"storage-coordinator status {view.volume.key}",
            )
        )
    once = tuple(dict.fromkeys(found))
    _refuse(view.volume, tuple(f for f in once if f.code in _PARITY) + blockers(once))
    return once


def _verdict(host: HostView) -> list[Finding]:
    """What the agent itself says against its host, but for the want of a seal."""
    given = host.verdict.findings if host.verdict else ()
    return [f for f in given if f.code not in SEAL_CODES and f.severity is not Severity.NOTE]


def _facts(coordinator: Coordinator, volume: VolumeSettings, host: str) -> SealFacts:
    facts = facts_of(host, coordinator.fleet.ask(host, "seal.show", {"volume": volume.name}))
    if facts is None:
        raise Refused(
            f"{host} cannot see array and replica of {volume.name}, with their sizes",
            remedy=f"on {host}: storage-agent status {volume.name}",
            code="UNOBSERVED",
        )
    return facts


def _capacity(volume: VolumeSettings, facts: dict[str, SealFacts]) -> tuple[Finding, ...]:
    """By the sector: what the smaller side lacks now, the larger one cannot grow to later."""
    one, two = (facts[host] for host in volume.hosts)
    found = []
    for what, sizes in (
        ("array", (one.array_bytes, two.array_bytes)),
        ("replica", (one.replica_bytes, two.replica_bytes)),
    ):
        if sizes[0] != sizes[1]:
            small = volume.hosts[0] if sizes[0] < sizes[1] else volume.hosts[1]
            found.append(
                blocker(
                    "CAPACITY_DIFFERS",
                    f"the {what} of {volume.name} is smaller on {small}: a failover to it, or "
                    "growing the volume, would not find the space",
                    measured=", ".join(
                        f"{host}: {_sectors(size)}"
                        for host, size in zip(volume.hosts, sizes, strict=True)
                    ),
                    limit="the same number of sectors",
                    remedy=f"give {small} disks as many and as large as its peer's, then on "
                    f"{small}: storage-agent plan create {volume.name} --join",
                )
            )
    return tuple(found)


def _growth(volume: VolumeSettings, facts: dict[str, SealFacts]) -> tuple[Finding, ...]:
    """What the disks of one side would not follow, in warnings: today both sides are as large."""
    rooms = {host: facts[host].possible_array_bytes for host in volume.hosts}
    known = {host: room for host, room in rooms.items() if room is not None}
    if unknown := [host for host in volume.hosts if host not in known]:
        return (
            warning(
                "GROWTH_UNKNOWN",
                f"how far {volume.name} could grow is not known of {' and '.join(unknown)}",
                measured=_rooms(volume, facts),
                limit="both hosts show the room on each member of the array",
                remedy=f"on {unknown[0]}: storage-agent status {volume.name}",
            ),
        )
    small = min(known, key=lambda host: known[host])
    large = volume.peer_of(small)
    if known[small] == known[large]:
        return ()
    return (
        warning(
            "GROWTH_DIFFERS",
            f"the disks of {small} limit {volume.name}: {large} has room for "
            f"{known[large] - known[small]} bytes more",
            measured=_rooms(volume, facts),
            limit="the same room on both",
            remedy=f"before {volume.name} is to grow, on {small}, disk after disk: "
            f"mdadm /dev/md/{volume.name} --replace OLD --with LARGER",
        ),
    )


def _rooms(volume: VolumeSettings, facts: dict[str, SealFacts]) -> str:
    rooms = ((host, facts[host].possible_array_bytes) for host in volume.hosts)
    return ", ".join(
        f"{host}: array up to {'an unknown size' if room is None else _sectors(room)}"
        for host, room in rooms
    )


def _proved(
    coordinator: Coordinator, volume: VolumeSettings, primary: str, prove: Prove
) -> str:  # fmt: skip
    config = config_of(primary, coordinator.fleet.ask(primary, "config.show"), volume.name)
    if config.nfs is None:
        return ""
    errand = Errand(
        address=config.nfs.address.partition("/")[0],
        path=config.mount_point,
        name=f"proof-{coordinator.new_id()}",
        content=os.urandom(PROOF_BYTES // 2).hex("\n", 32).encode() + b"\n",
    )
    client = prove(errand)
    _require_written(coordinator, volume, primary, client, errand)
    return client


def _require_written(
    coordinator: Coordinator, volume: VolumeSettings, primary: str, client: str, errand: Errand
) -> None:
    """The client has read what it wrote: from this volume? Raises OperationFailed."""
    asked = {"volume": volume.name, "name": errand.name}
    try:
        answer = coordinator.fleet.ask(primary, "proof.take", asked)
        found = answer.get("sha256") if isinstance(answer, dict) else answer
    except AgentError as exc:
        if exc.code != "NO_PROOF":
            raise
        found = exc.message
    if found == hashlib.sha256(errand.content).hexdigest():
        return
    raise OperationFailed(
        f"{client} has written and read at {errand.address}:{errand.path}, and {primary} has not "
        f"got it: {str(found)[:200]!a}",
        remedy=f"another machine answers at that address, or another folder is exported: on the "
        f"client: ip neighbour show {errand.address}; on {primary}: storage-agent status "
        f"{volume.name}",
        code="EXPORT_UNPROVEN",
    )


def _refuse(volume: VolumeSettings, found: tuple[Finding, ...]) -> None:
    if found:
        raise Refused(
            f"{volume.key} cannot go live: {found[0].summary}",
            remedy=found[0].remedy,
            code=found[0].code,
            findings=found,
        )


def _size(facts: dict[str, SealFacts], what: str) -> str:
    (one, *_) = facts.values()
    return _sectors(one.array_bytes if what == "array" else one.replica_bytes)


def _sectors(size_bytes: int) -> str:
    return f"{size_bytes // SECTOR_BYTES} sectors ({size_bytes} bytes)"
