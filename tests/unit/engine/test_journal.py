"""The journal's files: what a torn, a damaged and an old one make of it."""

from __future__ import annotations

import json

import pytest

from storage_agent.engine.entry import sealed_after
from storage_agent.engine.journal import Journal
from storage_agent.model.errors import OperationFailed
from storage_agent.model.operation import OperationState
from storage_agent.model.plan import OperationKind, StepKind
from tests.unit.engine.parts import DEMOTION, make_engine, request, run, served_marker, serving_host
from tests.unit.fakes import FakeHost, MemoryStore


def phases(store: MemoryStore, operation_id: str = "op-1") -> list[tuple[str, str]]:
    """Phase and step of each record."""
    lines = store.files[f"operation-{operation_id}"].splitlines()
    return [(r["phase"], r.get("step", "")) for r in map(json.loads, lines)]


def test_each_step_is_announced_before_it_is_done() -> None:
    store = MemoryStore()
    run(make_engine(serving_host(), store), request(OperationKind.DEMOTE))
    steps = [(phase, str(kind)) for kind in DEMOTION for phase in ("intent", "done")]
    assert phases(store) == [("accepted", ""), ("planned", ""), *steps, ("ended", "")]


def test_what_was_seen_to_be_done_goes_to_disk_with_the_next_record() -> None:
    store = MemoryStore()
    journal = Journal(store, "alpha")
    journal.write(
        "op-1", "accepted", request=request(OperationKind.DEMOTE), boot_id="b", wall_s=1.0
    )
    journal.note("op-1", "done", step=StepKind.LINK_DOWN)
    assert phases(store) == [("accepted", "")]
    before = store.writes
    journal.write("op-1", "intent", step=StepKind.UNMOUNT)
    assert store.writes == before + 1
    assert phases(store)[1:] == [("done", "link-down"), ("intent", "unmount")]


def test_an_epoch_that_was_chosen_late_is_in_the_journal() -> None:
    host, store = FakeHost(marker=served_marker(epoch=9)), MemoryStore()
    record = run(make_engine(host, store), request(OperationKind.PROMOTE))
    assert (record.state, record.epoch) == (OperationState.SUCCEEDED, 10)
    entry = Journal(store, "alpha").read("op-1")
    assert entry is not None
    assert entry.epoch == 10


def test_what_is_taken_back_is_announced_too() -> None:
    host, store = serving_host(), MemoryStore()

    def fail() -> None:
        raise OperationFailed("busy")

    host.faults[StepKind.STOP_SERVICES] = fail
    host.deaf.add(StepKind.STOP_SERVICES)
    run(make_engine(host, store), request(OperationKind.DEMOTE))
    assert phases(store)[2:] == [
        ("intent", "link-down"),
        ("done", "link-down"),
        ("intent", "stop-services"),
        ("undoing", ""),
        ("undone", "stop-services"),
        ("undo-intent", "link-up"),
        ("undone", "link-down"),
        ("ended", ""),
    ]


def test_what_was_torn_while_it_was_accepted_did_not_begin() -> None:
    host, store = FakeHost(), MemoryStore()
    store.files["operation-op-1"] = b'{"phase": "accep'
    engine = make_engine(host, store)
    assert engine.resume() == ()
    assert engine.show("op-1") is None
    assert engine.history(10) == ()
    assert run(engine, request(OperationKind.PROMOTE)).state is OperationState.SUCCEEDED
    assert phases(store)[0] == ("accepted", "")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"garbage\n", "Expecting value"),
        (b'{"phase": "done", "step": "mount"}\n', "does not begin with 'accepted'"),
        (b"{}\n", "'phase'"),
        (b"[]\n", "list indices"),
        (b"null\n", "not subscriptable"),
        (b"\xff\n", "can't decode"),
        (b'ACCEPTED{"phase": "later"}\n', "unknown phase 'later'"),
        (b'ACCEPTED{"phase": "intent", "step": "dance"}\n', "'dance' is not a valid StepKind"),
        (b'ACCEPTED{"phase": "planned", "plan": {}}\n', "Plan: key"),
    ],
)
def test_a_damaged_file_is_named_and_keeps_nothing_else_from_working(
    content: bytes, why: str
) -> None:
    store = MemoryStore()
    make_engine(FakeHost(), store).begin(request(OperationKind.PROMOTE, "bad"))
    accepted = store.files["operation-bad"]
    if content.startswith(b"ACCEPTED"):
        body = content.removeprefix(b"ACCEPTED").rstrip(b"\n")
        content = accepted + sealed_after("operation-bad", accepted, [body])
    store.files["operation-bad"] = content
    engine = make_engine(FakeHost(), store)
    with pytest.raises(OperationFailed, match="the journal operation-bad is damaged") as caught:
        engine.show("bad")
    assert why in caught.value.message
    assert (caught.value.code, caught.value.exit_status) == ("JOURNAL_DAMAGED", 1)
    assert engine.resume() == ()
    assert next(finding.code for finding in engine.damage()) == "JOURNAL_DAMAGED"
    run(engine, request(OperationKind.PROMOTE))
    assert [record.request.operation_id for record in engine.history(10)] == ["op-1"]
