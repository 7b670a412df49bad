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
* A grant that has ended, and who the owner is called: no rule asks for them.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

from storage_agent.coordinator.arbiter import Grant, GrantKind, Mark, State, seen_in_sync
from tests.simulation.small_model import HOSTS, Host, Limits, Rules, World, accepts

Message = tuple[Any, ...]
# When it was taken, when it was told, whether both copies were in sync.
Look = tuple[int, int, bool]
ANSWERS = ("continue", "deny")


def canonical(world: World, rules: Rules, limits: Limits) -> World:
    acknowledged = world.acknowledged
    first, second = (_settled(host, acknowledged) for host in world.hosts)
    looks: list[Message] = []
    others: list[Message] = []
    for message in world.sent:
        if _may_act(world.store, second if message[1] else first, message, rules):
            (looks if message[0] == "seen" else others).append(message)
    grant = _open_grant(world.store.grant, first.incident, second.incident)
    names = _names_of(grant)
    hosts = [_owner_kept(h, names, grant, others) for h in (first, second)]
    if world.admin == limits.admin:
        hosts = [_raised(h, i, world.store.epoch, others) for i, h in enumerate(hosts)]
    sole, mark = world.store.sole, None
    for number in (0, 1):
        if sole == HOSTS[number]:
            hosts[number], looks, mark = _boots(hosts[number], number, looks, world.store.mark)
        elif hosts[number].boot or hosts[number].clock:
            hosts[number] = hosts[number]._replace(boot=0, clock=0)
    found = world._replace(
        hosts=(hosts[0], hosts[1]),
        store=_plain(world.store, grant, mark),
        acknowledged=1,
        sent=frozenset(looks + others),
    )
    return _renumbered(found) if world.nonces else found


def _settled(host: Host, acknowledged: int) -> Host:
    content = int(host.content >= acknowledged)
    evidence = host.evidence or host.primary
    if content == host.content and evidence == host.evidence and not host.answered:
        return host
    is_open = bool(host.incident) and not host.answered
    incident = host.incident if is_open else 0
    return host._replace(content=content, evidence=evidence, incident=incident, answered=False)


def _plain(store: State, grant: Grant | None, mark: Mark | None) -> State:
    is_plain = not store.revision and store.owner is None
    if is_plain and grant is store.grant and mark == store.mark:
        return store
    return State(
        epoch=store.epoch, sole=store.sole, is_loose=store.is_loose, grant=grant, mark=mark
    )


def _raised(host: Host, number: int, newest: int, sent: list[Message]) -> Host:
    """How far its epoch is behind, where nothing that may arrive lies between."""
    if host.owner or host.epoch >= newest - 1:
        return host
    lowest = min((m[2] for m in sent if m[1] == number), default=newest)
    return host._replace(epoch=max(host.epoch, min(lowest, newest) - 1))


def _may_act(store: State, host: Host, message: Message, rules: Rules) -> bool:
    kind, number, epoch = message[:3]
    if kind == "seen":
        asked = epoch == store.revision and store.sole == HOSTS[number]
        return asked and not (store.is_loose and rules.seen is seen_in_sync)
    if kind in ANSWERS:
        nonce = message[3]
        return host.incident == nonce and accepts(host, epoch, f"{kind}-{nonce}", rules)
    operation = message[3]
    if operation in host.refused or operation in host.ended:
        return False
    if kind == "claim" and (host.epoch, host.owner) == (epoch, operation):
        return False
    return accepts(host, epoch, operation, rules)


def _open_grant(grant: Grant | None, *incidents: int) -> Grant | None:
    if grant is None:
        return None
    asked = grant.kind is GrantKind.CONTINUE and int(grant.incident) in incidents
    if grant.is_done and not asked:
        return None
    return replace(grant, source="") if grant.source else grant


@cache
def _names_of(grant: Grant | None) -> frozenset[str]:
    """By which it may be asked whether a host's epoch is the grant's, or was taken back."""
    if grant is None:
        return frozenset()
    operation = grant.operation_id
    return frozenset({operation, f"withdraw-{operation}", f"continue-{grant.incident}"})


def _owner_kept(
    host: Host, names: frozenset[str], grant: Grant | None, sent: list[Message]
) -> Host:
    """Whose the epoch is matters only while the same can be said again, or is asked for."""
    owner, again = host.owner, None
    if grant is not None and not grant.is_done:
        again = grant.operation_id
    is_asked = owner in names or (
        host.incident and owner in (f"continue-{host.incident}", f"deny-{host.incident}")
    )
    if owner and not is_asked and not any(m[3] == owner for m in sent):
        host = host._replace(owner="")
    if host.ended - {again} or host.refused - {again}:
        host = host._replace(ended=host.ended & {again}, refused=host.refused & {again})
    return host


# --- what is seen of the sole host, boot by boot --------------------------------------------------


def _boots(
    host: Host, number: int, looks: list[Message], mark: Mark | None
) -> tuple[Host, list[Message], Mark | None]:
    """The present boot becomes 0, the earlier ones -1 together; a mark of theirs is none."""
    present: list[Look] = []
    past: dict[int, list[Look]] = {}
    for _, _, _, boot, *look in looks:
        its = present if host.up and boot == host.boot else past.setdefault(boot, [])
        its.append((look[0], look[1], look[2]))
    is_marked = mark is not None and host.up and mark.boot_id == str(host.boot)
    messages: list[Message] = []
    if past:
        messages.append(("seen", number, 0, -1, 0, 1, False))
        if any(_newest(its) > _earliest(its) for its in past.values()):
            messages.append(("seen", number, 0, -1, 2, 2, True))
    if not present:
        return host._replace(boot=0, clock=0), messages, None
    first, last = _earliest(present), _newest(present)
    messages.append(("seen", number, 0, 0, 0, 1, any(is_so for _, _, is_so in present)))
    if last > first:
        messages.append(("seen", number, 0, 0, 2, 2, True))
    fresh = Mark(boot_id="0", at_s=1) if is_marked else None
    return host._replace(boot=0, clock=2 if last > first else 1), messages, fresh


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
    store, grant = world.store, world.store.grant
    if grant is not None and grant.incident:
        number = str(name(grant.incident))
        if number != grant.incident:
            store = replace(store, grant=replace(grant, incident=number))
    sent = frozenset((*m[:3], name(str(m[3]))) if m[0] in ANSWERS else m for m in world.sent)
    return world._replace(hosts=hosts, store=store, sent=sent, nonces=len(names))
