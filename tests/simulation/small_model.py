"""Every course of a small world: two hosts, their link, a coordinator, an admin, three grants.

What decides is the program's own: coordinator.arbiter and policy.epoch. Around it stands the least
that DRBD and the agents do: a primary that loses its peer freezes and asks; a promotion without
the peer wants a grant and a copy that was in sync until the loss; messages are lost, late, twice
and out of order; hosts crash at any moment. In every state that can be reached:

* at most one host writes, and
* whoever writes has every acknowledged write.

Bounded are the epochs (GRANTS) and what the admin does (ADMIN); CRASHES may be. Cuts, writes,
looks, messages and their repetitions are not: small_canonical.py says which worlds are one.

`python -m tests.simulation.small_walk [GRANTS ADMIN CRASHES]` (CRASHES -1: any number) walks all
of it and prints how much that was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import NamedTuple

from storage_agent.coordinator import arbiter
from storage_agent.coordinator.arbiter import Decision, GrantKind, Incident, State
from storage_agent.model.operation import Epoch, OperationRequest
from storage_agent.model.plan import OperationKind
from storage_agent.policy.epoch import epoch_findings

HOSTS = ("alpha", "beta")
ANY = -1


@dataclass(frozen=True, slots=True)
class Limits:
    """grants: epochs beyond the first.  admin: changes of ownership without the coordinator.
    crashes: ANY or how many."""

    grants: int = 3
    admin: int = 0
    crashes: int = 0


class Host(NamedTuple):
    """content: how many of the acknowledged writes it has.  evidence: in sync until the loss of
    the link, seen by a daemon that ran all the time.  incident: 0 for none; answered: it was.
    ended, refused: operations that were carried out, or were not; neither is begun again.
    clock: answers given in this boot."""

    up: bool = True
    primary: bool = False
    frozen: bool = False
    content: int = 0
    evidence: bool = True
    boot: int = 0
    epoch: int = 0
    owner: str = "start"
    incident: int = 0
    answered: bool = False
    ended: frozenset[str] = frozenset()
    refused: frozenset[str] = frozenset()
    clock: int = 0


class World(NamedTuple):
    """syncing: the host that receives. sent: every message that was ever sent; it may arrive at
    any time, any number of times, or never."""

    hosts: tuple[Host, Host]
    store: State
    link: bool = True
    syncing: int = -1
    acknowledged: int = 0
    crashes: int = 0
    admin: int = 0
    nonces: int = 0
    sent: frozenset[tuple[object, ...]] = frozenset()


@dataclass(frozen=True, slots=True)
class Rules:
    """What decides; replaced one by one to see that the checks notice."""

    incident: Callable[[State, Incident], Decision] = arbiter.decide_incident
    promotion: Callable[..., Decision] = arbiter.decide_promotion
    move: Callable[..., Decision] = arbiter.decide_move
    seen: Callable[..., State] = arbiter.seen_in_sync
    withdrawn: Callable[[State, int], State] = arbiter.withdrawn
    finished: Callable[..., State] = arbiter.finished
    agent_checks_epoch: bool = True
    withdraw_needs_claim: bool = True
    withdraw_asks_for_the_end: bool = True


Named = tuple[str, World]


def start() -> World:
    return World(hosts=(Host(primary=True), Host()), store=State(epoch=0, owner="alpha"))


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


def successors(world: World, rules: Rules, limits: Limits) -> Iterator[Named]:
    yield from _link(world)
    for number in (0, 1):
        yield from _host(world, number, limits)
        yield from _ask(world, number, rules, limits)
        yield from _admin(world, number, limits)
    for message in world.sent:
        yield from _arrive(world, message, rules)


def _put(world: World, number: int, host: Host, **more: object) -> World:
    hosts = (host, world.hosts[1]) if number == 0 else (world.hosts[0], host)
    return world._replace(hosts=hosts, **more)  # type: ignore[arg-type]


def _in_sync(world: World) -> bool:
    one, two = world.hosts
    return world.link and world.syncing < 0 and one.content == two.content


# --- the link and the hosts ----------------------------------------------------------------------


def _parted(world: World) -> World:
    """The link is gone: a primary that writes freezes and asks."""
    found = world._replace(link=False, syncing=-1)
    for number, host in enumerate(found.hosts):
        # A copy in the middle of a resync is of no use to anybody.
        kept = host._replace(evidence=host.evidence and world.syncing != number)
        if host.up and host.primary and not host.frozen:
            kept = kept._replace(frozen=True, incident=found.nonces + 1, answered=False)
            found = found._replace(nonces=found.nonces + 1)
        found = _put(found, number, kept)
    return found


def _link(world: World) -> Iterator[Named]:
    one, two = world.hosts
    if world.link:
        yield "cut", _parted(world)
        if world.syncing >= 0:
            source = world.hosts[1 - world.syncing]
            done = world.hosts[world.syncing]._replace(content=source.content)
            synced = _put(world, world.syncing, done, syncing=-1)
            first, second = (h._replace(evidence=True) for h in synced.hosts)
            yield "synced", synced._replace(hosts=(first, second))
        return
    if not (one.up and two.up) or (one.primary and two.primary):
        return
    for target in (0, 1):
        receiver, source = world.hosts[target], world.hosts[1 - target]
        # DRBD sees that a primary's data is the older one, and does not connect. Between two
        # secondaries with the same data either may be the one that is asked to receive.
        if receiver.content > source.content or receiver.primary:
            continue
        one, two = (h._replace(frozen=False, incident=0, answered=False) for h in world.hosts)
        broken = (one, two)[target]._replace(evidence=False)
        joined = world._replace(hosts=(one, two), link=True, syncing=target)
        yield f"connect, {HOSTS[target]} receives", _put(joined, target, broken)


def _host(world: World, number: int, limits: Limits) -> Iterator[Named]:
    host, name = world.hosts[number], HOSTS[number]
    if not host.up:
        fresh = host._replace(up=True, boot=host.boot + 1, evidence=False, clock=0)
        yield f"boot {name}", _put(world, number, fresh)
        return
    if limits.crashes == ANY or world.crashes < limits.crashes:
        gone = host._replace(
            up=False, primary=False, frozen=False, evidence=False, incident=0, answered=False
        )
        left = _put(world, number, gone, crashes=world.crashes + (limits.crashes != ANY))
        yield f"crash {name}", _parted(left) if world.link else left
    if host.primary and not host.frozen:
        count = world.acknowledged + 1
        wrote = _put(world, number, host._replace(content=host.content + 1), acknowledged=count)
        if world.link:
            peer = wrote.hosts[1 - number]
            # While it receives, its own count says nothing before the end.
            if world.syncing != 1 - number:
                wrote = _put(wrote, 1 - number, peer._replace(content=peer.content + 1))
        yield f"write {name}", wrote
    if world.store.sole == name:
        # What it tells may have been seen just now, or be older than everything.
        told = host._replace(clock=host.clock + 1)
        for taken, in_sync in ((told.clock, _in_sync(world)), (0, True)):
            message = ("seen", number, world.store.revision, host.boot, taken, told.clock, in_sync)
            yield f"tell {name} {taken}", _put(world, number, told, sent=world.sent | {message})


# --- the coordinator -----------------------------------------------------------------------------


def _ask(world: World, number: int, rules: Rules, limits: Limits) -> Iterator[Named]:
    host, name, store = world.hosts[number], HOSTS[number], world.store
    room = store.epoch < limits.grants
    if host.up and host.incident and not host.answered and room:
        asked = Incident(host=name, incident=str(host.incident), boot_id=str(host.boot),
                         epoch=host.epoch)  # fmt: skip
        decision = rules.incident(store, asked)
        if decision.grant is not None:
            message: tuple[object, ...] = ("continue", number, decision.grant.epoch, host.incident)
            yield f"grant continue {name}", _told(world, decision, message)
        elif decision.deny_epoch is not None:
            message = ("deny", number, decision.deny_epoch, host.incident)
            yield f"deny {name}", _told(world, decision, message)
    if room:
        # What agents would say of their epochs is left out: without it more is allowed.
        decision = rules.promotion(store, name, f"take-{store.epoch + 1}", {})
        if decision.grant is not None:
            grant = decision.grant
            yield (
                f"grant promote {name}",
                _told(world, decision, ("promote", number, grant.epoch, grant.operation_id)),
            )
        decision = rules.move(store, HOSTS[1 - number], name, f"move-{store.epoch + 1}", {})
        if decision.grant is not None:
            grant, op = decision.grant, decision.grant.operation_id
            moved = _told(world, decision, ("demote", 1 - number, grant.epoch, op))
            message = ("follow", number, grant.epoch, op)
            yield f"move to {name}", moved._replace(sent=moved.sent | {message})
    last = store.grant
    if last is not None and not last.is_done and last.host == name and host.up:
        is_known = last.operation_id in host.ended or host.owner == f"continue-{last.incident}"
        if is_known and last.kind is not GrantKind.MOVE:
            done = rules.finished(store, owner=name, unix_s=0)
            yield f"learn of {name}", world._replace(store=done)
    is_open = last is not None and last.kind is GrantKind.PROMOTE and not last.is_done
    if is_open and last is not None and last.host == name and host.up:
        if last.operation_id in host.ended and rules.withdraw_asks_for_the_end:
            return
        claim = f"withdraw-{last.operation_id}"
        if host.owner == claim or not rules.withdraw_needs_claim:
            yield f"withdraw {name}", world._replace(store=rules.withdrawn(store, host.epoch))
        elif room:
            claimed = replace(store, epoch=store.epoch + 1)
            message = ("claim", number, claimed.epoch, claim)
            yield f"claim {name}", world._replace(store=claimed, sent=world.sent | {message})


def _told(world: World, decision: Decision, message: tuple[object, ...]) -> World:
    """Stored first; whether the message ever arrives is another matter."""
    return world._replace(store=decision.state, sent=world.sent | {message})


def _admin(world: World, number: int, limits: Limits) -> Iterator[Named]:
    """A person at the host, connected and in sync, as the agents allow it without a coordinator."""
    host, peer, name = world.hosts[number], world.hosts[1 - number], HOSTS[number]
    if world.admin >= limits.admin or not host.up or not _in_sync(world):
        return
    if host.primary and not host.frozen:
        yield f"admin demotes {name}", _put(world, number, host._replace(primary=False))
    elif not host.primary and not peer.primary:
        fresh = host._replace(primary=True, epoch=host.epoch + 1, owner=f"admin-{world.admin}")
        yield f"admin promotes {name}", _put(world, number, fresh, admin=world.admin + 1)


# --- messages ------------------------------------------------------------------------------------


def _arrive(world: World, message: tuple[object, ...], rules: Rules) -> Iterator[Named]:
    kind, number, epoch = str(message[0]), _int(message[1]), _int(message[2])
    host, peer = world.hosts[number], world.hosts[1 - number]
    text = f"{kind} arrives at {HOSTS[number]}"
    if kind == "seen":
        if world.store.revision != epoch:
            return
        _, _, _, boot, taken, now, in_sync = message
        after = rules.seen(world.store, HOSTS[number], str(boot), taken_s=_int(taken),
                           now_s=_int(now), is_in_sync=bool(in_sync))  # fmt: skip
        if after != world.store:
            yield text, world._replace(store=after)
        return
    if not host.up:
        return
    if kind in ("continue", "deny"):
        nonce = message[3]
        # A nonce is of one boot.
        is_open = host.incident == nonce and not host.answered
        if is_open and accepts(host, epoch, f"{kind}-{nonce}", rules):
            goes_on = kind == "continue"
            answered = host._replace(answered=True, frozen=not goes_on)
            yield text, _put(world, number, _owned(answered, epoch, f"{kind}-{nonce}"))
        return
    operation = str(message[3])
    if operation in host.refused | host.ended or not accepts(host, epoch, operation, rules):
        return
    owned = _owned(host, epoch, operation)
    if kind == "claim":
        yield text, _put(world, number, owned)
    elif kind == "demote":
        if host.primary and not host.frozen and _in_sync(world):
            yield text, _put(world, number, owned._replace(primary=False))
    elif kind == "follow":
        if not host.primary and not peer.primary and _in_sync(world):
            yield text, _put(world, number, owned._replace(primary=True))
    elif not host.primary:
        assert kind == "promote"
        if not world.link and host.evidence:
            taken = owned._replace(primary=True, frozen=False, ended=host.ended | {operation})
            yield text, _put(world, number, taken)
        # And it may be refused for a reason of the host's own.
        yield (
            f"{text}: refused",
            _put(world, number, owned._replace(refused=host.refused | {operation})),
        )


def accepts(host: Host, epoch: int, operation: str, rules: Rules) -> bool:
    return not rules.agent_checks_epoch or _allowed(epoch, operation, host.epoch, host.owner)


@cache
def _allowed(epoch: int, operation: str, known: int, owner: str) -> bool:
    request = OperationRequest(
        kind=OperationKind.PROMOTE, volume="data", operation_id=operation, epoch=epoch
    )
    return not epoch_findings(request, Epoch(number=known, operation_id=owner))


def _owned(host: Host, epoch: int, operation: str) -> Host:
    return host._replace(epoch=epoch, owner=operation)


def _int(value: object) -> int:
    assert isinstance(value, int)
    return value
