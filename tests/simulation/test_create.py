"""Every crash point of `create` and of `create --abandon`: it goes on, or exactly what it made is
taken back. And seeded bugs that this must notice."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from storage_agent.engine import creation as creation_module
from storage_agent.engine import engine as engine_module
from storage_agent.model.errors import Busy
from storage_agent.model.operation import OperationRecord, OperationRequest, OperationState
from storage_agent.model.plan import OperationKind, StepKind
from storage_agent.operations import planners
from storage_agent.policy.creating import abandon
from tests.simulation.create_walk import MAKINGS, Desk, Making, cut, walk
from tests.simulation.create_world import OnArray

FIRST = MAKINGS[0]
Patch = pytest.MonkeyPatch


def broken(making: Making) -> list[str]:
    return [
        f"{making} {'power' if power else 'killed'} at {at}: {problem}"
        for power in (False, True)
        for desk, at in walk(making, with_power=power)
        for problem in desk.problems
    ]


@pytest.mark.parametrize("power", [False, True], ids=["killed", "power-cut"])
@pytest.mark.parametrize("making", MAKINGS, ids=str)
def test_every_crash_point_has_a_way_on(making: Making, power: bool) -> None:
    found = list(walk(making, with_power=power))
    assert [f"at {at}: {problem}" for desk, at in found for problem in desk.problems] == []
    points = [at for _, at in found]
    steps = {p.removeprefix("before ") for p in points if p.startswith("before ")}
    assert all(f"after {step}" in points for step in steps)
    assert len(steps) >= 5


def unfinished(making: Making = FIRST) -> Desk:
    """Power lost after the array was made."""
    return cut_at(making, "after make-array")


def cut_at(making: Making, at: str) -> Desk:
    """Crashed there, and nothing typed since."""
    desk = Desk(making)
    for point in range(1, 300):
        desk = Desk(making)
        desk.host.crash_at, desk.host.with_power = point, True
        desk.type(OperationKind.CREATE, making.role)
        if desk.host.log == [at]:
            desk.host.crash_at = 0
            return desk
    raise AssertionError(at)


def refusal(desk: Desk, kind: OperationKind, role: str = "") -> OperationRecord:
    record = desk.type(kind, role)
    assert record is not None
    assert record.state is OperationState.REFUSED, record.message
    return record


@pytest.mark.parametrize(
    "kind", [OperationKind.PROMOTE, OperationKind.ASSEMBLE, OperationKind.STANDALONE]
)
def test_what_is_half_made_is_not_used(kind: OperationKind) -> None:
    record = refusal(unfinished(), kind)
    assert record.findings[0].code == "CREATION_UNFINISHED"
    assert "storage-agent create data --first" in record.remedy


def test_the_other_role_does_not_go_on_with_it() -> None:
    record = refusal(unfinished(), OperationKind.CREATE, "join")
    assert record.findings[0].code == "CREATION_CHANGED"


def test_superblocks_on_some_disks_can_only_be_taken_back() -> None:
    desk = Desk(FIRST)
    for point in range(1, 300):
        desk = Desk(FIRST)
        desk.host.crash_at, desk.host.with_power = point, True
        desk.type(OperationKind.CREATE, "first")
        if desk.host.log == ["write a superblock"] and "alpha-0" in desk.host.traces():
            break
    desk.host.crash_at = 0
    assert refusal(desk, OperationKind.CREATE, "first").findings[0].code == "CREATION_PARTIAL"
    record = desk.type(OperationKind.ABANDON)
    assert record is not None
    assert record.state is OperationState.SUCCEEDED
    assert desk.host.traces() == {}


def someone_else(desk: Desk) -> list[str]:
    """Codes with which abandon refuses, each thing that it did not make in turn."""
    found = []
    host = desk.host
    host.array_runs = True
    for what, name, value in (
        (host, "edited", True),
        (host.content, "foreign", ("ext4", "not-ours")),
        (host.content, "was_used", True),
    ):
        own = getattr(what, name)
        setattr(what, name, value)
        before = repr(host.traces())
        record = desk.type(OperationKind.ABANDON)
        found.append(record.findings[0].code if record and record.findings else "done")
        if repr(host.traces()) != before:
            found.append("changed something")
        setattr(what, name, own)
    return found


WANTED = ["CREATION_CHANGED", "CREATION_CHANGED", "CREATION_HOLDS_DATA"]


def test_what_create_did_not_make_is_not_erased() -> None:
    assert someone_else(cut_at(FIRST, "after secondary")) == WANTED


def test_a_finished_volume_is_never_taken_back() -> None:
    desk = Desk(FIRST)
    desk.type(OperationKind.CREATE, "first")
    record = refusal(desk, OperationKind.ABANDON)
    assert record.findings[0].code == "NOTHING_TO_ABANDON"
    assert desk.host.array_runs


def test_a_copy_that_has_met_another_is_not_declared_the_good_one_again() -> None:
    """It was joined and synced, and the other went on alone, while this one was never finished."""
    desk = cut_at(FIRST, "before make-filesystem")
    host = desk.host
    host.content = OnArray(
        metadata=True, current=0x5000, bitmap=0x4000, history=0x3000, up_to_date=True
    )
    record = desk.type(OperationKind.CREATE, "first")
    assert record is not None
    assert record.state is OperationState.FAILED, record.message
    assert "CREATION_OVERTAKEN" in {f.code for f in record.findings}
    assert host.content.current == 0x5000


# --- seeded bugs -------------------------------------------------------------------------------


def leaves_the_files(patch: Patch) -> None:
    whole = planners._abandon

    def without(*args: object) -> list[StepKind]:
        kinds = whole(*args)  # type: ignore[arg-type]
        return [k for k in kinds if k is not StepKind.REMOVE_CONFIGURATION]

    patch.setattr(planners, "_abandon", without)


def makes_the_array_anew(patch: Patch) -> None:
    patch.setattr(planners, "_members", lambda volume, snapshot: frozenset())


def forgets_that_it_began(patch: Patch) -> None:
    patch.setattr(creation_module.Creations, "begin", lambda *args: None)


def keeps_its_record(patch: Patch) -> None:
    patch.setattr(creation_module.Creations, "end", lambda *args: None)


def takes_part_for_whole(patch: Patch) -> None:
    patch.setattr(abandon, "_partial", lambda *args: ())


@pytest.mark.parametrize(
    "seed",
    [leaves_the_files, makes_the_array_anew, forgets_that_it_began, keeps_its_record],
    ids=lambda seed: seed.__name__,
)
def test_a_seeded_bug_in_going_on_is_noticed(
    seed: Callable[[Patch], None], monkeypatch: Patch
) -> None:
    seed(monkeypatch)
    found = [problem for making in (FIRST, MAKINGS[3]) for problem in broken(making)]
    assert found


@pytest.mark.parametrize("guard", ["_files", "_content", "_peer"])
def test_a_seeded_bug_that_erases_what_is_not_ours_is_noticed(
    guard: str, monkeypatch: Patch
) -> None:
    monkeypatch.setattr(abandon, guard, lambda *args: ())
    assert someone_else(cut_at(FIRST, "after secondary")) != WANTED


def busy_is_busy() -> bool:
    desk = Desk(FIRST)
    engine = desk.engine()
    first = OperationRequest(
        kind=OperationKind.CREATE, volume="data", operation_id="one", options={"role": "first"}
    )
    engine.begin(first)
    second = OperationRequest(
        kind=OperationKind.CREATE, volume="data", operation_id="two", options={"role": "first"}
    )
    try:
        engine.plan(second)
    except Busy:
        return True
    return False


def test_busy_is_busy_and_that_is_noticed(monkeypatch: Patch) -> None:
    assert busy_is_busy()
    monkeypatch.setattr(engine_module, "require_free", lambda *args: None)
    assert not busy_is_busy()


def test_one_more_crash_is_one_more_way() -> None:
    """That the walk strikes where it says."""
    struck = cut(FIRST, 1, with_power=True)
    assert struck is not None
    assert struck[1] == "observe"


@pytest.mark.parametrize("making", MAKINGS[:3], ids=str)
def test_every_step_that_fails_has_a_way_on(making: Making) -> None:
    """And where nothing has been written to a disk yet, nothing is left."""
    for kind in StepKind:
        desk = Desk(making)
        desk.host.failing = frozenset({kind})
        record = desk.type(OperationKind.CREATE, making.role)
        assert record is not None
        if record.state is OperationState.SUCCEEDED:
            continue
        desk.host.failing = frozenset()
        if record.state is OperationState.ROLLED_BACK:
            assert desk.host.traces() == {}, kind
            assert desk.engine().unfinished_creations() == ()
        else:
            assert record.state is OperationState.FAILED
            assert "--abandon" in record.remedy, kind
        again = desk.type(OperationKind.CREATE, making.role)
        assert again is not None
        assert again.state is OperationState.SUCCEEDED, (kind, again.message)
