"""A planned move: both copies connected and in sync, demote here, promote there, look each time.

One epoch and one pair of operation ids a move, recorded before the first step: begun again after
anything that went wrong, the same operations go on, and what is done is not done twice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from storage_agent.coordinator.arbiter import Decision, Grant, GrantKind, State, decide_move
from storage_agent.coordinator.coordinator import Coordinator, require_epochs
from storage_agent.coordinator.settings import VolumeSettings
from storage_agent.coordinator.views import VolumeView
from storage_agent.model.errors import AgentError, OperationFailed, OutcomeUnknown, Refused
from storage_agent.model.finding import Finding, blocker, blockers
from storage_agent.model.operation import OperationRecord, OperationState
from storage_agent.model.plan import OperationKind, Plan
from storage_agent.model.replica import Role

# (host, record): each change of an operation, for whoever shows it.
OnProgress = Callable[[str, OperationRecord], None]
# Of a promotion on the target, while the source still serves: as it should be.
_EXPECTED_BEFORE = frozenset({"PEER_IS_PRIMARY"})


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveCheck:
    """Would a switchover succeed now? findings: blockers say why not.  plans: by host, as far as
    they could be made.  source: None where no host is primary."""

    source: str | None
    target: str
    findings: tuple[Finding, ...]
    plans: dict[str, Plan]


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """gap_s: from the demotion's start to the promotion's end, as clients may have seen it."""

    volume: str
    source: str | None
    target: str
    epoch: int
    gap_s: float
    is_already: bool = False


def check_move(coordinator: Coordinator, view: VolumeView, target: str) -> MoveCheck:
    """Looks and plans on both hosts, changes nothing."""
    volume = view.volume
    findings = list(_preconditions(view, target))
    source = view.peer_of(target)
    plans: dict[str, Plan] = {}
    for host, kind in ((source, OperationKind.DEMOTE), (view.of(target), OperationKind.PROMOTE)):
        is_needed = host.is_primary == (kind is OperationKind.DEMOTE)
        if host.error is not None or not is_needed:
            continue
        try:
            answer = coordinator.fleet.plan(host.host, kind, volume.name)
        except AgentError as exc:
            findings.append(blocker(exc.code, f"{host.host}: {exc.message}", remedy=exc.remedy))
            continue
        plans[host.host] = answer.plan
        expected = _EXPECTED_BEFORE if source.is_primary else frozenset[str]()
        findings += [f for f in answer.findings if f.code not in expected]
    primary = view.primary()
    return MoveCheck(
        source=primary.host if primary else None,
        target=target,
        findings=tuple(dict.fromkeys(findings)),
        plans=plans,
    )


def switch_over(
    coordinator: Coordinator,
    volume: VolumeSettings,
    target: str,
    *,
    on_progress: OnProgress = lambda _host, _record: None,
    on_text: Callable[[str], None] = lambda _text: None,
) -> Moved:
    """Moves the volume to `target`.

    Raises Refused (nothing was changed), OperationFailed (it is back where it was, or the message
    names where it stands), OutcomeUnknown (the message says what to look at).
    """
    view = coordinator.look(volume)
    if view.state is not None and view.state.sole is not None:
        # The first look only marks the time: see arbiter.seen_in_sync.
        view = coordinator.look(volume)
    state = require_epochs(view)
    if view.of(target).is_serving and not view.peer_of(target).is_primary:
        _close_earlier(coordinator, view, state, target)
        return Moved(volume=volume.key, source=None, target=target, epoch=state.epoch, gap_s=0.0,
                     is_already=True)  # fmt: skip
    check = check_move(coordinator, view, target)
    if found := blockers(check.findings):
        raise Refused(
            f"{volume.key} cannot be moved to {target}: {found[0].summary}",
            remedy=found[0].remedy,
            code=found[0].code,
            findings=check.findings,
        )
    move = _Move(coordinator, volume, target, on_progress, on_text)
    return move.run(view)


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

    def run(self, view: VolumeView) -> Moved:
        coordinator, volume = self._coordinator, self._volume
        self._prepare()
        move_id = f"move-{coordinator.new_id()}"
        epochs = view.epochs()

        def rule(state: State) -> Decision:
            return decide_move(state, self._source, self._target, move_id, epochs)

        grant = coordinator.decide(volume, rule).grant
        assert grant is not None
        begun_s = coordinator.clock.monotonic()
        if view.of(self._source).is_primary:
            self._demote(grant)
        self._promote(grant)
        gap_s = coordinator.clock.monotonic() - begun_s
        after = coordinator.look(volume)
        if not after.of(self._target).is_serving:
            raise OperationFailed(
                f"{self._target} said that it serves {volume.name}, and does not show it",
                remedy=f"storage-coordinator status {volume.key}",
            )
        coordinator.finish(volume, self._target, grant.epoch)
        return Moved(
            volume=volume.key,
            source=self._source,
            target=self._target,
            epoch=grant.epoch,
            gap_s=gap_s,
        )

    def _prepare(self) -> None:
        """What can be done before clients notice: array, replica, the server's namespaces."""
        record = self._operate(
            self._target,
            OperationKind.ASSEMBLE,
            {"operation_id": f"prepare-{self._coordinator.new_id()}", "wait_s": 0},
        )
        if record.state is OperationState.REFUSED:
            # What speaks against assembling need not speak against promoting: its plan decides.
            self._tell(f"{self._target} is not prepared beforehand: {record.message}")
        elif record.state is not OperationState.SUCCEEDED:
            raise Refused(
                f"{self._target} cannot be prepared for {self._volume.name}: {record.message}",
                remedy=record.remedy or f"on {self._target}: storage-agent doctor",
                code="PREPARE_FAILED",
                findings=record.findings,
            )

    def _demote(self, grant: Grant) -> None:
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
            return
        if record.state in (OperationState.REFUSED, OperationState.ROLLED_BACK):
            self._coordinator.finish(self._volume, self._source, grant.epoch)
            raise _ended(record, f"{self._volume.key} stays on {self._source}")
        raise OperationFailed(
            f"{self._source} did not give {self._volume.name} up: {record.message}",
            remedy=record.remedy or f"on {self._source}: storage-agent status {self._volume.name}",
            findings=record.findings,
        )

    def _promote(self, grant: Grant) -> None:
        """Only from a host that shows itself secondary. Raises after it has brought the volume
        back, or named where it stands."""
        between = self._coordinator.look(self._volume)
        source = between.of(self._source)
        if source.role != Role.SECONDARY:
            raise OutcomeUnknown(
                f"{self._source} does not show that it gave {self._volume.name} up"
                + (f": {source.error.message}" if source.error else f": it is {source.role}"),
                remedy=f"storage-coordinator status {self._volume.key}; then: "
                f"storage-coordinator switchover {self._volume.key} --to {self._target}",
            )
        record = self._operate(
            self._target,
            OperationKind.PROMOTE,
            {"operation_id": f"{grant.operation_id}-promote", "epoch": grant.epoch},
        )
        if record.state is not OperationState.SUCCEEDED:
            self._back(grant, record)

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
                f"storage-coordinator switchover {volume.key} --to {source}",
                findings=failed.findings,
            )
        self._tell(f"{self._target} could not serve it ({failed.message}); back to {source}")
        back_id = f"back-{self._coordinator.new_id()}"
        back = self._coordinator.decide(
            volume, lambda s: decide_move(s, self._target, source, back_id, view.epochs())
        ).grant
        assert back is not None
        record = self._operate(
            source,
            OperationKind.PROMOTE,
            {"operation_id": f"{back.operation_id}-promote", "epoch": back.epoch},
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
        self, host: str, kind: OperationKind, params: dict[str, object]
    ) -> OperationRecord:
        try:
            return self._coordinator.fleet.operate(
                host,
                kind,
                {"volume": self._volume.name, **params},
                lambda record: self._on_progress(host, record),
            )
        except OutcomeUnknown as exc:
            raise OutcomeUnknown(
                exc.message,
                remedy=f"{exc.remedy}; to go on: storage-coordinator switchover "
                f"{self._volume.key} --to {self._target}",
                code=exc.code,
            ) from exc


def _preconditions(view: VolumeView, target: str) -> list[Finding]:
    volume, source = view.volume, view.peer_of(target)
    if any(host.error is not None or host.replica is None for host in view.hosts):
        return [
            blocker(
                "BOTH_MUST_ANSWER",
                f"both hosts must answer: "
                f"{host.error.message if host.error else f'{host.host} shows no replica'}",
                remedy=f"storage-coordinator status {volume.key}; if {source.host} is dead: "
                f"storage-coordinator failover {volume.key} --to {target}",
            )
            for host in view.hosts
            if host.error is not None or host.replica is None
        ]
    found = []
    if view.of(target).is_primary and not _is_unfinished(view, target):
        found.append(
            blocker(
                "WRONG_PRIMARY",
                f"{target} is primary for {volume.name} already",
                measured=f"{source.host} {source.role}, {target} {view.of(target).role}",
                limit=f"primary: {source.host}",
                remedy=f"storage-coordinator status {volume.key}",
            )
        )
    if not all(host.is_in_sync for host in view.hosts):
        found.append(
            blocker(
                "NOT_IN_SYNC",
                f"the two copies of {volume.name} are not both seen in sync",
                measured=", ".join(
                    f"{host.host}: {'in sync' if host.is_in_sync else 'not in sync'}"
                    for host in view.hosts
                ),
                limit="connected, established, both UpToDate, 0 bytes out of sync, on both hosts",
                remedy=f"wait for the resync: storage-coordinator status {volume.key}",
            )
        )
    for host in view.hosts:
        if host.operation is not None and not _is_of_this_move(view, host.operation):
            found.append(
                blocker(
                    "BUSY",
                    f"an operation on {volume.name} runs on {host.host}",
                    measured=host.operation.request.operation_id,
                    remedy=f"wait for it: storage-coordinator status {volume.key}",
                )
            )
    return found


def _is_unfinished(view: VolumeView, target: str) -> bool:
    """A move there was begun before, and goes on now."""
    grant = view.state.grant if view.state else None
    return (
        grant is not None
        and (grant.kind, grant.host, grant.is_done) == (GrantKind.MOVE, target, False)
        and not view.peer_of(target).is_primary
    )


def _is_of_this_move(view: VolumeView, record: OperationRecord) -> bool:
    grant = view.state.grant if view.state else None
    return grant is not None and record.request.operation_id.startswith(f"{grant.operation_id}-")


def _close_earlier(coordinator: Coordinator, view: VolumeView, state: State, target: str) -> None:
    """A move that was carried out, and whose end was not recorded."""
    if state.grant is not None and not state.grant.is_done and state.grant.host == target:
        coordinator.finish(view.volume, target, state.grant.epoch)


def _ended(record: OperationRecord, where: str, *, changed: bool = False) -> AgentError:
    is_refusal = record.state is OperationState.REFUSED and not changed
    kind = Refused if is_refusal else OperationFailed
    code = record.findings[0].code if is_refusal and record.findings else None
    return kind(
        f"{where}: {record.message}", remedy=record.remedy, code=code, findings=record.findings
    )
