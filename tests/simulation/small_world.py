"""What the small model knows: hosts, their link, the coordinators' records, and what was sent.

What the agents durably know is engine.epoch's own, on a store in memory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

from storage_agent.coordinator.deciding import arbiter, claims
from storage_agent.coordinator.deciding.arbiter import Decision, Grant, Incident, State
from storage_agent.coordinator.deciding.claims import Shown
from storage_agent.engine.epoch import EpochStore
from storage_agent.model.errors import Refused
from storage_agent.model.operation import Epoch, OperationRequest
from storage_agent.model.plan import OperationKind

HOSTS = ("alpha", "beta")
COORDINATORS = ("first", "second")
ANY = -1
# Each kind has a shape of its own: see where it arrives.
Message = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Limits:
    """grants: epochs beyond the first.  admin: changes of ownership without the coordinator.
    crashes: ANY or how many.  adoptions: how often a coordinator takes the volume over, the first
    one or a second one with an old copy of its record or none."""

    grants: int = 3
    admin: int = 0
    crashes: int = 0
    adoptions: int = 0


class Host(NamedTuple):
    """content: how many of the acknowledged writes it has.  evidence: in sync until the loss of
    the link, seen by a daemon that ran all the time.  incident: 0 for none; answered: it was.
    epoch, owner, coordinator: as in model.operation.Epoch.  ended, refused: operations that were
    carried out, or were not; neither is begun again.  clocks: answers given to each coordinator in
    this boot."""

    up: bool = True
    primary: bool = False
    frozen: bool = False
    content: int = 0
    evidence: bool = True
    boot: int = 0
    epoch: int = 0
    owner: str = "start"
    coordinator: str = COORDINATORS[0]
    incident: int = 0
    answered: bool = False
    ended: frozenset[str] = frozenset()
    refused: frozenset[str] = frozenset()
    clocks: tuple[int, int] = (0, 0)


class World(NamedTuple):
    """syncing: the host that receives. sent: every message that was ever sent; it may arrive at
    any time, any number of times, or never.

    stores: the coordinators' records; None for one that has none.  adoptions: begun so far.
    heard: (coordinator, host) that has accepted its open claim.  shown: what alpha has shown to
    each coordinator since both did."""

    hosts: tuple[Host, Host]
    stores: tuple[State | None, State | None]
    link: bool = True
    syncing: int = -1
    acknowledged: int = 0
    crashes: int = 0
    admin: int = 0
    nonces: int = 0
    sent: frozenset[Message] = frozenset()
    adoptions: int = 0
    heard: frozenset[tuple[int, int]] = frozenset()
    shown: tuple[Shown | None, Shown | None] = (None, None)


@dataclass(frozen=True, slots=True)
class Rules:
    """What decides; replaced one by one to see that the checks notice."""

    incident: Callable[[State, Incident], Decision] = arbiter.decide_incident
    promotion: Callable[..., Decision] = arbiter.decide_promotion
    move: Callable[..., Decision] = arbiter.decide_move
    seen: Callable[..., State] = arbiter.seen_in_sync
    withdrawn: Callable[[State, int], State] = arbiter.withdrawn
    finished: Callable[..., State] = arbiter.finished
    claim: Callable[..., Decision] = claims.decide_claim
    adopted: Callable[..., State] = claims.adopted
    agent_checks_epoch: bool = True
    agent_checks_coordinator: bool = True
    withdraw_needs_claim: bool = True
    withdraw_asks_for_the_end: bool = True
    adoption_needs_both: bool = True
    alone_needs_proof: bool = True
    adoption_looks_again: bool = True
    settles: bool = True
    settling_needs_claim: bool = True


Named = tuple[str, World]


def start() -> World:
    first = State(epoch=0, owner="alpha", coordinator=COORDINATORS[0])
    return World(hosts=(Host(primary=True), Host()), stores=(first, None))


def writers(world: World) -> list[Host]:
    return [h for h in world.hosts if h.up and h.primary and not h.frozen]


def problem(world: World) -> str:
    """Empty where both invariants hold."""
    found = writers(world)
    if len(found) > 1:
        return "two hosts write"
    if any(host.content < world.acknowledged for host in found):
        return "a host writes that lacks an acknowledged write"
    return ""


def put(world: World, number: int, host: Host, **more: object) -> World:
    hosts = (host, world.hosts[1]) if number == 0 else (world.hosts[0], host)
    return world._replace(hosts=hosts, **more)  # type: ignore[arg-type]


def stored(world: World, who: int, store: State, *messages: Message) -> World:
    """Durable first; whether a message ever arrives is another matter."""
    stores = (store, world.stores[1]) if who == 0 else (world.stores[0], store)
    return world._replace(stores=stores, sent=world.sent | set(messages))


def in_sync(world: World) -> bool:
    one, two = world.hosts
    return world.link and world.syncing < 0 and one.content == two.content


def is_own(store: State | None, who: int) -> bool:
    """Whether it has been this coordinator's from its adoption on, and is no copy."""
    return store is not None and store.coordinator.startswith(COORDINATORS[who])


def withdrawal_of(grant: Grant) -> str:
    """The claim by which it is taken back."""
    return f"withdraw-{grant.operation_id or grant.epoch}"


# --- what an agent takes --------------------------------------------------------------------------


def taken(
    host: Host,
    epoch: int,
    operation: str,
    coordinator: str,
    rules: Rules,
    *,
    claims: bool = False,
    succeeds: str | None = None,
) -> Host | None:
    """The host once it has accepted this; None where it refuses."""
    known = host.coordinator if rules.agent_checks_coordinator else coordinator
    if not rules.agent_checks_epoch:
        found: tuple[int, str, str] | None = (epoch, operation, coordinator)
    else:
        found = _known_then(
            host.epoch, host.owner, known, epoch, operation, coordinator, succeeds, claims
        )  # fmt: skip
    if found is None:
        return None
    return host._replace(epoch=found[0], owner=found[1], coordinator=found[2])


class _Memory:
    """As much of a store as an epoch needs."""

    def __init__(self) -> None:
        self.content: bytes | None = None

    def read(self, name: str) -> bytes | None:
        return self.content

    def replace(self, name: str, content: bytes) -> None:
        self.content = content


@cache
def _known_then(
    number: int,
    owner: str,
    known: str,
    epoch: int,
    operation: str,
    coordinator: str,
    succeeds: str | None,
    claims: bool,
) -> tuple[int, str, str] | None:
    epochs = EpochStore(_Memory())  # type: ignore[arg-type]
    epochs.write("data", Epoch(number=number, operation_id=owner, coordinator=known))
    request = OperationRequest(
        kind=OperationKind.PROMOTE,
        volume="data",
        operation_id=operation,
        epoch=epoch,
        coordinator=coordinator,
    )
    try:
        if claims:
            epochs.claim(request, succeeds)
        else:
            epochs.own(request, epoch)
    except Refused:
        return None
    after = epochs.read("data")
    return after.number, after.operation_id, after.coordinator
