"""How the engine begins, goes on with, and takes back a volume that is being made."""

from __future__ import annotations

import pytest

from storage_agent.engine.course import with_way_on
from storage_agent.engine.creation import Creations
from storage_agent.model.errors import OperationFailed
from storage_agent.model.operation import OperationRequest, OperationState
from storage_agent.model.plan import OperationKind, StepKind
from storage_agent.model.replica import Role
from tests.simulation.create_walk import MAKINGS, Desk
from tests.unit.fakes import MemoryStore

FIRST = MAKINGS[0]


def interrupted(point: int = 22, *, with_power: bool = True) -> Desk:
    desk = Desk(FIRST)
    desk.host.crash_at, desk.host.with_power = point, with_power
    desk.type(OperationKind.CREATE, "first")
    desk.host.crash_at = 0
    return desk


def request(kind: OperationKind, role: str = "") -> OperationRequest:
    options = {"role": role} if role else {}
    return OperationRequest(kind=kind, volume="data", operation_id="x", options=options)


def test_a_reboot_leaves_it_unfinished_and_says_what_goes_on() -> None:
    desk = interrupted()
    record = desk.engine().show("op-1")
    assert record is not None
    assert record.state is OperationState.FAILED
    assert "storage-agent create data --first (goes on)" in record.remedy
    assert "storage-agent create data --abandon" in record.remedy
    assert desk.engine().unfinished_creations() == ("data",)
    again = desk.type(OperationKind.CREATE, "first")
    assert again is not None
    assert again.state is OperationState.SUCCEEDED, again.message
    assert desk.engine().unfinished_creations() == ()
    assert desk.engine().epoch("data") == 0


def test_a_killed_daemon_goes_on_by_itself() -> None:
    desk = interrupted(with_power=False)
    record = desk.engine().show("op-1")
    assert record is not None
    assert record.state is OperationState.SUCCEEDED


@pytest.mark.parametrize(
    "kind", [OperationKind.PROMOTE, OperationKind.ASSEMBLE, OperationKind.STANDALONE]
)
def test_what_is_half_made_is_not_used(kind: OperationKind) -> None:
    record = interrupted().type(kind)
    assert record is not None
    assert record.state is OperationState.REFUSED
    assert record.findings[0].code == "CREATION_UNFINISHED"


def test_the_array_that_is_there_is_assembled_and_not_made_again() -> None:
    desk = interrupted()
    plan, findings = desk.engine().plan(request(OperationKind.CREATE, "first"))
    assert findings == ()
    kinds = [step.kind for step in plan.steps]
    assert StepKind.ASSEMBLE_ARRAY in kinds
    assert StepKind.MAKE_ARRAY not in kinds


def test_abandon_shows_what_it_erases_and_leaves_nothing() -> None:
    desk = interrupted()
    plan, findings = desk.engine().plan(request(OperationKind.ABANDON))
    assert findings == ()
    commands = " ".join(command for step in plan.steps for command in step.commands)
    assert "mdadm --zero-superblock SERIAL=alpha-0" in commands
    record = desk.type(OperationKind.ABANDON)
    assert record is not None
    assert record.state is OperationState.SUCCEEDED
    assert desk.host.traces() == {}


def test_what_fails_early_leaves_nothing_and_what_fails_late_stays() -> None:
    desk = Desk(FIRST)
    desk.host.failing = frozenset({StepKind.WRITE_CONFIGURATION})
    record = desk.type(OperationKind.CREATE, "first")
    assert record is not None
    assert record.state is OperationState.ROLLED_BACK
    assert "--abandon" not in record.remedy
    assert desk.engine().unfinished_creations() == ()
    assert desk.host.traces() == {}

    late = Desk(FIRST)
    late.host.failing = frozenset({StepKind.MAKE_FILESYSTEM})
    record = late.type(OperationKind.CREATE, "first")
    assert record is not None
    assert record.state is OperationState.FAILED
    assert "--abandon" in record.remedy
    assert late.host.array_runs
    assert late.host.role is Role.PRIMARY
    # Its role is no use by anybody: it goes on, or is taken back.
    findings = late.engine().plan(request(OperationKind.ABANDON))[1]
    assert findings == ()


def test_a_damaged_record_is_told_and_nothing_is_touched() -> None:
    store = MemoryStore()
    store.files["creation-data"] = b"{"
    with pytest.raises(OperationFailed) as caught:
        Creations(store).read("data")
    assert caught.value.code == "CREATION_DAMAGED"
    desk = Desk(FIRST)
    desk.store.files["creation-data"] = b'{"role": 7}'
    record = desk.type(OperationKind.CREATE, "first")
    assert record is not None
    assert record.state is OperationState.REFUSED
    assert "is damaged" in record.message
    assert desk.host.traces() == {}


def test_the_way_on_is_named_for_what_stays() -> None:
    create, back = request(OperationKind.CREATE, "join"), request(OperationKind.ABANDON)
    assert with_way_on("see it", create) == (
        "see it; then storage-agent create data --join (goes on) or "
        "storage-agent create data --abandon (takes back what was made)"
    )
    assert with_way_on("", back).startswith("then storage-agent create data --abandon")
    assert with_way_on("see it", create, may_undo=True) == "see it"
    assert with_way_on("see it", request(OperationKind.PROMOTE)) == "see it"
