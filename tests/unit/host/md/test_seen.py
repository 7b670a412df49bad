"""Who was in the array when it last ran, over power cuts and a full disk."""

from __future__ import annotations

import dataclasses

import pytest

from storage_agent.host.md.seen import SeenRecords
from storage_agent.model.array import ArrayMember, ArrayState, ArrayView
from storage_agent.model.errors import OperationFailed
from tests.unit.fakes import FakeHost, MemoryStore, volume_config


def view(*members: tuple[str, int | None, str], state: ArrayState = ArrayState.CLEAN) -> ArrayView:
    seen = FakeHost().observe(volume_config()).array
    assert isinstance(seen, ArrayView)
    assert seen.array is not None
    found = tuple(
        ArrayMember(disk=f"vd{n}", serial=serial, slot=slot, state=(word,))
        for n, (serial, slot, word) in enumerate(members)
    )
    return dataclasses.replace(
        seen, array=dataclasses.replace(seen.array, state=state, members=found)
    )


BOTH = view(("a", 0, "in_sync"), ("b", 1, "in_sync"))
HALF = view(("a", 0, "in_sync"), ("b", None, "faulty"))
REBUILT = view(("a", 0, "in_sync"), ("c", 1, "spare"), ("d", None, "spare"))
NONE = dataclasses.replace(BOTH, array=None)


def test_it_follows_and_is_there_after_a_restart() -> None:
    store = MemoryStore()
    records = SeenRecords(store, is_writer=True)
    assert records.follow("data", NONE) is None
    for seen, in_sync, rebuilding in (
        (BOTH, ("a", "b"), ()),
        (HALF, ("a",), ()),
        (REBUILT, ("a",), ("c",)),
    ):
        note = records.follow("data", seen)
        assert note is not None
        assert (note.in_sync, note.rebuilding) == (in_sync, rebuilding)
    writes = store.writes
    assert records.follow("data", REBUILT) == note
    assert store.writes == writes
    again = SeenRecords(store, is_writer=True)
    assert again.follow("data", NONE) == note
    assert again.follow("logs", NONE) is None


@pytest.mark.parametrize(
    "unclear",
    [
        # Nobody has written to it: it makes nobody the newer one.
        view(("a", 0, "in_sync"), state=ArrayState.READ_AUTO),
        view(("a", 0, "in_sync"), state=ArrayState.INACTIVE),
        view(("", 0, "in_sync")),
        view(),
    ],
)
def test_what_proves_nothing_is_not_noted(unclear: ArrayView) -> None:
    store = MemoryStore()
    records = SeenRecords(store, is_writer=True)
    both = records.follow("data", BOTH)
    assert records.follow("data", unclear) == both


def test_a_look_without_the_daemon_leaves_no_trace() -> None:
    store = MemoryStore()
    assert SeenRecords(store, is_writer=False).follow("data", BOTH) is None
    assert store.files == {}


def test_what_cannot_be_kept_is_unknown_and_no_old_truth() -> None:
    store = MemoryStore()
    records = SeenRecords(store, is_writer=True)
    records.follow("data", BOTH)
    store.full = True
    assert records.follow("data", HALF) is None
    assert store.files == {}
    store.full = False
    note = records.follow("data", HALF)
    assert note is not None
    assert note.in_sync == ("a",)


def test_a_damaged_note_is_none() -> None:
    store = MemoryStore()
    store.files["members-data"] = b"{"
    assert SeenRecords(store, is_writer=False).follow("data", NONE) is None


class Broken(MemoryStore):
    def remove(self, name: str) -> None:
        raise OperationFailed("Read-only file system", code="STATE_FOLDER")


def test_a_note_that_can_neither_be_written_nor_removed_is_an_error() -> None:
    store = Broken()
    store.full = True
    with pytest.raises(OperationFailed):
        SeenRecords(store, is_writer=True).follow("data", BOTH)
