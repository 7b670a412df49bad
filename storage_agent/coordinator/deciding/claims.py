"""A coordinator takes a volume over: pure rules, beside those of the arbiter.

Agents listen to the coordinator whose claim they have accepted last. A claim counts once both have
accepted it; who may have written alone until then is what they show after that, or what the record
says where they have listened to nobody else.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from storage_agent.coordinator.deciding.arbiter import (
    Decision,
    Grant,
    GrantKind,
    State,
    claim_refusal,
    epochs_refusal,
    finished,
)


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
    grant = Grant(
        kind=GrantKind.CLAIM,
        epoch=max([base.epoch, *known]) + 1,
        host="",
        operation_id=operation_id,
        source=base.coordinator if is_newest(state, agent_epochs, agent_coordinators) else "",
    )
    fresh = dataclasses.replace(
        base,
        epoch=grant.epoch,
        coordinator=operation_id,
        grant=grant,
        mark=None,
        revision=base.revision + 1,
    )
    return Decision(state=fresh, grant=grant)


def is_newest(
    state: State | None,
    agent_epochs: Mapping[str, int | None],
    agent_coordinators: Mapping[str, str],
) -> bool:
    """Whether no agent has heard anything that is not in our record. A claim that succeeds only
    the coordinator they know finds it still so."""
    return (
        state is not None
        and claim_refusal(state) is None
        and epochs_refusal(state, agent_epochs) is None
        and set(agent_coordinators.values()) == {state.coordinator} != {""}
    )


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


def adopted(state: State, sole: str | None, owner: str | None, unix_s: int) -> State:
    """Both agents have accepted the claim. sole: as both have shown it since; where the record goes
    on, as before."""
    return dataclasses.replace(finished(state, owner=owner, unix_s=unix_s), sole=sole)
