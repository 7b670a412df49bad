"""Ages: the epoch that a host keeps, the marker that travels with the filesystem."""

from __future__ import annotations

import pytest

from storage_agent.engine.epoch import EpochStore
from storage_agent.model.errors import Refused
from storage_agent.model.operation import Marker, OperationState
from storage_agent.model.plan import OperationKind, StepKind
from tests.unit.engine.parts import is_secondary, make_engine, request, run, served_marker
from tests.unit.fakes import FakeHost, MemoryStore


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
    assert [finding.code for finding in record.findings] == ["MARKER_OLD"]
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
    [(None, "EPOCH_MISSING"), (b"", "EPOCH_DAMAGED"), (b"{}\n00000000\n", "EPOCH_DAMAGED")],
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
