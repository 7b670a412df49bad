"""Would a planned move succeed now? Looks and plans on both hosts, changes nothing."""

from __future__ import annotations

from dataclasses import dataclass

from storage_agent.coordinator.agreement import agreement_findings
from storage_agent.coordinator.coordinator import Coordinator
from storage_agent.coordinator.deciding.arbiter import GrantKind
from storage_agent.coordinator.views import HostView, VolumeView
from storage_agent.model.errors import AgentError, error_finding
from storage_agent.model.finding import Finding, blocker
from storage_agent.model.operation import OperationRecord
from storage_agent.model.plan import OperationKind, Plan
from storage_agent.model.replica import DiskState, Role


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveCheck:
    """Would a switchover succeed now? findings: blockers say why not.  plans: by host, as far as
    they could be made.  source: None where no host is primary."""

    source: str | None
    target: str
    findings: tuple[Finding, ...]
    plans: dict[str, Plan]


def check_move(coordinator: Coordinator, view: VolumeView, target: str) -> MoveCheck:
    """Looks and plans on both hosts, changes nothing."""
    volume = view.volume
    findings = list(_preconditions(view, target))
    source = view.peer_of(target)
    plans: dict[str, Plan] = {}
    wanted = ((source, OperationKind.DEMOTE), (view.of(target), OperationKind.PROMOTE))
    # What one of them would do without the other is no answer to this question.
    for host, kind in wanted if _do_both_answer(view) else ():
        is_needed = host.is_primary == (kind is OperationKind.DEMOTE)
        if not is_needed:
            continue
        try:
            waits = kind is OperationKind.PROMOTE and source.is_primary
            wait_s = coordinator.settings.deadlines.handover_s if waits else None
            answer = coordinator.fleet.plan(host.host, kind, volume.name, wait_s=wait_s)
        except AgentError as exc:
            findings.append(
                error_finding(
                    exc,
                    where=f"{host.host}: ",
                    measured=f"no plan of {kind} from {host.host}",
                    limit="a plan with no blocker",
                    remedy=f"storage-coordinator ping {host.host}",
                )
            )
            continue
        plans[host.host] = answer.plan
        findings += answer.findings
    if _do_both_answer(view) and source.is_primary:
        findings += agreement_findings(coordinator, view)
    primary = view.primary()
    return MoveCheck(
        source=primary.host if primary else None,
        target=target,
        findings=tuple(dict.fromkeys(findings)),
        plans=plans,
    )


def _preconditions(view: VolumeView, target: str) -> list[Finding]:
    volume, source = view.volume, view.peer_of(target)
    if silent := [host for host in view.hosts if host.error or host.replica is None]:
        return [_must_answer(view, host, target) for host in silent]
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
    if not _has_all(view, target):
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
                    limit="none, or this move's own",
                    remedy=f"wait for it: storage-coordinator status {volume.key}",
                )
            )
    return found


def _has_all(view: VolumeView, target: str) -> bool:
    """Both copies are in sync, or it is the source's own that is not."""
    if all(host.is_in_sync for host in view.hosts):
        return True
    source, replica = view.peer_of(target).replica, view.of(target).replica
    if source is None or source.role is not Role.PRIMARY or replica is None:
        return False
    is_whole = replica.disk is DiskState.UP_TO_DATE and view.of(target).is_connected is True
    return is_whole and source.peer_has_all()


def _do_both_answer(view: VolumeView) -> bool:
    return all(host.error is None and host.replica is not None for host in view.hosts)


def _must_answer(view: VolumeView, silent: HostView, target: str) -> Finding:
    volume, host, other = view.volume, silent.host, view.peer_of(silent.host)
    if silent.error is None:
        return blocker(
            "BOTH_MUST_ANSWER",
            f"both hosts must answer: {host} shows no replica of {volume.name}",
            measured=f"{host}: no replica",
            limit="the replica of both hosts seen",
            remedy=f"on {host}: storage-agent assemble {volume.name}",
        )
    remedy = f"see why: storage-coordinator ping {host}"
    if host != target and other.error is None and other.is_connected is False:
        # Nobody takes over by moving to a dead host, nor beside one that is connected.
        remedy = f"{remedy}; if it is dead: storage-coordinator failover {volume.key} --to {target}"
    return blocker(
        "BOTH_MUST_ANSWER",
        f"both hosts must answer: {silent.error.message}",
        measured=f"{host}: {silent.error.code}",
        limit="an answer of both hosts",
        remedy=remedy,
    )


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
