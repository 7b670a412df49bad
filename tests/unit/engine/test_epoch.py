"""Ages: the epoch that a host keeps, the marker that travels with the filesystem."""

from __future__ import annotations

import dataclasses
import zlib

import pytest

from storage_agent.engine.epoch import EpochStore
from storage_agent.model.errors import AgentError, Refused
from storage_agent.model.operation import Marker, OperationState
from storage_agent.model.plan import OperationKind, StepKind
from storage_agent.model.snapshot import Facet
from tests.unit.engine.parts import is_secondary, make_engine, request, run, served_marker
from tests.unit.fakes import FakeHost, MemoryStore

_NEWER = b'{"epoch": 5, "operation_id": "before", "coordinator": "claim-1", "retired": true}'
# Whole, but with a word that this version does not know.
NEWER = _NEWER + b"\n%08x\n" % zlib.crc32(_NEWER)


def test_an_admins_epoch_follows_the_filesystem() -> None:
    host, store = FakeHost(marker=served_marker(9)), MemoryStore()
    record = run(make_engine(host, store), request(OperationKind.PROMOTE))
    assert (record.state, record.epoch) == (OperationState.SUCCEEDED, 10)
    assert host.marker is not None
    assert host.marker.age() == (10, 4)
    assert EpochStore(store).read("data").number == 10
    noted = EpochStore(store).last_marker("data")
    assert noted is not None
    assert noted.age() == (10, 4)


def test_a_coordinators_old_epoch_is_refused_by_the_filesystem() -> None:
    host = FakeHost(marker=served_marker(9))
    record = run(make_engine(host, MemoryStore()), request(OperationKind.PROMOTE, epoch=7))
    assert record.state is OperationState.ROLLED_BACK
    assert [finding.code for finding in record.findings] == ["STALE_EPOCH"]
    assert StepKind.MOUNT not in host.performed
    assert is_secondary(host)


@pytest.mark.parametrize("found", [None, served_marker(4), served_marker(5, 2)])
def test_a_copy_older_than_what_this_host_has_seen_is_given_back(found: Marker | None) -> None:
    host, store = FakeHost(marker=found), MemoryStore()
    engine = make_engine(host, store)
    EpochStore(store).note_marker("data", served_marker(5, 3))
    record = run(engine, request(OperationKind.PROMOTE))
    assert record.state is OperationState.ROLLED_BACK
    code = "MARKER_OLD" if found else "MARKER_GONE"
    assert [finding.code for finding in record.findings] == [code]
    assert StepKind.MOUNT not in host.performed
    assert is_secondary(host)


def test_a_copy_older_than_what_the_caller_has_seen_is_given_back() -> None:
    host = FakeHost(marker=served_marker(5, 3))
    wanted = request(OperationKind.PROMOTE, epoch=6, marker_at_least=(5, 4))
    record = run(make_engine(host, MemoryStore()), wanted)
    assert [finding.code for finding in record.findings] == ["MARKER_OLD"]
    assert is_secondary(host)


@pytest.mark.parametrize(
    ("epoch", "code"), [(4, "STALE_EPOCH"), (5, "STALE_EPOCH"), (5 + 20_001, "EPOCH_JUMP")]
)
def test_wrong_epochs_are_refused(epoch: int, code: str) -> None:
    host, store = FakeHost(), MemoryStore()
    record = run(make_engine(host, store), request(OperationKind.PROMOTE, epoch=epoch))
    assert [finding.code for finding in record.findings] == [code]
    assert host.performed == []
    assert EpochStore(store).read("data").number == 5


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (None, "EPOCH_MISSING"),
        (b"", "EPOCH_DAMAGED"),
        (b"{}\n00000000\n", "EPOCH_DAMAGED"),
        (NEWER, "EPOCH_DAMAGED"),
    ],
)
def test_an_unusable_epoch_file_refuses_changes(content: bytes | None, code: str) -> None:
    host, store = FakeHost(), MemoryStore()
    engine = make_engine(host, store)
    if content is None:
        del store.files["epoch-data"]
    else:
        store.files["epoch-data"] = content
    record = run(engine, request(OperationKind.PROMOTE))
    assert record.state is OperationState.REFUSED
    assert [finding.code for finding in record.findings] == [code]
    assert "epoch restore data" in record.remedy
    assert host.performed == []


def test_an_admin_restores_a_lost_epoch_but_never_lowers_one() -> None:
    host, store = FakeHost(marker=served_marker(7)), MemoryStore()
    engine = make_engine(host, store)
    with pytest.raises(Refused, match="would be older"):
        engine.restore_epoch("data", 4)
    del store.files["epoch-data"]
    assert engine.epoch("data") is None
    EpochStore(store).note_marker("data", served_marker(7))
    with pytest.raises(Refused, match="would be older"):
        engine.restore_epoch("data", 6)
    engine.restore_epoch("data", 8)
    assert engine.epoch("data") == 8
    assert run(engine, request(OperationKind.PROMOTE)).state is OperationState.SUCCEEDED


@pytest.mark.parametrize(
    ("volume", "code"), [("dta", "UNKNOWN_VOLUME"), ("data", "BUSY")], ids=["unknown", "busy"]
)
def test_no_epoch_is_restored_under_an_operation_or_of_no_volume(volume: str, code: str) -> None:
    store = MemoryStore()
    engine = make_engine(FakeHost(), store)
    engine.begin(request(OperationKind.PROMOTE))
    with pytest.raises(AgentError) as caught:
        engine.restore_epoch(volume, 99)
    assert caught.value.code == code
    assert EpochStore(store).read("data").number == 5
    assert "epoch-dta" not in store.files


def test_a_noted_marker_outlives_the_daemon() -> None:
    host, store = FakeHost(), MemoryStore()
    engine = make_engine(host, store)
    assert engine.last_marker("data") is None
    engine.note_marker("data", served_marker(5, 8))
    assert make_engine(host, store).last_marker("data") == served_marker(5, 8)


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff", b'{"epoch": 5}'])
def test_a_damaged_note_of_the_marker_refuses_until_an_admin_gives_it_up(content: bytes) -> None:
    host, store = FakeHost(marker=served_marker(5)), MemoryStore()
    engine = make_engine(host, store)
    store.files["marker-data"] = content
    record = run(engine, request(OperationKind.PROMOTE))
    assert (record.state, record.changed) == (OperationState.REFUSED, False)
    assert [finding.code for finding in record.findings] == ["MARKER_RECORD_DAMAGED"]
    assert "note of the newest marker of data is damaged" in record.message
    assert "epoch restore data" in record.remedy
    assert host.performed == []
    with pytest.raises(Refused, match="would be older"):
        engine.restore_epoch("data", 4)
    assert "marker-data" in store.files
    known = EpochStore(store).read("data").number
    engine.restore_epoch("data", known)
    assert engine.last_marker("data") is None
    assert run(engine, request(OperationKind.PROMOTE, "op-2")).state is OperationState.SUCCEEDED


def test_a_marker_that_cannot_be_read_gives_the_role_back() -> None:
    host = FakeHost(blind={Facet.MARKER: "checksum"})
    record = run(make_engine(host, MemoryStore()), request(OperationKind.PROMOTE))
    assert record.state is OperationState.ROLLED_BACK
    assert [(f.code, f.measured) for f in record.findings] == [("MARKER_UNREADABLE", "checksum")]
    assert StepKind.MOUNT not in host.performed
    assert is_secondary(host)


@pytest.mark.parametrize(
    ("marker", "code"),
    [(None, "MARKER_GONE"), (served_marker(10**9), "MARKER_IMPLAUSIBLE")],
)
def test_a_persons_word_is_the_way_past_a_lost_or_forged_marker(
    marker: Marker | None, code: str
) -> None:
    host, store = FakeHost(marker=marker), MemoryStore()
    engine = make_engine(host, store)
    EpochStore(store).note_marker("data", served_marker(5, 3))
    record = run(engine, request(OperationKind.PROMOTE))
    assert [finding.code for finding in record.findings] == [code]
    assert EpochStore(store).read("data").number < 100
    word = request(OperationKind.PROMOTE, marker_lost="alpha/data")
    record = run(engine, dataclasses.replace(word, operation_id="word"))
    assert record.state is OperationState.SUCCEEDED
    assert "MARKER_DISREGARDED" in [finding.code for finding in record.findings]
    noted = EpochStore(store).last_marker("data")
    assert noted is not None
    assert 5 < noted.epoch < 100


def test_ticks_count_on_from_the_note_unless_it_is_damaged() -> None:
    store = MemoryStore()
    engine = make_engine(FakeHost(), store)
    EpochStore(store).note_marker("data", served_marker(5, 3))
    forged = served_marker(10**9, 1)
    assert engine.marker_to_count_on("data", served_marker(5, 4)) == served_marker(5, 4)
    base = engine.marker_to_count_on("data", forged)
    assert base is not None
    assert base.epoch == 5
    store.files["marker-data"] = b"damaged"
    assert engine.marker_to_count_on("data", served_marker(5, 4)) == served_marker(5, 4)
    assert engine.marker_to_count_on("data", forged) is None
