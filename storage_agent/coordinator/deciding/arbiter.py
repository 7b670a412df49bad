"""Who may write alone: the rules by which a coordinator grants, as pure functions.

The argument. Connected copies exclude two primaries by themselves (DRBD), and a primary that
loses its peer freezes until it is answered (fencing resource-and-stonith). So nobody acknowledges
a write alone without a grant: `continue` to the frozen primary, or `promote` to the other side.
From a grant on, its host is `sole`: until both copies were seen in sync again, nobody else gets
one. Hence one writer, and it has every acknowledged write.
Every grant takes a new epoch and is durable before it is told to anyone. Agents refuse epochs
they have seen, so what was sent long ago changes nothing, and every coordinator but the one that
has adopted the volume last: that needs both of them, so of two coordinators one is heard at most.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from storage_agent.coordinator.deciding.epochs import ahead
from storage_agent.model.finding import Finding, blocker


class GrantKind(StrEnum):
    """CONTINUE: the frozen primary goes on alone.  PROMOTE: the other side takes over.
    MOVE: a planned switchover, by DRBD's own exclusion; nobody becomes sole by it.
    CLAIM: this coordinator takes the volume's epochs over."""

    CONTINUE = "continue"
    PROMOTE = "promote"
    MOVE = "move"
    CLAIM = "claim"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A moment of one host, by its own clock, that lies after a grant. boot_id: of that clock."""

    boot_id: str
    at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """The newest decision on a volume. incident: of CONTINUE.  operation_id: of the others; the
    same again is the same operation.  source: whom the volume is taken from, as far as is known;
    of CLAIM the claim whose record this one goes on with, empty where it does not.
    was_sole: the host was allowed to write alone before, too."""

    kind: GrantKind
    epoch: int
    host: str
    operation_id: str = ""
    incident: str = ""
    source: str = ""
    was_sole: bool = False
    is_done: bool = False
    is_withdrawn: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A claim of this record's own, and the highest epoch that was given under it."""

    coordinator: str
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What is durable of one volume.

    epoch: the highest that was used.  coordinator: the claim by which agents know this one.
    former: its claims before that, as long as a host may still listen to one of them, and has
    listened to nobody else since.
    owner: whom it was given to last.  sole: the only host that may have written alone since both
    copies were last known in sync; None: neither.  mark: see `seen_in_sync`.  automatic_used: a
    failover without a person has happened, and no person has looked since.  changed_unix_s: of the
    last change of ownership.  guarded: hosts that, when they were seen last, would write nothing
    without their peer before they are told to; by their kernels, not by what is configured.
    """

    epoch: int
    coordinator: str = ""
    former: tuple[Claimed, ...] = ()
    owner: str | None = None
    sole: str | None = None
    mark: Mark | None = None
    is_loose: bool = False
    revision: int = 0
    grant: Grant | None = None
    automatic_used: bool = False
    changed_unix_s: int = 0
    guarded: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """A frozen primary asks. epoch: as its host knows it."""

    host: str
    incident: str
    boot_id: str
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """state: to be stored before anything is told.  grant: what may be told then; None where
    `refusal` says why not.  deny_epoch: under which the incident is denied; None: it is not."""

    state: State
    grant: Grant | None = None
    refusal: Finding | None = None
    deny_epoch: int | None = None


def decide_incident(state: State, incident: Incident) -> Decision:
    """`continue` unless the other side was given the volume. The same incident again gets the
    same grant, as long as its host can accept that: taking it back may have been broken off."""
    if refusal := claim_refusal(state):
        return _refused(state, refusal)
    if incident.epoch > state.epoch:
        return _refused(state, ahead(incident.host, incident.epoch, state.epoch))
    if state.sole not in (None, incident.host):
        # An agent takes one word an epoch: a host that has seen this one needs another.
        epoch = state.epoch if incident.epoch < state.epoch else state.epoch + 1
        return Decision(state=dataclasses.replace(state, epoch=epoch), deny_epoch=epoch)
    last = state.grant
    if last and last.kind is GrantKind.CONTINUE and last.incident == incident.incident:
        if last.is_withdrawn:
            return _refused(state, cannot_go_on(incident.host))
        if incident.epoch <= last.epoch:
            return Decision(state=state, grant=last)
    return _granted(
        state,
        Grant(
            kind=GrantKind.CONTINUE,
            epoch=state.epoch + 1,
            host=incident.host,
            incident=incident.incident,
            source=state.owner or "",
        ),
    )


def decide_promotion(
    state: State,
    host: str,
    operation_id: str,
    agent_epochs: Mapping[str, int | None],
    *,
    automatic: bool = False,
) -> Decision:
    """May `host` take the volume over without its peer? agent_epochs: of all hosts that answer.
    automatic: no person has asked.

    An unfinished promotion of the same host goes on under its own epoch and operation id.
    """
    if refusal := claim_refusal(state) or epochs_refusal(state, agent_epochs):
        return _refused(state, refusal)
    if state.sole not in (None, host):
        assert state.sole is not None
        return _refused(state, _other_has_it(state, host))
    last = state.grant
    is_same = last is not None and last.kind is GrantKind.PROMOTE and last.host == host
    if is_same and last is not None and not last.is_done and state.sole == host:
        return Decision(state=state, grant=last)
    return _granted(
        dataclasses.replace(state, automatic_used=state.automatic_used or automatic),
        Grant(
            kind=GrantKind.PROMOTE,
            epoch=state.epoch + 1,
            host=host,
            operation_id=operation_id,
            source=state.owner or "",
        ),
    )


def decide_move(
    state: State,
    source: str,
    target: str,
    operation_id: str,
    agent_epochs: Mapping[str, int | None],
) -> Decision:
    """A planned change of ownership. The agents see to it that it happens connected and in sync
    alone, so it makes nobody sole."""
    if refusal := claim_refusal(state) or epochs_refusal(state, agent_epochs):
        return _refused(state, refusal)
    if state.sole is not None:
        return _refused(state, _other_has_it(state, target))
    last = state.grant
    if last and last.kind is GrantKind.MOVE and not last.is_done and last.host == target:
        return Decision(state=state, grant=last)
    grant = Grant(
        kind=GrantKind.MOVE,
        epoch=state.epoch + 1,
        host=target,
        source=source,
        operation_id=operation_id,
    )
    fresh = dataclasses.replace(state, epoch=grant.epoch, grant=grant, revision=state.revision + 1)
    return Decision(state=fresh, grant=grant)


def claim_refusal(state: State) -> Finding | None:
    """Why nothing may be granted while a claim is on its way: the other host may still hear
    somebody else."""
    grant = state.grant
    if grant is None or grant.kind is not GrantKind.CLAIM or grant.is_done:
        return None
    return blocker(
        "ADOPTION_UNFINISHED",
        "not both hosts have accepted yet that this coordinator is in charge",
        measured=f"epoch {grant.epoch}, claim {grant.operation_id}",
        limit="accepted by both hosts",
        remedy="storage-coordinator adopt VOLUME",
    )


def coordinator_refusal(state: State, agent_coordinators: Mapping[str, str]) -> Finding | None:
    """An agent that listens to somebody else takes nothing from us, nor does one that has not
    accepted our newest claim."""
    for host, theirs in agent_coordinators.items():
        if theirs and theirs == state.coordinator:
            continue
        if any(theirs == claimed.coordinator for claimed in state.former):
            return blocker(
                "ADOPTION_UNFINISHED",
                f"{host} has not accepted yet the newest claim of this coordinator",
                measured=f"{host}: {theirs}, of this coordinator too",
                limit=f"{state.coordinator}, accepted by both hosts",
                remedy="storage-coordinator adopt VOLUME",
            )
        return blocker(
            "OTHER_COORDINATOR",
            f"{host} listens to another coordinator"
            if theirs
            else f"{host} knows no coordinator: made anew, upgraded, or its epoch restored",
            measured=f"{host}: {theirs or 'none'}",
            limit=f"this one: {state.coordinator or 'not adopted'}",
            remedy="on the coordinator that shall be obeyed: storage-coordinator adopt VOLUME",
        )
    return None


def seen_in_sync(
    state: State, host: str, boot_id: str, *, taken_s: float, now_s: float, is_in_sync: bool
) -> State:
    """The state after a look at `host` that was asked for under this very revision of it.

    taken_s, now_s: when the host looked and when it answered, by its own clock. Only a look that
    was taken after an earlier answer of the same boot counts: a snapshot may be older than the
    grant, also in an answer that is not. Durations of other clocks prove nothing.
    """
    if state.sole != host:
        return state
    if state.mark is None or state.mark.boot_id != boot_id:
        return dataclasses.replace(state, mark=Mark(boot_id=boot_id, at_s=now_s))
    if not is_in_sync or taken_s <= state.mark.at_s or state.is_loose:
        # A promotion that is still on its way survives a resync: `sole` ends after it has.
        return state
    return dataclasses.replace(state, sole=None, mark=None)


def seen_guarded(state: State, host: str, *, is_guarded: bool) -> State:
    """The state after a look at `host`. One that does not answer is as it was seen last: what DRBD
    was told does not change by itself."""
    others = tuple(name for name in state.guarded if name != host)
    guarded = tuple(sorted((*others, host))) if is_guarded else others
    return dataclasses.replace(state, guarded=guarded)


def withdrawn(state: State, fenced_epoch: int) -> State:
    """The promotion or `continue` that was granted last has not happened and cannot any more: its
    host never wrote by it, and has accepted `fenced_epoch` since. The volume is as before."""
    grant = state.grant
    assert grant is not None
    assert grant.kind in (GrantKind.PROMOTE, GrantKind.CONTINUE)
    return dataclasses.replace(
        state,
        epoch=max(state.epoch, fenced_epoch),
        grant=dataclasses.replace(grant, is_done=True, is_withdrawn=True),
        sole=grant.host if grant.was_sole else None,
        mark=None,
        is_loose=False,
        revision=state.revision + 1,
        owner=grant.source or None,
    )


def finished(state: State, *, owner: str | None, unix_s: int) -> State:
    """The newest grant has ended: the agent has accepted its epoch, and refuses what was sent with
    older ones. owner: who has the volume now; None: nobody."""
    assert state.grant is not None
    grant = dataclasses.replace(state.grant, is_done=True)
    return dataclasses.replace(
        state,
        grant=grant,
        owner=owner,
        changed_unix_s=unix_s,
        is_loose=False,
        mark=None,
        revision=state.revision + 1,
    )


def automatic_refusal(
    state: State, *, automatic: bool, cooldown_s: int, unix_s: int
) -> Finding | None:
    """Why no failover may happen without a person; None where it may."""
    if not automatic:
        return blocker(
            "AUTOMATIC_OFF",
            "failing over without a person is not allowed for this volume",
            measured="automatic = false",
            limit="automatic = true in coordinator.toml",
            remedy="storage-coordinator failover VOLUME --to HOST",
        )
    if state.automatic_used:
        return blocker(
            "AUTOMATIC_USED",
            "it has failed over by itself once, and nobody has looked since",
            measured="1 failover without a person",
            limit="none that nobody has acknowledged",
            remedy="look, then: storage-coordinator failover VOLUME --to HOST; or let it do so "
            "once more: storage-coordinator acknowledge VOLUME",
        )
    since_s = unix_s - state.changed_unix_s
    # A clock that went back proves no waiting.
    if state.changed_unix_s and not since_s >= cooldown_s:
        return blocker(
            "COOLDOWN",
            "it has changed hands too recently for another change without a person",
            measured=f"{since_s} s ago",
            limit=f"at least {cooldown_s} s",
            remedy="storage-coordinator failover VOLUME --to HOST",
        )
    return None


def epochs_refusal(state: State, agent_epochs: Mapping[str, int | None]) -> Finding | None:
    """An agent that has seen a newer epoch has been told something that is not in our record."""
    for host, number in agent_epochs.items():
        if number is not None and number > state.epoch:
            return ahead(host, number, state.epoch)
    return None


def _granted(state: State, grant: Grant) -> Decision:
    grant = dataclasses.replace(grant, was_sole=state.sole == grant.host)
    fresh = dataclasses.replace(
        state,
        epoch=grant.epoch,
        owner=grant.host,
        sole=grant.host,
        mark=None,
        is_loose=state.is_loose or grant.kind is GrantKind.PROMOTE,
        revision=state.revision + 1,
        grant=grant,
    )
    return Decision(state=fresh, grant=grant)


def _refused(state: State, refusal: Finding) -> Decision:
    return Decision(state=state, refusal=refusal)


def cannot_go_on(host: str) -> Finding:
    return blocker(
        "CONTINUE_WITHDRAWN",
        f"{host} was to go on alone and has refused, for its own copy is not the current data",
        measured=f"{host}: frozen, incident not answered",
        limit="its own disk UpToDate",
        remedy="storage-coordinator failover VOLUME --to HOST; or bring the link back",
    )


def _other_has_it(state: State, host: str) -> Finding:
    return blocker(
        "PEER_HAS_GRANT",
        f"{state.sole} was allowed to write alone, and both copies were not seen in sync since: "
        f"the copy of {host} may miss acknowledged writes",
        measured=f"epoch {state.epoch}, sole writer {state.sole}",
        limit="both copies in sync, seen since",
        remedy=f"bring {state.sole} back, then wait for the resync: "
        "storage-coordinator status VOLUME",
    )
