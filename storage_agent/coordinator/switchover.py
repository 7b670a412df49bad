"""A planned move: both copies connected and in sync; the target prepares and waits, the source lets
go, the target sees that and goes on.

Once the source has begun to let go, the agents finish the move also without this process. One
epoch and one pair of operation ids a move, recorded before the first step: begun again after
anything that went wrong, the same operations go on, and what is done is not done twice.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

from storage_agent.coordinator.coordinator import Coordinator
from storage_agent.coordinator.deciding.arbiter import Decision, Grant, State, decide_move
from storage_agent.coordinator.deciding.changed import changed_refusal
from storage_agent.coordinator.hooks import giving_of
from storage_agent.coordinator.move_check import MoveCheck, check_move
from storage_agent.coordinator.reaching.fleet import OnRecord
from storage_agent.coordinator.requirements import require_epochs
from storage_agent.coordinator.settings import VolumeSettings
from storage_agent.coordinator.views import VolumeView
from storage_agent.coordinator.withdrawal import settle
from storage_agent.model.errors import AgentError, OperationFailed, OutcomeUnknown, Refused
from storage_agent.model.finding import blockers
from storage_agent.model.operation import OperationRecord, OperationState
from storage_agent.model.plan import OperationKind
from storage_agent.model.replica import Role

# (host, record): each change of an operation, for whoever shows it.
OnProgress = Callable[[str, OperationRecord], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """gap_s: from the demotion's start to the promotion's end, as clients may have seen it.
    are_hooks_done: none has failed after it."""

    volume: str
    source: str | None
    target: str
    epoch: int
    gap_s: float
    is_already: bool = False
    are_hooks_done: bool = True


def switch_over(
    coordinator: Coordinator,
    volume: VolumeSettings,
    target: str,
    *,
    on_check: Callable[[MoveCheck], None] = lambda _check: None,
    on_progress: OnProgress = lambda _host, _record: None,
    on_text: Callable[[str], None] = lambda _text: None,
) -> Moved:
    """Moves the volume to `target`. on_check: gets what both hosts have planned, before anything
    is changed.

    Raises Refused (nothing was changed), OperationFailed (it is back where it was, or the message
    names where it stands), OutcomeUnknown (the message says what to look at).
    """
    view = coordinator.look(volume)
    if view.state is not None and view.state.sole is not None:
        settle(coordinator, view)
        # The first look only marks the time: see arbiter.seen_in_sync.
        coordinator.look(volume)
        view = coordinator.look(volume)
    state = require_epochs(view)
    if view.of(target).is_serving and not view.peer_of(target).is_primary:
        are_hooks_done = _close_earlier(coordinator, view, state, target)
        return Moved(volume=volume.key, source=None, target=target, epoch=state.epoch, gap_s=0.0,
                     is_already=True, are_hooks_done=are_hooks_done)  # fmt: skip
    check = check_move(coordinator, view, target)
    if found := blockers(check.findings):
        raise Refused(
            f"{volume.key} cannot be moved to {target}: {found[0].summary}",
            remedy=found[0].remedy,
            code=found[0].code,
            findings=check.findings,
        )
    on_check(check)
    giving = giving_of("switchover", volume, target)
    coordinator.hooks.before(giving)
    try:
        return _Move(coordinator, volume, target, on_progress, on_text).run(view)
    except AgentError as exc:
        coordinator.hooks.after(giving, exc.message)
        raise


def _nobody(_record: OperationRecord) -> None:
    """Hears of every change, and does not care."""


class _Move:
    """One move on its way."""

    def __init__(
        self,
        coordinator: Coordinator,
        volume: VolumeSettings,
        target: str,
        on_progress: OnProgress,
        on_text: Callable[[str], None],
    ) -> None:
        self._coordinator = coordinator
        self._volume = volume
        self._target = target
        self._source = volume.peer_of(target)
        self._on_progress = on_progress
        self._tell = on_text
        self._named = ""

    def run(self, view: VolumeView) -> Moved:
        coordinator, volume = self._coordinator, self._volume
        move_id = f"move-{coordinator.new_id()}"
        epochs = view.epochs()

        def rule(state: State) -> Decision:
            if refusal := changed_refusal(view.state, state):
                return Decision(state=state, refusal=refusal)
            return decide_move(state, self._source, self._target, move_id, epochs)

        grant = self._decided(rule)
        if view.of(self._source).is_primary:
            record, begun_s = self._hand_over(grant, view)
        else:
            begun_s = coordinator.clock.monotonic()
            record = self._promote(grant, view, None)
        gap_s = coordinator.clock.monotonic() - begun_s
        if record.state is not OperationState.SUCCEEDED:
            self._back(grant, record)
        if not coordinator.look(volume).of(self._target).is_serving:
            raise OperationFailed(
                f"{self._target} said that it serves {volume.name}, and does not show it",
                remedy=f"storage-coordinator status {volume.key}",
            )
        # Before the end is recorded: who is killed here calls them again.
        are_hooks_done = coordinator.hooks.after(giving_of("switchover", volume, self._target), "")
        coordinator.finish(volume, self._target, grant.epoch)
        return Moved(
            volume=volume.key,
            source=self._source,
            target=self._target,
            epoch=grant.epoch,
            gap_s=gap_s,
            are_hooks_done=are_hooks_done,
        )

    def _decided(self, rule: Callable[[State], Decision]) -> Grant:
        decision = self._coordinator.decide(self._volume, rule)
        self._named = decision.state.coordinator
        assert decision.grant is not None
        return decision.grant

    def _hand_over(self, grant: Grant, view: VolumeView) -> tuple[OperationRecord, float]:
        """The target's record, and when the source began to let go. Raises AgentError with the
        volume still on the source, or unknown."""
        wait_s = self._coordinator.settings.deadlines.handover_s
        promotion = self._coordinator.in_background(
            lambda heard: self._promote(grant, view, wait_s, heard)
        )
        if (running := view.of(self._target).operation) is not None:
            # By an earlier try.
            promotion.heard(running)
        promotion.wait_until_prepared()
        if promotion.has_ended():
            record = promotion.result()
            if record.state is OperationState.SUCCEEDED:
                # An earlier try had got further than could be seen.
                return record, self._coordinator.clock.monotonic()
            self._coordinator.finish(self._volume, self._source, grant.epoch)
            raise _ended(record, f"{self._volume.key} stays on {self._source}")
        begun_s = self._coordinator.clock.monotonic()
        record = self._operate(
            self._source,
            OperationKind.DEMOTE,
            {
                "operation_id": f"{grant.operation_id}-demote",
                "epoch": grant.epoch,
                "expected_primary": self._source,
            },
        )
        if record.state is OperationState.SUCCEEDED:
            return promotion.result(), begun_s
        self._tell(
            f"{self._source}: {record.message}; {self._target} stops waiting within {wait_s} s"
        )
        with contextlib.suppress(AgentError):
            taken = promotion.result()
            if taken.state is OperationState.SUCCEEDED:
                # The source had let go by itself, and shows the target as primary.
                return taken, begun_s
        if record.state in (OperationState.REFUSED, OperationState.ROLLED_BACK):
            self._coordinator.finish(self._volume, self._source, grant.epoch)
            raise _ended(record, f"{self._volume.key} stays on {self._source}")
        raise OperationFailed(
            f"{self._source} did not give {self._volume.name} up: {record.message}",
            remedy=record.remedy or f"on {self._source}: storage-agent status {self._volume.name}",
            findings=record.findings,
        )

    def _promote(
        self, grant: Grant, view: VolumeView, wait_s: int | None, heard: OnRecord = _nobody
    ) -> OperationRecord:
        return self._operate(
            self._target,
            OperationKind.PROMOTE,
            {
                "operation_id": f"{grant.operation_id}-promote",
                "epoch": grant.epoch,
                "expected_primary": view.expected_primary(self._target),
                "wait_s": wait_s,
            },
            heard,
        )

    def _back(self, grant: Grant, failed: OperationRecord) -> None:
        """To the old primary, in a new epoch, if the target shows that it is out of the way."""
        volume, source = self._volume, self._source
        view = self._coordinator.look(volume)
        target = view.of(self._target)
        if target.role != Role.SECONDARY or target.operation is not None:
            raise OperationFailed(
                f"{self._target} could not serve {volume.name} and did not get out of the way: "
                f"{failed.message}",
                remedy=f"on {self._target}: storage-agent demote {volume.name}; then: "
                f"storage-coordinator switchover {volume.key} --to {source}"
                if target.is_primary
                else f"look again: storage-coordinator status {volume.key}",
                findings=failed.findings,
            )
        self._tell(f"{self._target} could not serve it ({failed.message}); back to {source}")
        back_id = f"back-{self._coordinator.new_id()}"
        back = self._decided(
            lambda s: decide_move(s, self._target, source, back_id, view.epochs())
        )  # fmt: skip
        record = self._operate(
            source,
            OperationKind.PROMOTE,
            {
                "operation_id": f"{back.operation_id}-promote",
                "epoch": back.epoch,
                "expected_primary": view.expected_primary(source),
            },
        )
        if record.state is not OperationState.SUCCEEDED:
            raise OperationFailed(
                f"nobody serves {volume.name}: {self._target}: {failed.message}; "
                f"{source}: {record.message}",
                remedy=f"storage-coordinator switchover {volume.key} --to {source}",
                findings=(*failed.findings, *record.findings),
            )
        self._coordinator.finish(volume, source, back.epoch)
        raise _ended(failed, f"{volume.key} serves from {source} again", changed=True)

    def _operate(
        self,
        host: str,
        kind: OperationKind,
        params: dict[str, object],
        heard: OnRecord = _nobody,
    ) -> OperationRecord:
        def progress(record: OperationRecord) -> None:
            heard(record)
            self._on_progress(host, record)

        try:
            return self._coordinator.fleet.operate(
                host,
                kind,
                {"volume": self._volume.name, "coordinator": self._named, **params},
                progress,
            )
        except OutcomeUnknown as exc:
            raise OutcomeUnknown(
                exc.message,
                remedy=f"{exc.remedy}; to go on: storage-coordinator switchover "
                f"{self._volume.key} --to {self._target}",
                code=exc.code,
            ) from exc


def _close_earlier(coordinator: Coordinator, view: VolumeView, state: State, target: str) -> bool:
    """A move that was carried out, and whose end was not recorded. False where a hook failed."""
    if state.grant is None or state.grant.is_done or state.grant.host != target:
        return True
    are_hooks_done = coordinator.hooks.after(giving_of("switchover", view.volume, target), "")
    coordinator.finish(view.volume, target, state.grant.epoch)
    return are_hooks_done


def _ended(record: OperationRecord, where: str, *, changed: bool = False) -> AgentError:
    is_refusal = record.state is OperationState.REFUSED and not changed
    kind = Refused if is_refusal else OperationFailed
    code = record.findings[0].code if is_refusal and record.findings else None
    return kind(
        f"{where}: {record.message}", remedy=record.remedy, code=code, findings=record.findings
    )
