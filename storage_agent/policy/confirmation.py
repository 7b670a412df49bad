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
    chosen = (request.options.get(name) for name in ("role", "choice"))
    options = "".join(f" --{word}" for word in chosen if word)
    command = f"{request.kind} {request.volume}{options}"
    if request.kind is OperationKind.ABANDON:
        command = f"create {request.volume} --abandon"
    return (
        blocker(
            "PLAN_CHANGED",
            f"what would be done is not what was confirmed: the plan is now {plan.digest()}",
            measured=f"plan {plan.digest()}",
            limit=f"plan {confirmed}",
            remedy=f"read the plan again, then confirm that one: storage-agent {command} --dry-run",
        ),
    )
