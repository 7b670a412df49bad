"""Is the plan that would run the one that a person has confirmed?"""

from __future__ import annotations

from storage_agent.model.finding import Finding
from storage_agent.model.operation import OperationRequest
from storage_agent.model.plan import OperationKind, Plan
from storage_agent.policy.common import blocker


def confirmation_findings(request: OperationRequest, plan: Plan) -> tuple[Finding, ...]:
    """By its digest; a request that confirms nothing needs none here."""
    confirmed = request.options.get("confirm")
    if confirmed in (None, plan.digest()):
        return ()
    command = _command(request)
    return (
        blocker(
            "PLAN_CHANGED",
            f"what would be done is not what was confirmed: the plan is now {plan.digest()}",
            measured=f"plan {plan.digest()}",
            limit=f"plan {confirmed}",
            remedy=f"read the plan again, then confirm that one: storage-agent {command} --dry-run",
        ),
    )


def _command(request: OperationRequest) -> str:
    """As it was typed, without the confirmation."""
    typed = {
        OperationKind.ABANDON: f"create {request.volume} --abandon",
        OperationKind.REMAKE: f"create {request.volume} --join",
        OperationKind.ASSEMBLE_DEGRADED: f"assemble {request.volume} --degraded",
    }
    chosen = (request.options.get(name) for name in ("role", "choice"))
    options = "".join(f" --{word}" for word in chosen if word)
    return typed.get(request.kind, f"{request.kind} {request.volume}{options}")
