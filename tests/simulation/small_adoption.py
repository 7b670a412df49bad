"""The small model's coordinators take the volume over, step by step as Coordinator.adopt does.

A second coordinator begins with a copy of the first one's record, made at any time, or with none.
Either may adopt; what agents say of their epochs is read when the claim is decided.
"""

from __future__ import annotations

from collections.abc import Iterator

from storage_agent.coordinator.deciding.arbiter import State, claim_refusal
from storage_agent.coordinator.deciding.claims import Shown, goes_on, shown_sole
from tests.simulation.small_world import (
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
)


def adopting(world: World, rules: Rules, limits: Limits) -> Iterator[Named]:
    if not limits.adoptions:
        return
    first = world.stores[0]
    if first is not None and world.stores[1] is None and world.adoptions < limits.adoptions:
        yield "the record is copied", stored(world, 1, first)
    for who, store in enumerate(world.stores):
        if world.adoptions < limits.adoptions:
            yield from _claim(world, who, rules, limits)
        if store is not None and is_own(store, who) and claim_refusal(store):
            yield from _finish(world, who, store, rules)


def _claim(world: World, who: int, rules: Rules, limits: Limits) -> Iterator[Named]:
    store, (one, two) = world.stores[who], world.hosts
    newest = max(store.epoch if store else 0, one.epoch, two.epoch)
    if newest >= limits.grants or not (one.up and two.up):
        return
    name = f"{COORDINATORS[who]}-{newest + 1}"
    epochs = {HOSTS[0]: one.epoch, HOSTS[1]: two.epoch}
    known = {HOSTS[0]: one.coordinator, HOSTS[1]: two.coordinator}
    claimed = rules.claim(store, name, epochs, known).state
    assert claimed.grant is not None
    messages = claims_of(world, who, claimed)
    heard = frozenset(item for item in world.heard if item[0] != who)
    begun = stored(_unshown(world, who), who, claimed, *messages)
    yield (
        f"{COORDINATORS[who]} claims",
        begun._replace(adoptions=world.adoptions + 1, heard=heard),
    )


def claims_of(world: World, who: int, claimed: State) -> list[Message]:
    """To each host, from whom it listens to now, where the record goes on."""
    name = claimed.coordinator
    return [
        (
            "adopt",
            number,
            claimed.epoch,
            name,
            name,
            world.hosts[number].coordinator if goes_on(claimed) else None,
            who,
        )
        for number in (0, 1)
    ]


def _finish(world: World, who: int, store: State, rules: Rules) -> Iterator[Named]:
    """Both have accepted. A record that goes on is believed; else the claims are sent again, and
    answered with what each host is then."""
    heard = {number for number in (0, 1) if (who, number) in world.heard}
    text = f"{COORDINATORS[who]} has adopted"
    if len(heard) == 1 and goes_on(store) and (who == 0 or not rules.alone_needs_proof):
        # The other one is gone. Of a copy nobody knows that it is the newest.
        yield (
            f"{text} alone",
            stored(world, who, rules.adopted(store, store.sole, None, 0, by_both=False)),
        )
    if len(heard) < (2 if rules.adoption_needs_both else 1):
        return
    if goes_on(store) or not rules.adoption_looks_again:
        yield text, stored(world, who, rules.adopted(store, store.sole, None, 0))
        return
    first = world.shown[who]
    number = 0 if first is None else 1
    host = world.hosts[number]
    if not host.up or (host.epoch, host.owner) != (store.epoch, store.coordinator):
        return
    seen = Shown(is_in_sync=in_sync(world), is_writing=host.primary and not host.frozen)
    if first is None:
        shown = (seen, world.shown[1]) if who == 0 else (world.shown[0], seen)
        yield f"{HOSTS[0]} shows {COORDINATORS[who]} what it is", world._replace(shown=shown)
        return
    is_known, sole = shown_sole({HOSTS[0]: first, HOSTS[1]: seen})
    after = _unshown(world, who)
    if is_known:
        yield text, stored(after, who, rules.adopted(store, sole, None, 0))
    else:
        yield f"{text} nothing: unclear", after


def arrive(world: World, message: Message, rules: Rules) -> Iterator[Named]:
    _, number, epoch, name, _, succeeds, who = message
    accepted = taken(
        world.hosts[number], epoch, name, name, rules, claims=True, succeeds=succeeds
    )  # fmt: skip
    if accepted is None:
        return
    store, after = world.stores[who], put(world, number, accepted)
    if store is not None and store.coordinator == name:
        after = after._replace(heard=world.heard | {(who, number)})
    yield f"{COORDINATORS[who]}'s claim arrives at {HOSTS[number]}", after


def _unshown(world: World, who: int) -> World:
    shown = (None, world.shown[1]) if who == 0 else (world.shown[0], None)
    return world._replace(shown=shown)
