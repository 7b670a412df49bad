"""Epochs that cannot be: refused before they are stored, and the way back for what was stored."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from storage_agent.coordinator.coordinator import Coordinator
from storage_agent.coordinator.deciding.arbiter import Grant, GrantKind, State
from storage_agent.coordinator.deciding.epochs import reset_to
from storage_agent.coordinator.settings import VolumeSettings
from storage_agent.model.errors import Refused


@dataclass(frozen=True, slots=True, kw_only=True)
class Reset:
    """What a record would go back to, and from where. shown: by host; None where it has none that
    can be read.  given: the newest epochs that the record has given, newest first."""

    volume: str
    before: int
    epoch: int
    shown: dict[str, int | None]
    given: tuple[int, ...]


def plan_reset(coordinator: Coordinator, volume: VolumeSettings) -> Reset:
    """Changes nothing. Raises Refused where there is nothing to go back from, or nobody shows
    where to."""
    view = coordinator.look(volume)
    if view.state is None:
        raise Refused(
            f"this coordinator has no record of {volume.key}",
            remedy=f"storage-coordinator adopt {volume.key}",
            code="NOT_ADOPTED",
        )
    given = coordinator.store.epochs(volume.key)
    epoch = reset_to(given, view.epochs())
    if epoch is None:
        raise Refused(
            f"no host shows an epoch of {volume.name} that the record could be held against",
            remedy=f"bring one of them back: storage-coordinator ping {volume.hosts[0]}",
            code="BOTH_MUST_ANSWER",
        )
    if view.state.epoch <= epoch:
        raise Refused(
            f"the record of {volume.key} is not beyond what can have been used: epoch "
            f"{view.state.epoch}",
            remedy=f"see what is wrong: storage-coordinator status {volume.key}",
            code="NOTHING_TO_RESET",
        )
    return Reset(
        volume=volume.key,
        before=view.state.epoch,
        epoch=epoch,
        shown=view.epochs(),
        given=tuple(sorted(given, reverse=True)[:5]),
    )


def reset(coordinator: Coordinator, volume: VolumeSettings, planned: Reset) -> None:
    """Nothing is granted from here on until both hosts have accepted a new claim: what was sent
    under a higher epoch names an older one, and is refused. Raises Refused."""
    reset_id = f"reset-{coordinator.new_id()}"

    def rule(state: State) -> State:
        if state.epoch != planned.before:
            return state
        return dataclasses.replace(
            state,
            epoch=planned.epoch,
            coordinator="",
            grant=Grant(kind=GrantKind.CLAIM, epoch=planned.epoch, host="", operation_id=reset_id),
            mark=None,
            revision=state.revision + 1,
        )

    after = coordinator.store.change(volume.key, rule)
    if after is None or after.grant is None or after.grant.operation_id != reset_id:
        raise Refused(
            f"the record of {volume.key} was changed meanwhile; nothing was reset",
            remedy=f"look again: storage-coordinator status {volume.key}",
            code="BUSY",
        )
