"""What is told of one operation while it runs, and at its end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from storage_agent.engine.entry import Entry
from storage_agent.model.clock import Clock
from storage_agent.model.errors import AgentError, CommandStuck
from storage_agent.model.finding import Finding
from storage_agent.model.operation import (
    OperationRecord,
    OperationState,
    StepOutcome,
    StepRecord,
)
from storage_agent.model.plan import Step, StepKind


@dataclass(slots=True, kw_only=True)
class Report:
    """performed: the steps that were begun, in order.  steps: what is told of them."""

    entry: Entry
    clock: Clock
    on_change: Callable[[OperationRecord], None]
    findings: tuple[Finding, ...] = ()
    steps: list[StepRecord] = field(default_factory=list)
    performed: list[StepKind] = field(default_factory=list)
    begun_s: float = 0.0

    def __post_init__(self) -> None:
        self.begun_s = self.clock.monotonic()

    def refused(
        self, findings: tuple[Finding, ...], refusals: tuple[Finding, ...]
    ) -> OperationRecord:
        more = f" (and {len(refusals) - 1} more)" if len(refusals) > 1 else ""
        return self.ended(
            OperationState.REFUSED,
            refusals[0].summary + more,
            remedy=refusals[0].remedy,
            findings=findings,
        )

    def record_of(self, exc: AgentError) -> OperationRecord:
        """An error outside any step: nothing was changed, unless steps say otherwise."""
        stuck = isinstance(exc, CommandStuck) or bool(self.performed)
        return self.ended(
            OperationState.FAILED if stuck else OperationState.REFUSED,
            exc.message,
            remedy=exc.remedy,
            findings=exc.findings,
        )

    def broken_off(self, exc: Exception) -> None:
        """A fault of the agent's own; what was begun may stand half-way."""
        self.on_change(
            self._record(
                OperationState.RUNNING,
                f"broke off: {type(exc).__name__}; it is resumed when the daemon starts again",
                "systemctl restart storage-agentd; please report it: journalctl -u storage-agentd",
            )
        )

    def tell(self, message: str) -> None:
        self.on_change(self._record(OperationState.RUNNING, message))

    def note(
        self, step: Step, outcome: StepOutcome, begun_s: float | None = None, detail: str = ""
    ) -> None:
        duration_s = None if begun_s is None else self.clock.monotonic() - begun_s
        if self.steps and self.steps[-1].outcome in (StepOutcome.RUNNING, StepOutcome.UNDOING):
            self.steps.pop()
        self.steps.append(
            StepRecord(
                kind=step.kind,
                title=step.title,
                outcome=outcome,
                duration_s=duration_s,
                detail=detail,
            )
        )
        self.tell(f"{step.title}: {outcome}")

    def ended(
        self,
        state: OperationState,
        message: str,
        *,
        remedy: str = "",
        findings: tuple[Finding, ...] = (),
    ) -> OperationRecord:
        self.findings = findings or self.findings
        return self._record(state, message, remedy)

    def _record(self, state: OperationState, message: str, remedy: str = "") -> OperationRecord:
        return OperationRecord(
            request=self.entry.request,
            state=state,
            changed=bool(self.performed),
            epoch=self.entry.epoch,
            message=message,
            remedy=remedy,
            findings=self.findings,
            steps=tuple(self.steps),
            started_wall_s=self.entry.accepted_wall_s,
            duration_s=self.clock.monotonic() - self.begun_s,
        )
