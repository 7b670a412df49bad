"""From every state of the small world with both agents answering and one good copy, somebody
serves in the end.

Safety alone would be kept by a coordinator that never grants. So in each state that can be
reached, what is on its way is lost, the coordinators are started anew, the link stays as it is,
and what they and a person do then is done, each message arriving at once:

* WATCH: what the service does by itself. It asks for both hosts' ear again where its record wants
  that, answers who is frozen, and looks.
* PERSON: what is named to a person: `adopt`, `switchover`, `failover`, on one coordinator.
* REBOOT: of a host that was denied and stays frozen, as status says.
* LINK: what connects the two is mended.

The class of a state is the first of these with which, and those before it, somebody serves; STUCK
is none of them. A primary that is frozen and has not been answered must be got on by WATCH where
there is one coordinator, unless the volume was given to the other host.

`python -m tests.simulation.small_liveness [GRANTS ADMIN CRASHES ADOPTIONS]` prints the classes.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from enum import IntEnum

from storage_agent.coordinator.deciding.arbiter import (
    GrantKind,
    Incident,
    State,
    claim_refusal,
    coordinator_refusal,
    epochs_refusal,
)
from storage_agent.coordinator.deciding.claims import (
    Shown,
    goes_on,
    shown_sole,
    untaken_refusal,
)
from tests.simulation.small_adoption import claims_of
from tests.simulation.small_model import arrivals, mended
from tests.simulation.small_walk import walk
from tests.simulation.small_world import (
    COORDINATORS,
    HOSTS,
    Limits,
    Message,
    Rules,
    World,
    in_sync,
    is_own,
    put,
    stored,
    withdrawal_of,
    writers,
)


class Class(IntEnum):
    SERVES = 0
    WATCH = 1
    PERSON = 2
    REBOOT = 3
    LINK = 4
    STUCK = 5


@dataclass(slots=True)
class Liveness:
    """classes: how many of the states are in each.  distinct: of those, that differ in more than
    what was on its way.  wrong: states that need more than they may, or are stuck."""

    classes: Counter[Class] = field(default_factory=Counter)
    distinct: int = 0
    wrong: list[tuple[Class, World]] = field(default_factory=list)


def judge(states: Iterable[World], rules: Rules, *, exactly: bool = False) -> Liveness:
    """exactly: also which class each is in, not only whether it needs no more than it may."""
    found, known = Liveness(), {}
    for world in states:
        start = _settled(world)
        if start is None:
            continue
        if start not in known:
            allowed = _allowed(start)
            known[start] = class_of(start, rules, () if exactly else (allowed,))
            if known[start] > allowed:
                found.wrong.append((known[start], start))
        found.classes[known[start]] += 1
    found.distinct = len(known)
    return found


def class_of(start: World, rules: Rules, kinds: tuple[Class, ...] = ()) -> Class:
    """The first kind of step with which somebody serves. kinds: only these are tried."""
    if serves(start):
        return Class.SERVES
    coordinators = [who for who, store in enumerate(start.stores) if store is not None]
    for kind in kinds or (Class.WATCH, Class.PERSON, Class.REBOOT, Class.LINK):
        # The service does the same wherever a person types.
        for who in coordinators[:1] if kind is Class.WATCH else coordinators:
            if _leads_to_service(start, who, kind, rules):
                return kind
    return Class.STUCK


def _leads_to_service(world: World, who: int, kind: Class, rules: Rules) -> bool:
    """who: the coordinator at which a person types."""
    for _ in range(ROUNDS):
        before = world
        for allowed, steps in _STEPS:
            for step in steps if allowed <= kind else ():
                world = _plain(step(world, who, rules))
                if serves(world):
                    return True
        if world == before:
            return False
    return False


def serves(world: World) -> bool:
    return any(host.content >= world.acknowledged for host in writers(world))


def _settled(world: World) -> World | None:
    """What is on its way is lost, and what the coordinators only had in memory. None where not both
    agents answer, or no copy is good."""
    if not all(host.up for host in world.hosts):
        return None
    if not any(host.content >= world.acknowledged for host in world.hosts):
        return None
    return _plain(world)


def _plain(world: World) -> World:
    return world._replace(
        sent=frozenset(), heard=frozenset(), shown=(None, None), crashes=0, admin=0, adoptions=0
    )


def _allowed(world: World) -> Class:
    """The most that a state may need."""
    first, second = world.stores
    asks = [
        HOSTS[number]
        for number, host in enumerate(world.hosts)
        if host.frozen and host.incident and host.content >= world.acknowledged
    ]
    if first is None or second is not None or not asks or _others(world, first):
        return Class.LINK
    # Taken back is what its host refuses for good, having lost its disk.
    is_refused = first.grant is not None and first.grant.is_withdrawn
    return Class.WATCH if first.sole in (None, asks[0]) and not is_refused else Class.LINK


def _others(world: World, store: State) -> bool:
    """An admin has acted beside the coordinator, or one is listened to that has no record."""
    return untaken_refusal(store, _epochs(world), _known(world)) is not None


def _epochs(world: World) -> dict[str, int | None]:
    return {name: host.epoch for name, host in zip(HOSTS, world.hosts, strict=True)}


def _known(world: World) -> dict[str, str]:
    return {name: host.coordinator for name, host in zip(HOSTS, world.hosts, strict=True)}


# --- steps: each gives the world after it, the same where there is nothing to do ------------------


def _watch(world: World, _who: int, rules: Rules) -> World:
    for who in (0, 1):
        store = world.stores[who]
        if store is None:
            continue
        stale = {own.coordinator for own in store.former}
        is_stale = not stale.isdisjoint(_known(world).values())
        is_unheard = not is_own(store, who) or claim_refusal(store) is not None or is_stale
        if is_unheard and not _others(world, store):
            world = _adopted(world, who, rules)
        for number in (0, 1):
            world = _answered(world, number, who, rules)
        world = _looked(_ended(world, who, rules), who, rules)
    return world


def _ended(world: World, who: int, rules: Rules) -> World:
    """withdrawal.settle: a promotion whose end is not known, both copies in sync again."""
    store = world.stores[who]
    if store is None or not is_own(store, who) or not store.is_loose or not in_sync(world):
        return world
    grant = store.grant
    is_ours = grant is not None and grant.kind is not GrantKind.CLAIM
    if grant is None or not is_ours or not rules.settles or _refusal(world, store):
        return world
    fenced, after = _fenced(world, HOSTS.index(grant.host), who, store, rules)
    return world if after is None else stored(
        after, who, rules.finished(fenced, owner=grant.host, unix_s=0)
    )  # fmt: skip


def _fenced(
    world: World, number: int, who: int, store: State, rules: Rules
) -> tuple[State, World | None]:
    """The host has accepted a newer epoch than the grant's."""
    assert store.grant is not None
    fenced = replace(store, epoch=store.epoch + 1)
    operation = withdrawal_of(store.grant)
    claim: Message = ("claim", number, fenced.epoch, operation, fenced.coordinator)
    return fenced, _arrived(stored(world, who, fenced), claim, rules)


def _taken_back(world: World, number: int, who: int, store: State, rules: Rules) -> World:
    """withdrawal.withdraw."""
    fenced, after = _fenced(world, number, who, store, rules)
    begun = stored(world, who, fenced)
    return begun if after is None else stored(after, who, rules.withdrawn(fenced, fenced.epoch))


def _answered(world: World, number: int, who: int, rules: Rules) -> World:
    host, store = world.hosts[number], world.stores[who]
    if store is None or not is_own(store, who) or not host.incident or host.answered:
        return world
    asked = Incident(
        host=HOSTS[number], incident=str(host.incident), boot_id=str(host.boot), epoch=host.epoch
    )
    decision = rules.incident(store, asked)
    kind, epoch = "continue", decision.grant.epoch if decision.grant else None
    if decision.deny_epoch is not None:
        kind, epoch = "deny", decision.deny_epoch
    if epoch is None:
        return world
    message = (kind, number, epoch, host.incident, decision.state.coordinator)
    told = _arrived(stored(world, who, decision.state), message, rules)
    if told is not None and kind == "continue":
        done = rules.finished(decision.state, owner=HOSTS[number], unix_s=0)
        return stored(told, who, done)
    return told or world


def _looked(world: World, who: int, rules: Rules) -> World:
    """Twice: the first look only marks the time."""
    store = world.stores[who]
    if store is None or store.sole is None or not is_own(store, who) or not in_sync(world):
        return world
    host = world.hosts[HOSTS.index(store.sole)]
    sole = store.sole
    for now in (host.clocks[who] + 1, host.clocks[who] + 2):
        store = rules.seen(store, sole, str(host.boot), taken_s=now, now_s=now, is_in_sync=True)
    return stored(world, who, store)


def _adopt(world: World, who: int, rules: Rules) -> World:
    """A person's, where it is named: at a coordinator that cannot grant anything."""
    store = world.stores[who]
    if store is not None and is_own(store, who) and not _refusal(world, store):
        return world
    return _adopted(world, who, rules)


def _adopted(world: World, who: int, rules: Rules) -> World:
    """Coordinator.adopt, with nothing lost on the way."""
    store = world.stores[who]
    newest = max(store.epoch if store else 0, *(host.epoch for host in world.hosts))
    name = f"{COORDINATORS[who]}-{newest + 1}"
    claimed = rules.claim(store, name, _epochs(world), _known(world)).state
    if not goes_on(claimed) and not _shown(world)[0]:
        return world
    begun = stored(world, who, claimed)
    for message in claims_of(world, who, claimed):
        after = _arrived(begun, message, rules)
        if after is None:
            return begun
        begun = after
    is_known, sole = (True, claimed.sole) if goes_on(claimed) else _shown(begun)
    return stored(begun, who, rules.adopted(claimed, sole, None, 0)) if is_known else begun


def _shown(world: World) -> tuple[bool, str | None]:
    is_synced = in_sync(world)
    return shown_sole(
        {
            name: Shown(is_in_sync=is_synced, is_writing=host.primary and not host.frozen)
            for name, host in zip(HOSTS, world.hosts, strict=True)
        }
    )


def _refusal(world: World, store: State) -> bool:
    refusals = (
        claim_refusal(store),
        epochs_refusal(store, _epochs(world)),
        coordinator_refusal(store, _known(world)),
    )
    return any(refusals)


def _failover(world: World, who: int, rules: Rules) -> World:
    for number in (0, 1):
        peer, store = world.hosts[1 - number], world.stores[who]
        is_wanted = not world.link and not world.hosts[number].primary
        if store is None or not is_own(store, who) or _refusal(world, store) or not is_wanted:
            continue
        if not peer.primary or peer.frozen:
            world = _taken_over(world, number, who, store, rules)
    return world


def _taken_over(world: World, number: int, who: int, store: State, rules: Rules) -> World:
    name, operation = HOSTS[number], f"take-{COORDINATORS[who]}-{store.epoch + 1}"
    decision = rules.promotion(store, name, operation, _epochs(world))
    grant = decision.grant
    if grant is None:
        return world
    granted = stored(world, who, decision.state)
    message = ("promote", number, grant.epoch, grant.operation_id, decision.state.coordinator)
    after = _arrived(granted, message, rules) or granted
    host = after.hosts[number]
    if host.primary or grant.operation_id in host.ended:
        return stored(after, who, rules.finished(decision.state, owner=name, unix_s=0))
    # It never wrote by this grant.
    return _taken_back(after, number, who, decision.state, rules)


def _switchover(world: World, who: int, rules: Rules) -> World:
    for number in (0, 1):
        store = world.stores[who]
        is_wanted = in_sync(world) and not any(host.primary for host in world.hosts)
        if store is None or not is_own(store, who) or _refusal(world, store) or not is_wanted:
            continue
        operation = f"move-{COORDINATORS[who]}-{store.epoch + 1}"
        decision = rules.move(store, HOSTS[1 - number], HOSTS[number], operation, _epochs(world))
        if (grant := decision.grant) is None:
            continue
        message = ("follow", number, grant.epoch, grant.operation_id, decision.state.coordinator)
        after = _arrived(stored(world, who, decision.state), message, rules)
        if after is not None:
            done = rules.finished(decision.state, owner=HOSTS[number], unix_s=0)
            world = stored(after, who, done)
    return world


def _reboot(world: World, _who: int, _rules: Rules) -> World:
    for number, host in enumerate(world.hosts):
        if host.frozen and not host.incident:
            fresh = host._replace(
                primary=False, frozen=False, evidence=False, boot=host.boot + 1, clocks=(0, 0)
            )
            world = put(world, number, fresh)
    return world


def _mend(world: World, _who: int, _rules: Rules) -> World:
    while after := list(mended(world)):
        world = after[0][1]
    return world


# How often all that is allowed is done, one after the other.
ROUNDS = 4
Step = Callable[[World, int, Rules], World]
_STEPS: tuple[tuple[Class, tuple[Step, ...]], ...] = (
    (Class.WATCH, (_watch,)),
    (Class.PERSON, (_adopt, _watch, _switchover, _failover, _watch)),
    (Class.REBOOT, (_reboot,)),
    (Class.LINK, (_mend,)),
)


def _arrived(world: World, message: Message, rules: Rules) -> World | None:
    """None where it is refused before anything is done."""
    courses = list(arrivals(world, message, rules))
    return courses[0][1] if courses else None


def main() -> int:
    limits = Limits(*(int(word) for word in sys.argv[1:]))
    begun_s, rules = time.monotonic(), Rules()
    result = walk(rules, limits)
    found = judge(result.states, rules, exactly=True)
    print(
        f"{len(result.states)} states, {sum(found.classes.values())} of them with both agents and "
        f"a good copy ({found.distinct} distinct), {limits}, {time.monotonic() - begun_s:.0f} s"
    )
    for kind in Class:
        print(f"{kind.name:7} {found.classes[kind]}")
    for kind, world in found.wrong[:5]:
        print(f"needs {kind.name}: {world}")
    return 1 if found.wrong or result.problem else 0


if __name__ == "__main__":
    sys.exit(main())
