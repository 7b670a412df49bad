"""One operation on its way: looks, acts, looks again, and takes back what failed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

from storage_agent.engine.course import (
    ASSEMBLING,
    CHANGES_UNASKED,
    DECISIVE,
    FRESH_S,
    LATE_DEVICES_TIMEOUT_S,
    LOOK_AGAIN_S,
    MAKING,
    OPERATION_TIMEOUT_S,
    PEER_LOOK_AGAIN_S,
    SEEN_LATE,
    SIGHT,
    WORK,
    is_passing,
    stays,
    with_way_on,
)
from storage_agent.engine.epoch import EpochStore
from storage_agent.engine.journal import Journal
from storage_agent.engine.report import Report
from storage_agent.model.clock import Deadline
from storage_agent.model.configuration import VolumeConfig
from storage_agent.model.errors import (
    AgentError,
    OperationFailed,
    OutcomeUnknown,
    refuse_blockers,
)
from storage_agent.model.finding import Finding
from storage_agent.model.observed import Unobserved
from storage_agent.model.operation import (
    Marker,
    OperationRecord,
    OperationState,
    StepOutcome,
)
from storage_agent.model.plan import OperationKind, Plan, Step, StepKind
from storage_agent.model.ports import HostPort
from storage_agent.model.snapshot import CHEAP_FACETS, Facet, VolumeSnapshot
from storage_agent.operations.steps import DEFINITIONS, make_step, missing_goal
from storage_agent.policy.array.assembly import (
    assembly_findings,
    only_missing,
    unseen_replica_findings,
)
from storage_agent.policy.currency import currency_findings
from storage_agent.policy.epoch import epoch_findings
from storage_agent.policy.naming import name_state
from storage_agent.policy.standalone import parting_findings

# Returns when the volume's replica has changed, at the latest after so many seconds.
Wait = Callable[[str, float], None]


@dataclass(slots=True, kw_only=True)
class Run(Report):
    """Mutable course of one operation. `latest` joins the newest look at each facet; looked_s:
    when the newest at what changes unasked began."""

    host: HostPort
    journal: Journal
    epochs: EpochStore
    decide: Callable[[VolumeConfig, VolumeSnapshot], tuple[Finding, ...]]
    wait_for_news: Wait
    latest: VolumeSnapshot | None = None
    looked_s: float = 0.0

    # --- looking -------------------------------------------------------------------------------

    def look(self, volume: VolumeConfig, facets: frozenset[Facet] | None = None) -> VolumeSnapshot:
        """Observes these facets (None: all that matter to this kind of operation) and keeps the
        others as they were seen before."""
        whole = SIGHT.get(self.entry.request.kind, CHEAP_FACETS)
        facets = whole if facets is None else facets
        begun_s = self.clock.monotonic()
        fresh = self.host.observe(volume, facets)
        if facets >= CHANGES_UNASKED:
            self.looked_s = begun_s
        if self.latest is not None and facets != whole:
            kept = {f.value: getattr(self.latest, f.value) for f in CHEAP_FACETS - facets}
            fresh = dataclasses.replace(fresh, **kept)
        self.latest = fresh
        return fresh

    def _fresh_look(self, volume: VolumeConfig) -> VolumeSnapshot:
        """At what changes unasked; a look that was taken just now, and saw it, is one."""
        latest, is_new = self.latest, self.clock.monotonic() - self.looked_s < FRESH_S
        if latest is not None and is_new and not isinstance(latest.replica, Unobserved):
            return latest
        return self.look(volume, CHANGES_UNASKED)

    def wait_for_devices(self, volume: VolumeConfig) -> None:
        """Returns when waiting cannot help any more, at the latest after LATE_DEVICES_TIMEOUT_S."""
        wait_s = float(self.entry.request.options.get("wait_s", LATE_DEVICES_TIMEOUT_S))
        deadline = Deadline.after(self.clock, wait_s)
        array = frozenset({Facet.ARRAY})
        findings = assembly_findings(volume, self.host.observe(volume, array))
        while only_missing(findings) and not deadline.passed(self.clock):
            self.tell(
                f"waiting for {len(findings)} disk(s), "
                f"{deadline.left_s(self.clock):.0f} s left: {findings[0].summary}"
            )
            self.clock.sleep(min(1.0, deadline.left_s(self.clock)))
            findings = assembly_findings(volume, self.host.observe(volume, array))

    # --- the whole plan ------------------------------------------------------------------------

    def execute(
        self,
        volume: VolumeConfig,
        plan: Plan,
        findings: tuple[Finding, ...],
        epoch: int | None,
    ) -> OperationRecord:
        """Runs a plan that was just made. epoch: what the host knows or the request carries."""
        self.findings = findings
        pending = [s for s in plan.steps if self._pending(s.kind, volume)]
        request = self.entry.request
        owns = request.kind is OperationKind.PROMOTE and request.epoch is None and bool(pending)
        if owns and epoch is not None:
            epoch += 1
        self.entry.plan, self.entry.epoch = plan, epoch
        if not pending:
            return self.ended(OperationState.SUCCEEDED, "already so")
        planned = {"plan": plan, "epoch": epoch, "findings": findings}
        self.journal.write(request.operation_id, "planned", **planned)
        if epoch is not None and (owns or request.epoch is not None):
            self._own(epoch)
        return self._walk(volume, plan)

    def resume(self, volume: VolumeConfig) -> OperationRecord:
        """Takes up a plan that a crash or a restart interrupted, from what is seen now."""
        plan = self.entry.plan
        assert plan is not None
        self.performed = [k for k in self.entry.intended if k not in self.entry.undone]
        self.findings = self.entry.findings
        self.look(volume)
        # Killed between the journal's record and the epoch's own file.
        if self.entry.epoch is not None:
            known = self.epochs.read(volume.name)
            if known.number < self.entry.epoch:
                self._own(self.entry.epoch)
        if self.host.boot_id() != self.entry.boot_id:
            return self._after_reboot(volume)
        if self.entry.undoing:
            return self._undo(volume, OperationFailed(self.entry.undoing))
        return self._walk(volume, plan)

    def _named(self, volume: VolumeConfig) -> str:
        assert self.latest is not None
        return name_state(volume, self.latest)

    def _walk(self, volume: VolumeConfig, plan: Plan) -> OperationRecord:
        deadline = Deadline.after(self.clock, OPERATION_TIMEOUT_S)
        try:
            for step in plan.steps:
                self._do(step, volume, deadline)
            self._look_at_the_whole(volume, plan)
        except AgentError as exc:
            return self._undo(volume, exc)
        if plan.operation is OperationKind.STANDALONE and self.latest is not None:
            after = self.decide(volume, self.latest)
            self.findings = parting_findings(self.findings, after, self.latest)
        return self.ended(OperationState.SUCCEEDED, self._named(volume))

    def _look_at_the_whole(self, volume: VolumeConfig, plan: Plan) -> None:
        """A step's goal may have been lost again while later ones ran."""
        snapshot = self.look(volume)
        for step in plan.steps:
            passing = is_passing(step.kind, plan.operation)
            if not passing and (lost := missing_goal(step.kind, volume, snapshot)):
                raise OperationFailed(f"{step.title}: no longer so at the end: {lost}")

    # --- one step ------------------------------------------------------------------------------

    def _pending(self, kind: StepKind, volume: VolumeConfig) -> bool:
        assert self.latest is not None
        if DEFINITIONS[kind].goal is None:
            return kind in WORK
        return bool(missing_goal(kind, volume, self.latest))

    def _do(self, step: Step, volume: VolumeConfig, deadline: Deadline) -> None:
        assert self.latest is not None
        definition = DEFINITIONS[step.kind]
        if definition.facets & SEEN_LATE:
            self.look(volume, definition.facets)
        seen = definition.goal is not None and not definition.goal(volume, self.latest)
        passing = is_passing(step.kind, self.entry.request.kind)
        if seen or (passing and step.kind in self.entry.done):
            self.note(step, StepOutcome.ALREADY)
            return
        decided = self._decide_again(volume) if self._is_decisive(step.kind) else {}
        self.journal.write(self.entry.request.operation_id, "intent", step=step.kind, **decided)
        if step.kind not in self.performed:
            self.performed.append(step.kind)
        begun_s = self.clock.monotonic()
        self.note(step, StepOutcome.RUNNING)
        try:
            self._act_and_verify(step, volume, deadline)
        except AgentError as exc:
            self.note(step, StepOutcome.FAILED, begun_s, exc.message)
            raise
        self.note(step, StepOutcome.DONE, begun_s)
        self.journal.note(self.entry.request.operation_id, "done", step=step.kind)

    def _is_decisive(self, kind: StepKind) -> bool:
        """Attaching, too, where it is not to metadata that this operation has made."""
        attaches = kind is StepKind.REPLICA_UP
        return kind in DECISIVE or (attaches and self.entry.request.kind in ASSEMBLING)

    def _decide_again(self, volume: VolumeConfig) -> dict[str, object]:
        """Right before the role is taken: the decision may be as old as a crash or a slow step,
        and the coordinator may have said something newer since. Raises Refused. Returns what the
        journal is to keep: what was known at the first decision, and what is new."""
        snapshot = self._fresh_look(volume)
        findings = self.decide(volume, snapshot)
        request = self.entry.request
        if request.kind in ASSEMBLING:
            findings += unseen_replica_findings(snapshot)
        if request.kind is OperationKind.PROMOTE and request.epoch is None:
            known = self.epochs.read(volume.name)
            findings += epoch_findings(request, known, self.entry.epoch)
        refuse_blockers(findings)
        joined = {
            (finding.code, finding.summary): finding for finding in (*self.findings, *findings)
        }
        self.findings = tuple(joined.values())
        return {"findings": self.findings}

    def _act_and_verify(self, step: Step, volume: VolumeConfig, deadline: Deadline) -> None:
        """Raises AgentError where the goal is not seen by the deadline, whatever the act said."""
        definition = DEFINITIONS[step.kind]
        until = deadline.sooner(self.clock, step.timeout_s)
        request = dataclasses.replace(self.entry.request, epoch=self.entry.epoch)
        self.host.perform(step, volume, request, until, self.tell)
        if Facet.MARKER in definition.facets:
            self._check_marker(step.kind, volume)
        if definition.goal is None:
            return
        while lacking := definition.goal(volume, self.look(volume, definition.facets)):
            if until.passed(self.clock):
                raise OperationFailed(
                    f"{step.title}: not seen within {step.timeout_s:g} s: {lacking}",
                    remedy=f"see where it stands: storage-agent status {volume.name}",
                    code="GOAL_NOT_SEEN",
                )
            if step.kind is StepKind.WAIT_FOR_PEER:
                self.wait_for_news(volume.name, min(PEER_LOOK_AGAIN_S, until.left_s(self.clock)))
            else:
                self.clock.sleep(LOOK_AGAIN_S)

    # --- whose data it is ----------------------------------------------------------------------

    def _own(self, epoch: int) -> None:
        """Durable before the first step that depends on it."""
        self.journal.begins(self.entry.request, epoch)
        self.epochs.own(self.entry.request, epoch)
        self.entry.epoch = epoch

    def _check_marker(self, kind: StepKind, volume: VolumeConfig) -> None:
        """Raises Refused where the filesystem is not the newest known state.

        A local admin's epoch is only a guess until here: the filesystem knows better.
        """
        request = self.entry.request
        found = self.host.observe(volume, frozenset({Facet.MARKER})).marker
        known = self.epochs.last_marker(volume.name)
        age = known.age() if known else None
        snapshot = self.latest or self.look(volume)
        findings = currency_findings(request, found, age, snapshot, self.entry.epoch or 0)
        refuse_blockers(findings)
        self.findings += tuple(f for f in findings if f not in self.findings)
        if kind is StepKind.WRITE_MARKER:
            self._note_written(volume, found)
            return
        if not isinstance(found, Marker) or findings:
            return
        mine = found.operation_id == request.operation_id
        if request.epoch is None and not mine and found.epoch >= (self.entry.epoch or 0):
            self.journal.write(request.operation_id, "epoch", epoch=found.epoch + 1)
            self._own(found.epoch + 1)

    def _note_written(self, volume: VolumeConfig, found: Marker | Unobserved | None) -> None:
        """Raises OperationFailed where what is read back is not what this operation writes: an
        older one would be remembered as the newest."""
        wanted = (self.entry.epoch, self.entry.request.operation_id)
        if not isinstance(found, Marker) or (found.epoch, found.operation_id) != wanted:
            raise OperationFailed(
                f"the epoch of {volume.name} was written to its filesystem and is not read back",
                remedy="see what the kernel says: journalctl -k -n 50; storage-agent status "
                f"{volume.name}",
                code="GOAL_NOT_SEEN",
            )
        self.epochs.note_marker(volume.name, found)

    # --- taking back ---------------------------------------------------------------------------

    def _undo(self, volume: VolumeConfig, cause: AgentError) -> OperationRecord:
        """Every performed step in reverse, also the one that failed: it may have acted. Once that
        fails too, only the handler's answer is still taken away: nobody else is to use it."""
        if stays(self.entry.request, cause):
            return self.record_of(cause)
        self._note_undo("undoing", reason=cause.message)
        snapshot = self.look(volume)
        failed: AgentError | None = None
        for kind in reversed(self.performed):
            undo = DEFINITIONS[kind].undo
            if (
                undo is None
                or not self._may_undo()
                or (failed and undo is not StepKind.WITHDRAW_GRANT)
            ):
                continue
            step = make_step(undo, volume, snapshot.host)
            try:
                # A command that was given up may still take effect: then what is seen now is
                # no reason not to undo it, and the undo queues behind it.
                late = isinstance(cause, OutcomeUnknown) and kind is self.performed[-1]
                self._undo_step(step, kind, volume, even_if_seen=late)
            except AgentError as exc:
                failed = failed or exc
        if failed is not None:
            return self.ended(
                OperationState.FAILED,
                f"{cause.message}; taking it back failed too: {failed.message}; "
                f"now: {self._named(volume)}",
                remedy=failed.remedy or cause.remedy,
                findings=cause.findings,
            )
        return self.ended(
            OperationState.ROLLED_BACK if self._may_undo() else OperationState.FAILED,
            f"{cause.message}; now: {self._named(volume)}",
            remedy=with_way_on(cause.remedy, self.entry.request, may_undo=self._may_undo()),
            findings=cause.findings,
        )

    def _may_undo(self) -> bool:
        """Of what create has made of disks, and abandon erased, nothing is taken back by itself:
        it stays and is named, and the same command goes on with it."""
        if self.entry.request.kind not in MAKING:
            return True
        return not set(self.performed) - {StepKind.WRITE_CONFIGURATION}

    def _undo_step(
        self, step: Step, undone: StepKind, volume: VolumeConfig, *, even_if_seen: bool
    ) -> None:
        assert self.latest is not None
        goal = DEFINITIONS[step.kind].goal
        if even_if_seen or goal is None or goal(volume, self.latest):
            self._note_undo("undo-intent", step=step.kind)
            begun_s = self.clock.monotonic()
            self.note(step, StepOutcome.UNDOING)
            try:
                self._act_and_verify(step, volume, Deadline.after(self.clock, step.timeout_s))
            except AgentError as exc:
                self.note(step, StepOutcome.UNDO_FAILED, begun_s, exc.message)
                raise
            self.note(step, StepOutcome.UNDONE, begun_s)
        self._note_undo("undone", step=undone)

    def _note_undo(self, phase: str, **fields: object) -> None:
        """Taking back goes on also where it cannot be written down: twice is harmless."""
        try:
            self.journal.write(self.entry.request.operation_id, phase, **fields)
        except OperationFailed as exc:
            self.tell(f"journal: {exc.message}")

    def never_begun(self, volume: VolumeConfig) -> OperationRecord:
        """Accepted, and not planned before the host was restarted: it does not go on either."""
        self.look(volume)
        return self.ended(
            OperationState.REFUSED,
            f"interrupted by a restart of the host before it began; now: {self._named(volume)}",
            remedy="ask for it again if it is still wanted",
        )

    def _after_reboot(self, volume: VolumeConfig) -> OperationRecord:
        """A restart of the host took everything down: a promote must not go on by itself."""
        plan = self.entry.plan
        assert plan is not None
        assert self.latest is not None
        if plan.operation is OperationKind.ASSEMBLE:
            return self._walk(volume, plan)
        left = [s for s in plan.steps if missing_goal(s.kind, volume, self.latest)]
        if plan.operation in (OperationKind.DEMOTE, OperationKind.LEAVE) and not left:
            return self.ended(OperationState.SUCCEEDED, self._named(volume))
        return self.ended(
            OperationState.FAILED,
            f"interrupted by a restart of the host; now: {self._named(volume)}",
            remedy=with_way_on("ask for it again if it is still wanted", self.entry.request),
        )
