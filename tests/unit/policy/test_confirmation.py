"""What runs is what was confirmed, by the plan's digest."""

from __future__ import annotations

import dataclasses

import pytest

from storage_agent.model.plan import OperationKind, Plan
from storage_agent.policy.confirmation import confirmation_findings
from tests.unit.policy.test_advice import request

PLAN = Plan(operation=OperationKind.CREATE, volume="data", host="alpha", steps=(), options={})


@pytest.mark.parametrize("confirm", [None, PLAN.digest()])
def test_what_was_confirmed_may_run(confirm: str | None) -> None:
    options = {} if confirm is None else {"confirm": confirm}
    assert confirmation_findings(request(OperationKind.CREATE, options=options), PLAN) == ()


@pytest.mark.parametrize(
    ("kind", "options", "command"),
    [
        (OperationKind.CREATE, {"role": "join"}, "create data --join"),
        (OperationKind.SPLIT_BRAIN, {"choice": "discard"}, "split-brain data --discard"),
        (OperationKind.STANDALONE, {}, "standalone data"),
        (OperationKind.ABANDON, {}, "create data --abandon"),
    ],
)
def test_another_plan_is_refused_with_the_command_that_shows_it(
    kind: OperationKind, options: dict[str, str], command: str
) -> None:
    plan = dataclasses.replace(PLAN, operation=kind)
    asked = request(kind, options={**options, "confirm": "0" * 12})
    (found,) = confirmation_findings(asked, plan)
    assert found.code == "PLAN_CHANGED"
    assert (found.measured, found.limit) == (f"plan {plan.digest()}", f"plan {'0' * 12}")
    assert found.remedy.endswith(f": storage-agent {command} --dry-run")
