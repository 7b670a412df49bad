"""Every course of a small world: two hosts, their link, one or two coordinators, an admin.

What decides is the program's own: coordinator.arbiter, policy.epoch and engine.epoch. Around it
stands the least that DRBD and the agents do: a primary that loses its peer freezes and asks; a
promotion without the peer wants a grant and a copy that was in sync until the loss; messages are
lost, late, twice and out of order; hosts crash at any moment; a host may refuse for good what it
was granted. In every state that can be reached:

* at most one host writes, and
* whoever writes has every acknowledged write.

Bounded are the epochs (GRANTS), what the admin does (ADMIN) and how often a coordinator takes the
volume over (ADOPTIONS); CRASHES may be. Cuts, writes, looks, messages and their repetitions are
not: small_canonical.py says which worlds are one.

`python -m tests.simulation.small_walk [GRANTS ADMIN CRASHES ADOPTIONS]` (CRASHES -1: any number)
walks all of it and prints how much that was.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from storage_agent.coordinator.deciding.arbiter import Decision, GrantKind, Incident, State
from tests.simulation import small_adoption
from tests.simulation.small_world import (
    ANY,
    COORDINATORS,
    HOSTS,
    Limits,
    Message,
    Named,
    Rules,
    World,
    in_sync,
    is_own,
    put,
    stored,
    taken,
    withdrawal_of,
)


def successors(world: World, rules: Rules, limits: Limits) -> Iterator[Named]:
    yield from _link(world)
    for number in (0, 1):
        yield from _host(world, number, limits)
        yield from _admin(world, number, limits)
        for who, store in enumerate(world.stores):
            if store is not None and is_own(store, who):
                yield from _tell(world, number, who, store)
                yield from _ask(world, number, who, store, rules, limits)
    yield from small_adoption.adopting(world, rules, limits)
    for message in world.sent:
        yield from arrivals(world, message, rules)


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
        found = put(found, number, kept)
    return found


def _link(world: World) -> Iterator[Named]:
    if world.link:
        yield "cut", _parted(world)
    yield from mended(world)


def mended(world: World) -> Iterator[Named]:
    """What DRBD does by itself while nothing is in the way."""
    one, two = world.hosts
    if world.link:
        if world.syncing >= 0:
            source = world.hosts[1 - world.syncing]
            done = world.hosts[world.syncing]._replace(content=source.content)
            synced = put(world, world.syncing, done, syncing=-1)
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
        yield f"connect, {HOSTS[target]} receives", put(joined, target, broken)


def _host(world: World, number: int, limits: Limits) -> Iterator[Named]:
    host, name = world.hosts[number], HOSTS[number]
    if not host.up:
        fresh = host._replace(up=True, boot=host.boot + 1, evidence=False, clocks=(0, 0))
        yield f"boot {name}", put(world, number, fresh)
        return
    if limits.crashes == ANY or world.crashes < limits.crashes:
        gone = host._replace(
            up=False, primary=False, frozen=False, evidence=False, incident=0, answered=False
        )
        left = put(world, number, gone, crashes=world.crashes + (limits.crashes != ANY))
        yield f"crash {name}", _parted(left) if world.link else left
    if host.primary and not host.frozen:
        count = world.acknowledged + 1
        wrote = put(world, number, host._replace(content=host.content + 1), acknowledged=count)
        if world.link:
            peer = wrote.hosts[1 - number]
            # While it receives, its own count says nothing before the end.
            if world.syncing != 1 - number:
                wrote = put(wrote, 1 - number, peer._replace(content=peer.content + 1))
        yield f"write {name}", wrote


# --- the coordinators ----------------------------------------------------------------------------


def _tell(world: World, number: int, who: int, store: State) -> Iterator[Named]:
    host, name = world.hosts[number], HOSTS[number]
    if not host.up or store.sole != name:
        return
    # What it tells may have been seen just now, or be older than everything.
    clock = host.clocks[who] + 1
    clocks = (clock, host.clocks[1]) if who == 0 else (host.clocks[0], clock)
    for taken_s, is_in_sync in ((clock, in_sync(world)), (0, True)):
        message = ("seen", number, store.revision, host.boot, taken_s, clock, is_in_sync, who)
        told = put(world, number, host._replace(clocks=clocks), sent=world.sent | {message})
        yield f"tell {COORDINATORS[who]} of {name} {taken_s}", told


def _ask(
    world: World, number: int, who: int, store: State, rules: Rules, limits: Limits
) -> Iterator[Named]:
    host, name = world.hosts[number], HOSTS[number]
    room = store.epoch < limits.grants
    if host.up and host.incident and not host.answered and room:
        asked = Incident(host=name, incident=str(host.incident), boot_id=str(host.boot),
                         epoch=host.epoch)  # fmt: skip
        decision = rules.incident(store, asked)
        if decision.grant is not None:
            yield _told(world, who, decision, "continue", number, host.incident)
        elif decision.deny_epoch is not None:
            yield _told(world, who, decision, "deny", number, host.incident)
    if room:
        # What agents would say of their epochs is left out: without it more is allowed.
        operation = f"{COORDINATORS[who]}-{store.epoch + 1}"
        decision = rules.promotion(store, name, f"take-{operation}", {})
        if decision.grant is not None:
            yield _told(world, who, decision, "promote", number, decision.grant.operation_id)
        decision = rules.move(store, HOSTS[1 - number], name, f"move-{operation}", {})
        if decision.grant is not None:
            moved = decision.grant.operation_id
            _, world_then = _told(world, who, decision, "demote", 1 - number, moved)
            yield _told(world_then, who, decision, "follow", number, moved)
    last = store.grant
    if last is None or last.is_done or last.host != name or not host.up:
        return
    answered = (host.owner, host.coordinator) == (f"continue-{last.incident}", store.coordinator)
    if (last.operation_id in host.ended or answered) and last.kind is not GrantKind.MOVE:
        done = rules.finished(store, owner=name, unix_s=0)
        yield f"{COORDINATORS[who]} learns of {name}", stored(world, who, done)
    if last.kind is not GrantKind.MOVE:
        yield from _settle(world, number, who, store, rules)
        yield from _withdraw(world, number, who, store, rules, may_claim=room)


def _settle(world: World, number: int, who: int, store: State, rules: Rules) -> Iterator[Named]:
    """withdrawal.settle: a promotion whose end is not known ends once its host has accepted a newer
    epoch. The claim is the one of _withdraw."""
    host, last = world.hosts[number], store.grant
    assert last is not None
    if not store.is_loose or not rules.settles:
        return
    accepted = (host.owner, host.coordinator) == (withdrawal_of(last), store.coordinator)
    if (accepted and host.epoch == store.epoch) or not rules.settling_needs_claim:
        done = rules.finished(store, owner=HOSTS[number], unix_s=0)
        yield f"{COORDINATORS[who]} settles {HOSTS[number]}", stored(world, who, done)


def _withdraw(
    world: World, number: int, who: int, store: State, rules: Rules, *, may_claim: bool
) -> Iterator[Named]:
    host, name, last = world.hosts[number], HOSTS[number], store.grant
    assert last is not None
    goes_on = last.kind is GrantKind.CONTINUE
    is_asking = host.incident == int(last.incident or 0) and not host.answered
    if rules.withdraw_asks_for_the_end and (
        not is_asking if goes_on else last.operation_id in host.ended
    ):
        return
    claim = withdrawal_of(last)
    accepted = (host.owner, host.coordinator) == (claim, store.coordinator)
    if accepted or not rules.withdraw_needs_claim:
        after = rules.withdrawn(store, host.epoch)
        yield f"{COORDINATORS[who]} withdraws {name}", stored(world, who, after)
    elif may_claim:
        claimed = replace(store, epoch=store.epoch + 1)
        message = ("claim", number, claimed.epoch, claim, store.coordinator)
        text = f"{COORDINATORS[who]} claims an epoch of {name}"
        yield text, stored(world, who, claimed, message)


def _told(
    world: World, who: int, decision: Decision, kind: str, number: int, subject: object
) -> Named:
    epoch = decision.deny_epoch if decision.grant is None else decision.grant.epoch
    message: Message = (kind, number, epoch, subject, decision.state.coordinator)
    text = f"{COORDINATORS[who]}: {kind} {HOSTS[number]}, epoch {epoch}"
    return text, stored(world, who, decision.state, message)


def _admin(world: World, number: int, limits: Limits) -> Iterator[Named]:
    """A person at the host, connected and in sync, as the agents allow it without a coordinator."""
    host, peer, name = world.hosts[number], world.hosts[1 - number], HOSTS[number]
    if world.admin >= limits.admin or not host.up or not in_sync(world):
        return
    if host.primary and not host.frozen:
        yield f"admin demotes {name}", put(world, number, host._replace(primary=False))
    elif not host.primary and not peer.primary:
        fresh = host._replace(primary=True, epoch=host.epoch + 1, owner=f"admin-{world.admin}")
        yield f"admin promotes {name}", put(world, number, fresh, admin=world.admin + 1)


# --- messages ------------------------------------------------------------------------------------


def arrivals(world: World, message: Message, rules: Rules) -> Iterator[Named]:
    kind = str(message[0])
    if kind == "seen":
        yield from _seen(world, message, rules)
        return
    if not world.hosts[message[1]].up:
        return
    if kind == "adopt":
        yield from small_adoption.arrive(world, message, rules)
    elif kind in ("continue", "deny"):
        yield from _answer(world, message, rules)
    else:
        yield from _operate(world, message, rules)


def _seen(world: World, message: Message, rules: Rules) -> Iterator[Named]:
    _, number, revision, boot, taken_s, now_s, is_in_sync, who = message
    name, store = HOSTS[number], world.stores[who]
    if store is None or store.revision != revision:
        return
    after = rules.seen(store, name, str(boot), taken_s=taken_s,
                       now_s=now_s, is_in_sync=is_in_sync)  # fmt: skip
    if after != store:
        yield f"{COORDINATORS[who]} sees {name}", stored(world, who, after)


def _answer(world: World, message: Message, rules: Rules) -> Iterator[Named]:
    kind, number, epoch, nonce, coordinator = message
    host = world.hosts[number]
    # A nonce is of one boot.
    if host.incident != nonce or host.answered:
        return
    owned = taken(host, epoch, f"{kind}-{nonce}", coordinator, rules)
    if owned is not None:
        answered = owned._replace(answered=True, frozen=kind != "continue")
        text = f"{kind}, epoch {epoch}, arrives at {HOSTS[number]}"
        yield text, put(world, number, answered)


def _operate(world: World, message: Message, rules: Rules) -> Iterator[Named]:
    kind, number, epoch, operation, coordinator = message
    host, peer = world.hosts[number], world.hosts[1 - number]
    owned = taken(host, epoch, operation, coordinator, rules, claims=kind == "claim")
    if operation in host.refused | host.ended or owned is None:
        return
    text = f"{kind}, epoch {epoch}, arrives at {HOSTS[number]}"
    if kind == "claim":
        yield text, put(world, number, owned)
    elif kind == "demote":
        if host.primary and not host.frozen and in_sync(world):
            yield text, put(world, number, owned._replace(primary=False))
    elif kind == "follow":
        if not host.primary and not peer.primary and in_sync(world):
            yield text, put(world, number, owned._replace(primary=True))
    elif not host.primary:
        assert kind == "promote"
        if not world.link and host.evidence:
            promoted = owned._replace(primary=True, frozen=False, ended=host.ended | {operation})
            yield text, put(world, number, promoted)
        # And it may be refused for a reason of the host's own.
        refused = owned._replace(refused=host.refused | {operation})
        yield f"{text}: refused", put(world, number, refused)
