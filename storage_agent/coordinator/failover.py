"""The other side takes over without the old primary's help: only with proof, never by force.

The proof is the coordinator's grant, where the old primary's kernel was seen to freeze without its
peer: it waits for an answer, and after this grant it gets none but `deny`. A fence agent, where one
is configured, turns the old host off as well. Where nobody arbitrates (arbitration = "none"), or
where that was not seen, the old primary may write on alone: there the proof is that fence agent's
word, or a person's who has typed the old host's name. The target's agent gets it with the
promotion, and records it. A fence agent that cannot do its work stops a failover only where it
would have been the only proof.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from storage_agent.coordinator.coordinator import Coordinator
from storage_agent.coordinator.deciding.arbiter import (
    Decision,
    Grant,
    State,
    coordinator_refusal,
    decide_promotion,
)
from storage_agent.coordinator.deciding.changed import changed_refusal
from storage_agent.coordinator.deciding.proof import Proof, person_needed, wanted_proof
from storage_agent.coordinator.fencing import Fence
from storage_agent.coordinator.hooks import Giving, giving_of
from storage_agent.coordinator.reaching.answers import arbitration_of, losses_of
from storage_agent.coordinator.requirements import refused, require_epochs, unproven
from storage_agent.coordinator.settings import VolumeSettings
from storage_agent.coordinator.switchover import OnProgress
from storage_agent.coordinator.views import HostView, VolumeView, not_adopted
from storage_agent.coordinator.withdrawal import never_wrote, withdraw
from storage_agent.model.errors import AgentError, OperationFailed, Refused, error_finding
from storage_agent.model.finding import Finding, blocker, blockers, warning
from storage_agent.model.operation import OperationRecord, OperationState
from storage_agent.model.plan import OperationKind, Plan
from storage_agent.model.replica import Replica

# What the grant is the answer to.
_EXPECTED_BEFORE = frozenset({"PEER_NOT_PROVEN_OFF", "PROMOTION_NOT_GRANTED"})
# What is no more once the other host is dead.
_EXPECTED_WHILE_ALIVE = frozenset({"PEER_IS_PRIMARY", "PEER_ROLE_UNKNOWN"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """What may be missing on the target. seconds: since its peer was lost; None where that is not
    known.  bytes: what it knows that it lacks; None where nothing can be known.  is_proven: no
    acknowledged write is missing."""

    is_proven: bool
    seconds: int | None
    bytes: int | None
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeoverCheck:
    """Would a failover succeed now? arbitration: as the target has it; empty where that is not
    known.  is_guarded: and the other host was last seen to do so: it stands still without a grant.
    proof: by what it would be known that the other host does not write, in words; likewise."""

    target: str
    findings: tuple[Finding, ...]
    arbitration: str
    is_guarded: bool
    proof: str
    loss: Loss | None
    plan: Plan | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenOver:
    """are_hooks_done: none has failed after it."""

    volume: str
    target: str
    epoch: int
    proof: str
    are_hooks_done: bool = True


def check_takeover(
    coordinator: Coordinator, view: VolumeView, target: str, *, if_peer_died: bool = False
) -> TakeoverCheck:
    """Asks the target alone, changes nothing. if_peer_died: not whether it may happen now, but
    whether it could if the other host died at this moment."""
    volume = view.volume
    host, old = view.of(target), view.peer_of(target)
    if host.error is not None or host.snapshot is None:
        finding = _target_unknown(volume, host)
        return TakeoverCheck(
            target=target,
            findings=(finding,),
            arbitration="",
            is_guarded=False,
            proof="",
            loss=None,
            plan=None,
        )
    findings = list(_record_findings(coordinator, view, target))
    expected = _EXPECTED_BEFORE
    if if_peer_died:
        expected |= _EXPECTED_WHILE_ALIVE
    elif old.error is None and old.is_serving:
        findings.append(
            blocker(
                "PEER_SERVES",
                f"{old.host} is alive and serves {volume.name}",
                measured=f"{old.host}: {old.role}, writes flow",
                limit="dead, frozen, or not primary",
                remedy=f"storage-coordinator switchover {volume.key} --to {target}",
            )
        )
    elif host.is_connected:
        findings.append(
            blocker(
                "PEER_CONNECTED",
                f"{target} is still connected to {old.host}: nobody has to be replaced",
                measured=f"{target}: connected to {old.host}",
                limit="not connected",
                remedy=f"storage-coordinator switchover {volume.key} --to {target}"
                if old.error is None
                else f"see why it does not answer here: storage-coordinator ping {old.host}; if it "
                "is to be replaced, turn it off first",
            )
        )
    arbitration, plan = "", None
    try:
        config = coordinator.fleet.ask(target, "config.show")
        arbitration = arbitration_of(target, config, volume.name)
        answer = coordinator.fleet.plan(target, OperationKind.PROMOTE, volume.name)
        plan = answer.plan
        findings += [f for f in answer.findings if f.code not in expected]
    except AgentError as exc:
        findings.append(
            error_finding(
                exc,
                measured=f"no plan of promote from {target}",
                limit="a plan with no blocker",
                remedy=f"storage-coordinator ping {target}",
            )
        )
    is_guarded = arbitration == "coordinator" and _is_guarded(view, old.host)
    if arbitration == "coordinator" and not is_guarded:
        findings.append(_not_guarded(volume, old.host))
    lost_s = _lost_since(coordinator, target, volume.name)
    return TakeoverCheck(
        target=target,
        findings=tuple(dict.fromkeys(findings)),
        arbitration=arbitration,
        is_guarded=is_guarded,
        proof=wanted_proof(
            coordinator.settings, volume, arbitration, old.host, is_guarded=is_guarded
        ),
        loss=_loss(view, target, lost_s, is_guarded=is_guarded),
        plan=plan,
    )


def _is_guarded(view: VolumeView, host: str) -> bool:
    return view.state is not None and host in view.state.guarded


def _not_guarded(volume: VolumeSettings, old: str) -> Finding:
    """Also what a person's word, or a fence agent's, makes good: no blocker."""
    return warning(
        "ARBITRATION_NOT_IN_FORCE",
        f"{old} was not seen to stand still without its peer: it may write {volume.name} on alone, "
        "without a grant",
        measured=f"{old}: when it was seen last, its DRBD would not have frozen",
        limit="fencing resource-and-stonith in its kernel, and our handler",
        remedy=f"on {old}: storage-agent assemble {volume.name}; or turn {old} off",
    )


def _target_unknown(volume: VolumeSettings, host: HostView) -> Finding:
    if host.error is not None:
        return blocker(
            "TARGET_UNKNOWN",
            host.error.message,
            measured=host.error.code,
            limit="an answer",
            remedy=f"bring {host.host} back first: storage-coordinator ping {host.host}",
        )
    return blocker(
        "TARGET_UNKNOWN",
        f"{host.host} does not know {volume.name}",
        measured=f"no volume {volume.name}",
        limit="configured on both hosts",
        remedy=f"on {host.host}: storage-agent config show",
    )


def fail_over(
    coordinator: Coordinator,
    volume: VolumeSettings,
    target: str,
    *,
    automatic: bool = False,
    is_declared_off: bool = False,
    silent: AgentError | None = None,
    fence: Fence | None = None,
    on_progress: OnProgress = lambda _host, _record: None,
    on_text: Callable[[str], None] = lambda _text: None,
) -> TakenOver:
    """Brings the volume up on `target`. automatic: no person has asked; counted as such.
    is_declared_off: a person has typed the name of the old host, which is powered off.
    silent: how it is known already that the old host answers nothing; it is not waited for again.
    fence: called before the promotion.  on_text: gets what went wrong and stops nothing.

    Raises Refused (nothing was changed), OperationFailed, OutcomeUnknown.
    """
    known = {} if silent is None else {volume.peer_of(target): silent}
    view = coordinator.look(volume, known)
    require_epochs(view)
    check = check_takeover(coordinator, view, target)
    if found := blockers(check.findings):
        raise Refused(
            f"{volume.key} cannot fail over to {target}: {found[0].summary}",
            remedy=found[0].remedy,
            code=found[0].code,
            findings=check.findings,
        )
    proof = Proof(
        is_arbitrated=check.is_guarded,
        is_declared_off=is_declared_off,
        fence=fence,
        on_text=on_text,
    )
    if not proof.may_come():
        raise refused(person_needed(volume, target, check.arbitration))
    giving = giving_of("failover", volume, target, automatic=automatic)
    coordinator.hooks.before(giving)
    try:
        needs_grant = check.arbitration != "none"
        return _take_over(coordinator, view, giving, proof, on_progress, needs_grant=needs_grant)
    except AgentError as exc:
        coordinator.hooks.after(giving, exc.message)
        raise


def _take_over(
    coordinator: Coordinator,
    view: VolumeView,
    giving: Giving,
    proof: Proof,
    on_progress: OnProgress,
    *,
    needs_grant: bool,
) -> TakenOver:
    """Where nobody arbitrates, the agent gets the proof and no grant."""
    volume, target, old = view.volume, giving.target, giving.source
    takeover_id = f"takeover-{coordinator.new_id()}"
    epochs = view.epochs()

    def rule(state: State) -> Decision:
        if refusal := changed_refusal(view.state, state):
            return Decision(state=state, refusal=refusal)
        return decide_promotion(state, target, takeover_id, epochs, automatic=giving.automatic)

    # From here on the old primary gets no `continue` any more, whatever becomes of this.
    decision = coordinator.decide(volume, rule)
    grant = decision.grant
    assert grant is not None
    named = _named(volume, grant, decision.state)
    expected = view.expected_primary(target)
    try:
        proven = proof.require(volume, grant, old)
        if needs_grant:
            coordinator.fleet.ask(target, "grant.promote", named)
        else:
            named["peer_is_off"] = old
    except AgentError:
        # Nothing was asked of the target yet that it could do without this.
        withdraw(coordinator, volume, grant)
        raise
    record = coordinator.fleet.operate(
        target,
        OperationKind.PROMOTE,
        {**named, "expected_primary": expected},
        lambda record: on_progress(target, record),
    )
    if record.state is not OperationState.SUCCEEDED:
        _not_taken(coordinator, volume, grant, record)
    # Before the end is recorded: who is killed here calls them again.
    are_hooks_done = coordinator.hooks.after(giving, "")
    coordinator.finish(volume, target, grant.epoch)
    return TakenOver(
        volume=volume.key,
        target=target,
        epoch=grant.epoch,
        proof=proven,
        are_hooks_done=are_hooks_done,
    )


def _named(volume: VolumeSettings, grant: Grant, state: State) -> dict[str, Any]:
    return {
        "volume": volume.name,
        "epoch": grant.epoch,
        "coordinator": state.coordinator,
        "operation_id": grant.operation_id,
    }


def _not_taken(
    coordinator: Coordinator, volume: VolumeSettings, grant: Grant, record: OperationRecord
) -> None:
    """Raises OperationFailed. Where the target never wrote, the grant is taken back, so that the
    old primary may go on if it comes back."""
    text = f"{grant.host} did not take {volume.key} over: {record.message}"
    if never_wrote(record) and withdraw(coordinator, volume, grant):
        raise OperationFailed(
            f"{text}; the grant is withdrawn, {volume.peer_of(grant.host)} may go on",
            remedy=record.remedy or f"storage-coordinator preflight {volume.key}",
            findings=record.findings,
        )
    if record.state is not OperationState.REFUSED:
        # Ended: another try is another operation, in an epoch of its own.
        coordinator.finish(volume, grant.host, grant.epoch)
    raise OperationFailed(
        f"{text}; it may have written, so nobody else gets the volume",
        remedy=record.remedy
        or f"mend it, then: storage-coordinator failover {volume.key} --to {grant.host}",
        findings=record.findings,
    )


def _record_findings(coordinator: Coordinator, view: VolumeView, target: str) -> list[Finding]:
    """What our own record says against it."""
    if view.state is None:
        return [not_adopted(view.volume)]
    refusals = (
        decide_promotion(view.state, target, "check", view.epochs()).refusal,
        coordinator_refusal(view.state, {target: view.of(target).coordinator}),
    )
    findings = [view.volume.named_in(found, target) for found in refusals if found is not None]
    if not coordinator.store.is_proven(view.volume.key):
        findings.append(unproven(view.volume))
    return findings


def _loss(view: VolumeView, target: str, seconds: int | None, *, is_guarded: bool) -> Loss:
    snapshot, sole = view.of(target).snapshot, view.state.sole if view.state else None
    assert snapshot is not None
    replica, attachment = snapshot.replica, snapshot.attachment
    if sole not in (None, target):
        why = f"{sole} was allowed to write alone, and both copies were not seen in sync since"
        return Loss(is_proven=False, seconds=seconds, bytes=None, why=why)
    known = (
        replica.peer.out_of_sync_bytes if isinstance(replica, Replica) and replica.peer else None
    )
    if isinstance(replica, Replica) and replica.in_sync():
        why = "every acknowledged write is on both copies"
        return Loss(is_proven=True, seconds=0, bytes=0, why=why)
    if attachment is None or not attachment.in_sync_until_loss:
        why = attachment.broken_by if attachment else "the attachment was not watched"
        return Loss(is_proven=False, seconds=seconds, bytes=known, why=why)
    if is_guarded:
        why = "in sync until the link was lost, and nobody writes alone without a grant"
        return Loss(is_proven=True, seconds=0, bytes=0, why=why)
    why = "in sync until the link was lost; what the old primary wrote since then is not here"
    return Loss(is_proven=False, seconds=seconds, bytes=None, why=why)


def _lost_since(coordinator: Coordinator, host: str, volume: str) -> int | None:
    """Seconds since the newest event that took the connection away."""
    try:
        events = coordinator.fleet.ask(host, "events", {"limit": 1000})
        lost_s = losses_of(host, events, volume)
    except AgentError:
        return None
    return max(0, int(coordinator.clock.wall() - lost_s[-1])) if lost_s else None
