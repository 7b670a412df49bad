"""One world for all that behave alike, so that a walk over the small model ends.

What may be left out, and why nothing is lost by it:

* Content: only whether a host has all acknowledged writes matters. Whoever writes has them, or the
  walk has ended; so a copy lacks some or none, and how many says nothing.
* Messages that no host can accept any more: epochs of a host only grow, an incident that was
  answered or is over never comes back. What is seen of a host counts under one revision of the
  record, and for its `sole` alone.
* Names that are only compared for being the same (incidents, boots, and the operation a host's
  epoch belongs to) are numbered anew; times of one boot only for their order.
* Of what was seen in one boot the look that was told first and the newest one in sync: the first
  makes the earliest mark, the newest passes any mark that another passes. A mark is taken for the
  earliest, which is passed more easily. Of earlier boots only whether there is one that can make a
  mark and pass it, or one that can but make a mark.
* While a promotion is on its way nothing that is seen counts, and its end makes it all old.
* A host's evidence while it is primary: it stops being that by a crash, which ends it, or in sync.
* How far a host's epoch is behind, where no message lies between; not while an admin may still
  take the next one.
* The record of a coordinator to which no agent listens any more, once nobody may adopt again:
  whatever it says is refused.
* A grant that has ended, and who the owner is called: no rule asks for them. A former claim to
  which no host listens, nor will.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

from storage_agent.coordinator.deciding.arbiter import (
    Claimed,
    Grant,
    GrantKind,
    Mark,
    State,
    claim_refusal,
    seen_in_sync,
)
from tests.simulation.small_world import (
    HOSTS,
    Host,
    Limits,
    Message,
    Rules,
    World,
    is_own,
    taken,
    withdrawal_of,
)

# When it was taken, when it was told, whether both copies were in sync.
Look = tuple[int, int, bool]
ANSWERS = ("continue", "deny")


def canonical(world: World, rules: Rules, limits: Limits) -> World:
    acknowledged = world.acknowledged
    first, second = (_settled(host, acknowledged) for host in world.hosts)
    looks: list[list[Message]] = [[], []]
    others: list[Message] = []
    seen: list[Message] = []
    for message in world.sent:
        if message[0] == "seen":
            seen.append(message)
        elif _may_act(second if message[1] else first, message, rules):
            others.append(message)
    known = list(world.stores)
    if world.adoptions and world.adoptions == limits.adoptions and rules.agent_checks_coordinator:
        known = [_heard_of(store, who, (first, second), others) for who, store in enumerate(known)]
    for message in seen:
        if _counts(known[message[7]], message, rules):
            looks[message[7]].append(message)
    grants = [
        _open_grant(store, first.incident, second.incident) if is_own(store, who) else None
        for who, store in enumerate(known)
    ]
    hosts = [_owner_kept(host, grants, others) for host in (first, second)]
    if world.admin == limits.admin and world.adoptions == limits.adoptions:
        newest = min(store.epoch for store in known if store is not None)
        hosts = [_raised(h, i, _below(h, newest, known), others) for i, h in enumerate(hosts)]
    stores: list[State | None] = []
    clocks: list[list[int]] = [[0, 0], [0, 0]]
    for who, store in enumerate(known):
        if store is None or not is_own(store, who):
            stores.append(_copy(store, hosts, others))
            continue
        mark = None
        if store.sole is not None:
            number = HOSTS.index(store.sole)
            clocks[number][who], looks[who], mark = _boots(
                hosts[number], number, looks[who], store.mark
            )
        stores.append(_plain(store, grants[who], mark, _former(store, hosts, others)))
    hosts = [_timed(host, (one, two)) for host, (one, two) in zip(hosts, clocks, strict=True)]
    found = world._replace(
        hosts=(hosts[0], hosts[1]),
        stores=(stores[0], stores[1]),
        acknowledged=1,
        sent=frozenset(looks[0] + looks[1] + others),
    )
    if world.heard:
        found = found._replace(heard=_heard(found))
    return _renumbered(found) if world.nonces else found


def _heard_of(
    store: State | None, who: int, hosts: tuple[Host, Host], sent: list[Message]
) -> State | None:
    """None where no agent listens to this coordinator, nor will."""
    if store is None or not is_own(store, who):
        return None
    names = {store.coordinator, *(own.coordinator for own in store.former)}
    is_heard = any(h.coordinator in names for h in hosts) or any(m[4] in names for m in sent)
    return store if is_heard else None


def _former(store: State, hosts: list[Host], sent: list[Message]) -> tuple[Claimed, ...]:
    """Those that a host listens to, or may yet."""
    if not store.former:
        return ()
    names = {host.coordinator for host in hosts} | {message[4] for message in sent}
    return tuple(own for own in store.former if own.coordinator in names)


def _below(host: Host, newest: int, stores: list[State | None]) -> int:
    """As `newest`, but so that the host is not taken for one that was told more under an earlier
    claim than was given."""
    given = [
        own.epoch + 1
        for store in stores
        if store is not None
        for own in store.former
        if own.coordinator == host.coordinator
    ]
    return min([newest, *given])


def _copy(store: State | None, hosts: list[Host], sent: list[Message]) -> State | None:
    """What an adoption asks of a record that nobody uses; of one that an agent knows more than,
    nothing."""
    if store is None or any(host.epoch > store.epoch for host in hosts):
        return None
    claim = store.grant if claim_refusal(store) else None
    return State(
        epoch=store.epoch,
        coordinator=store.coordinator,
        sole=store.sole,
        is_loose=store.is_loose,
        grant=claim,
        former=_former(store, hosts, sent),
    )


def _heard(world: World) -> frozenset[tuple[int, int]]:
    is_open = [store is not None and claim_refusal(store) is not None for store in world.stores]
    return frozenset(item for item in world.heard if is_open[item[0]])


def _timed(host: Host, clocks: tuple[int, int]) -> Host:
    if host.boot or host.clocks != clocks:
        return host._replace(boot=0, clocks=clocks)
    return host


def _settled(host: Host, acknowledged: int) -> Host:
    content = int(host.content >= acknowledged)
    evidence = host.evidence or host.primary
    if content == host.content and evidence == host.evidence and not host.answered:
        return host
    is_open = bool(host.incident) and not host.answered
    incident = host.incident if is_open else 0
    return host._replace(content=content, evidence=evidence, incident=incident, answered=False)


def _plain(
    store: State, grant: Grant | None, mark: Mark | None, former: tuple[Claimed, ...]
) -> State:
    is_plain = not store.revision and store.owner is None and former == store.former
    if is_plain and grant is store.grant and mark == store.mark:
        return store
    return State(
        epoch=store.epoch,
        coordinator=store.coordinator,
        sole=store.sole,
        is_loose=store.is_loose,
        grant=grant,
        mark=mark,
        former=former,
    )


def _raised(host: Host, number: int, newest: int, sent: list[Message]) -> Host:
    """How far its epoch is behind, where nothing that may arrive lies between."""
    if host.owner or host.epoch >= newest - 1:
        return host
    lowest = min((m[2] for m in sent if m[1] == number), default=newest)
    return host._replace(epoch=max(host.epoch, min(lowest, newest) - 1))


def _counts(store: State | None, look: Message, rules: Rules) -> bool:
    _, number, revision = look[:3]
    if store is None or revision != store.revision or store.sole != HOSTS[number]:
        return False
    return not (store.is_loose and rules.seen is seen_in_sync)


def _may_act(host: Host, message: Message, rules: Rules) -> bool:
    kind, _, epoch, subject, coordinator = message[:5]
    if kind in ANSWERS:
        operation = f"{kind}-{subject}"
        return bool(host.incident == subject and taken(host, epoch, operation, coordinator, rules))
    if subject in host.refused or subject in host.ended:
        return False
    claims = kind in ("claim", "adopt")
    if claims and (host.epoch, host.owner) == (epoch, subject):
        return False
    succeeds = message[5] if kind == "adopt" else None
    after = taken(host, epoch, subject, coordinator, rules, claims=claims, succeeds=succeeds)
    return after is not None


def _open_grant(store: State | None, *incidents: int) -> Grant | None:
    grant = store.grant if store else None
    if grant is None:
        return None
    asked = grant.kind is GrantKind.CONTINUE and int(grant.incident) in incidents
    if grant.is_done and not asked:
        return None
    source = grant.source if grant.kind is GrantKind.CLAIM else ""
    was_sole = grant.was_sole and not grant.is_done
    if (source, was_sole) == (grant.source, grant.was_sole):
        return grant
    return replace(grant, source=source, was_sole=was_sole)


@cache
def _names_of(grant: Grant | None) -> frozenset[str]:
    """By which it may be asked whether a host's epoch is the grant's, or was taken back."""
    if grant is None:
        return frozenset()
    return frozenset({grant.operation_id, withdrawal_of(grant), f"continue-{grant.incident}"})


def _owner_kept(host: Host, grants: list[Grant | None], sent: list[Message]) -> Host:
    """Whose the epoch is matters only while the same can be said again, or is asked for."""
    owner = host.owner
    again = {grant.operation_id for grant in grants if grant is not None and not grant.is_done}
    is_asked = any(owner in _names_of(grant) for grant in grants) or (
        host.incident and owner in (f"continue-{host.incident}", f"deny-{host.incident}")
    )
    if owner and not is_asked and not any(m[3] == owner for m in sent):
        host = host._replace(owner="")
    if host.ended - again or host.refused - again:
        host = host._replace(ended=host.ended & again, refused=host.refused & again)
    return host


# --- what is seen of the sole host, boot by boot --------------------------------------------------


def _boots(
    host: Host, number: int, looks: list[Message], mark: Mark | None
) -> tuple[int, list[Message], Mark | None]:
    """The present boot becomes 0, the earlier ones -1 together; a mark of theirs is none. Gives
    the host's clock, too."""
    present: list[Look] = []
    past: dict[int, list[Look]] = {}
    who = looks[0][7] if looks else 0
    for _, _, _, boot, *look in looks:
        its = present if host.up and boot == host.boot else past.setdefault(boot, [])
        its.append((look[0], look[1], look[2]))
    is_marked = mark is not None and host.up and mark.boot_id == str(host.boot)
    messages: list[Message] = []
    if past:
        messages.append(("seen", number, 0, -1, 0, 1, False, who))
        if any(_newest(its) > _earliest(its) for its in past.values()):
            messages.append(("seen", number, 0, -1, 2, 2, True, who))
    if not present:
        return 0, messages, None
    first, last = _earliest(present), _newest(present)
    seen = any(is_so for _, _, is_so in present)
    messages.append(("seen", number, 0, 0, 0, 1, seen, who))
    if last > first:
        messages.append(("seen", number, 0, 0, 2, 2, True, who))
    fresh = Mark(boot_id="0", at_s=1) if is_marked else None
    return 2 if last > first else 1, messages, fresh


def _earliest(looks: list[Look]) -> int:
    return min(now for _, now, _ in looks)


def _newest(looks: list[Look]) -> int:
    return max((taken for taken, _, is_so in looks if is_so), default=0)


# --- names ----------------------------------------------------------------------------------------


def _renumbered(world: World) -> World:
    """Incidents are numbered in the order in which they are met here."""
    names: dict[str, int] = {}

    def name(nonce: str) -> int:
        return names.setdefault(nonce, len(names) + 1)

    def renamed(host: Host) -> Host:
        kind, _, nonce = host.owner.partition("-")
        owner = f"{kind}-{name(nonce)}" if kind in ANSWERS else host.owner
        incident = name(str(host.incident)) if host.incident else 0
        return host._replace(incident=incident, owner=owner)

    hosts = (renamed(world.hosts[0]), renamed(world.hosts[1]))
    stores = [_renamed(store, name) for store in world.stores]
    sent = frozenset(
        (*m[:3], name(str(m[3])), *m[4:]) if m[0] in ANSWERS else m for m in world.sent
    )
    return world._replace(
        hosts=hosts, stores=(stores[0], stores[1]), sent=sent, nonces=len(names)
    )  # fmt: skip


def _renamed(store: State | None, name: Callable[[str], int]) -> State | None:
    if store is None or store.grant is None or not store.grant.incident:
        return store
    number = str(name(store.grant.incident))
    if number == store.grant.incident:
        return store
    return replace(store, grant=replace(store.grant, incident=number))
