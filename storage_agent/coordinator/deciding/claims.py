"""A coordinator takes a volume over: pure rules, beside those of the arbiter.

Agents listen to the coordinator whose claim they have accepted last. A claim counts once both have
accepted it; who may have written alone until then is what they show after that, or what the record
says where they have listened to nobody else.

A claim may be broken off: one host, or none, has accepted it. Each host then listens to this claim
or to an earlier one of the same record, accepts the next one from just that, and has been told
nothing that the record does not know as long as its epoch is none that was given under another
name. A host that leaves our claims never comes back to one: ids are new, epochs grow. And nobody
else grants anything while one host listens to us. So an unfinished claim forgets nothing, and the
next one goes on with it: never the same once more, for of a record that was put back from a backup
only a new name and a new epoch shut out what was granted since.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from storage_agent.coordinator.deciding.arbiter import (
    Claimed,
    Decision,
    Grant,
    GrantKind,
    State,
    claim_refusal,
    coordinator_refusal,
    epochs_refusal,
    finished,
)
from storage_agent.model.finding import Finding

# So many of the newest claims are remembered beside those that the hosts listen to: what was sent
# with them may still be on its way.
FORMER = 16


def decide_claim(
    state: State | None,
    operation_id: str,
    agent_epochs: Mapping[str, int | None],
    agent_coordinators: Mapping[str, str],
) -> Decision:
    """Takes a volume over whatever epochs the agents have: above all of them. Agents that accept
    it refuse everything that was sent before, and everybody else. Nothing is granted until both
    have: see `adopted`."""
    known = [number for number in agent_epochs.values() if number is not None]
    base = state or State(epoch=0)
    is_ours = is_newest(state, agent_epochs, agent_coordinators)
    grant = Grant(
        kind=GrantKind.CLAIM,
        epoch=max([base.epoch, *known]) + 1,
        host="",
        operation_id=operation_id,
        source=base.coordinator if is_ours else "",
    )
    fresh = dataclasses.replace(
        base,
        epoch=grant.epoch,
        coordinator=operation_id,
        former=_remembered(base, set(agent_coordinators.values())) if is_ours else (),
        grant=grant,
        mark=None,
        revision=base.revision + 1,
    )
    return Decision(state=fresh, grant=grant)


def _remembered(state: State, heard: set[str]) -> tuple[Claimed, ...]:
    ours = own_claims(state)
    older, newest = ours[:-FORMER], ours[-FORMER:]
    return (*(claimed for claimed in older if claimed.coordinator in heard), *newest)


def own_claims(state: State) -> tuple[Claimed, ...]:
    """By which a host may listen that has been told only what is in this record; the newest last.
    None where it took the volume from somebody else, and not both have accepted that."""
    if not state.coordinator or (claim_refusal(state) and not goes_on(state)):
        return ()
    return (*state.former, Claimed(coordinator=state.coordinator, epoch=state.epoch))


def is_newest(
    state: State | None,
    agent_epochs: Mapping[str, int | None],
    agent_coordinators: Mapping[str, str],
) -> bool:
    """Whether no agent has heard anything that is not in our record. A claim that succeeds only
    the coordinator they know finds it still so."""
    given = {own.coordinator: own.epoch for own in own_claims(state)} if state else {}

    def is_ours(host: str) -> bool:
        epoch, highest = agent_epochs.get(host), given.get(agent_coordinators[host])
        return highest is not None and epoch is not None and epoch <= highest

    return bool(agent_coordinators) and all(is_ours(host) for host in agent_coordinators)


def untaken_refusal(
    state: State,
    agent_epochs: Mapping[str, int | None],
    agent_coordinators: Mapping[str, str],
) -> Finding | None:
    """Why the volume may not be claimed without a person's word: somebody else has it, or has
    acted. None also where an agent knows nobody, for those who have told it are forgotten."""
    ours = {state.coordinator, *(own.coordinator for own in state.former)}
    others = {host: theirs for host, theirs in agent_coordinators.items() if theirs not in ours}
    known = {host: theirs for host, theirs in others.items() if theirs}
    return epochs_refusal(state, agent_epochs) or coordinator_refusal(state, known)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What a host has shown after both had accepted a claim. is_writing: primary, not frozen."""

    is_in_sync: bool
    is_writing: bool


def shown_sole(shown: Mapping[str, Shown]) -> tuple[bool, str | None]:
    """Whether it can be told who may have written alone, and who that is; None: nobody, both copies
    have everything. Whoever writes has every acknowledged write."""
    writers = [host for host, seen in shown.items() if seen.is_writing]
    if all(seen.is_in_sync for seen in shown.values()):
        return True, None
    return (True, writers[0]) if len(writers) == 1 else (False, None)


def goes_on(state: State) -> bool:
    """Whether the newest grant is a claim by which nothing is taken from anybody else."""
    grant = state.grant
    return grant is not None and grant.kind is GrantKind.CLAIM and bool(grant.source)


def adopted(
    state: State, sole: str | None, owner: str | None, unix_s: int, *, by_both: bool = True
) -> State:
    """The agents have accepted the claim. sole: as both have shown it since; where the record goes
    on, as before.  by_both: else one of them may still listen to an earlier claim of ours, and do
    what was sent with that."""
    # Whoever only confirms its own record moves nothing: no time for a failover to wait after it.
    changed_unix_s = state.changed_unix_s if owner == state.owner else unix_s
    return dataclasses.replace(
        finished(state, owner=owner, unix_s=changed_unix_s),
        sole=sole,
        former=() if by_both else state.former,
        is_loose=state.is_loose and not by_both,
    )
