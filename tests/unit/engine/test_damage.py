"""Journals that are odd in rarer ways, and what is known of the last operations beside them."""

from __future__ import annotations

import dataclasses

import pytest

from storage_agent.engine.account import Accounts, Phase
from storage_agent.engine.entry import body_of, sealed_after
from storage_agent.engine.epoch import EpochStore
from storage_agent.engine.sealed import pack
from storage_agent.model.errors import OperationFailed, Refused
from storage_agent.model.operation import OperationState
from storage_agent.model.plan import OperationKind
from tests.unit.engine.parts import make_engine, request, run, serving_host
from tests.unit.engine.test_engine import _blank_disks, _uncreated
from tests.unit.engine.test_truncation import OLDS, codes, past, restart, with_newer
from tests.unit.fakes import FILESYSTEM_UUID, FakeHost, MemoryStore

DEMOTE, PROMOTE = OperationKind.DEMOTE, OperationKind.PROMOTE
OLD = "operation-old"


class Unreadable(MemoryStore):
    """One file of it lies on a bad sector."""

    bad = OLD

    def read(self, name: str) -> bytes | None:
        if name == self.bad and name in self.files:
            raise OperationFailed("Input/output error", code="STATE_FOLDER")
        return super().read(name)


def early(operation_id: str = "old", *, has_end: bool = False) -> bytes:
    """As an earlier version wrote it: uncounted, unsealed."""
    wanted = request(DEMOTE, operation_id)
    lines = [body_of("accepted", {"request": wanted, "boot_id": "boot-1", "wall_s": 1.0})]
    if has_end:
        record = run(make_engine(serving_host(), MemoryStore()), wanted)
        lines.append(body_of("ended", {"record": record}))
    return b"".join(line + b"\n" for line in lines)


def test_a_journal_that_cannot_be_read_at_all_keeps_the_agent_from_changing_anything() -> None:
    store = Unreadable()
    store.files = dict(past(OLDS["demote"]).files)
    engine = make_engine(serving_host(), store)
    with pytest.raises(OperationFailed, match="Input/output error"):
        engine.resume()
    engine = make_engine(serving_host(), store)
    engine._journal._highest = {}
    with pytest.raises(OperationFailed, match="Input/output error"):
        tuple(engine._damage._unreadable())


def test_one_of_an_earlier_version_is_not_gone_on_with() -> None:
    store = MemoryStore()
    store.files[OLD] = early()
    host, engine = restart(store)
    assert (host.performed, codes(engine)) == ([], ["JOURNAL_DAMAGED"])
    assert "earlier version" in engine.damage()[0].measured
    store = MemoryStore()
    store.files[OLD] = early(has_end=True)
    host, engine = restart(store)
    assert (host.performed, codes(engine)) == ([], [])
    assert run(engine, request(DEMOTE, "old")).state is OperationState.SUCCEEDED
    assert host.performed == []


def test_one_under_another_name_is_damaged() -> None:
    store = MemoryStore()
    store.files["operation-copy"] = early()
    host, engine = restart(store)
    assert (host.performed, codes(engine)) == ([], ["JOURNAL_DAMAGED"])
    assert "it tells of operation 'old'" in engine.damage()[0].measured


@pytest.mark.parametrize(
    ("phase", "said"), [("accepted", "begins twice"), ("done", "goes on after its end")]
)
def test_one_that_goes_on_where_it_cannot_is_damaged(phase: str, said: str) -> None:
    store = with_newer(past(OLDS["demote"]))
    more: dict[str, dict[str, object]] = {
        "accepted": {"request": request(DEMOTE, "old"), "boot_id": "b", "wall_s": 1.0},
        "done": {"step": "unmount"},
    }
    store.files[OLD] += sealed_after(OLD, store.files[OLD], [body_of(phase, more[phase])])
    host, engine = restart(store)
    assert (host.performed, codes(engine)) == ([], ["JOURNAL_DAMAGED"])
    assert said in engine.damage()[0].measured


def test_a_full_state_folder_keeps_nothing_from_going_on() -> None:
    """What cannot be set aside stays, is told, and is not gone on with all the same."""
    store = with_newer(past(OLDS["demote"]))
    whole = store.files[OLD]
    lines = whole.splitlines(keepends=True)
    store.files[OLD] = b"".join(lines[:3])
    # Killed between the newest one's end and the account's note of it.
    account = Accounts(store, "alpha").read("data")
    assert account is not None
    Accounts(store, "alpha").write("data", dataclasses.replace(account, phase=Phase.BEGUN))
    store.full = True
    host, engine = restart(store)
    assert host.performed == []
    (finding,) = engine.damage()
    assert (finding.code, finding.measured) == (
        "JOURNAL_DAMAGED", "it has no end, and a newer operation of its volume was accepted",
    )  # fmt: skip
    assert finding.remedy.endswith("rm /var/lib/storage-agent/operation-old")
    with pytest.raises(OperationFailed, match="no end"):
        engine.begin(request(DEMOTE, "old"))
    store.full = False
    host, engine = restart(store)
    assert host.performed == []
    (finding,) = engine.damage()
    assert finding.remedy.endswith("rm /var/lib/storage-agent/damaged-old")
    assert OLD not in store.files


def test_digests_that_are_lost_keep_nothing_from_going_on() -> None:
    store = with_newer(past(OLDS["demote"]))
    store.files[OLD] = store.files[OLD].splitlines(keepends=True)[0]
    store.files["forgotten-data"] = b"garbage\n"
    host, engine = restart(store)
    assert (host.performed, codes(engine)) == ([], ["JOURNAL_DAMAGED", "JOURNAL_LOST"])


def test_two_with_one_number_are_told() -> None:
    store = with_newer(past(OLDS["demote"]))
    other = MemoryStore()
    run(make_engine(serving_host(), other), request(DEMOTE, "twin"))
    store.files["operation-twin"] = other.files["operation-twin"]
    host, engine = restart(store)
    assert host.performed == []
    assert codes(engine) == ["JOURNAL_DAMAGED", "JOURNAL_DAMAGED"]
    assert "another operation has its number, 1" in engine.damage()[0].measured


def test_a_volume_that_is_made_anew_begins_a_new_account() -> None:
    store = past(OLDS["demote"])
    del store.files["account-data"]
    host = dataclasses.replace(FakeHost(array=None), disk_list=_blank_disks())
    host.replica = None
    engine = make_engine(host, store, _uncreated(FILESYSTEM_UUID))
    assert codes(engine) == ["JOURNAL_LOST"]
    record = run(engine, request(OperationKind.CREATE, "new", options={"role": "first"}))
    assert record.state is OperationState.SUCCEEDED, record.message
    assert codes(engine) == []


def test_an_epoch_that_is_no_number_is_damaged() -> None:
    store = MemoryStore()
    for number in (-1, "5", None, 1.5, True):
        store.files["epoch-data"] = pack({"epoch": number, "operation_id": "x"})
        with pytest.raises(Refused, match="is damaged"):
            EpochStore(store).read("data")


@pytest.mark.parametrize("owner", [{"host": "beta"}, {"volume": "mail"}])
def test_an_epoch_of_another_host_or_volume_is_damaged(owner: dict[str, str]) -> None:
    store = MemoryStore()
    value = {"epoch": 5, "operation_id": "x", "host": "alpha", "volume": "data"}
    store.files["epoch-data"] = pack(value | owner)
    with pytest.raises(Refused, match="of another host or volume"):
        EpochStore(store, "alpha").read("data")
    store.files["epoch-data"] = pack(value)
    assert EpochStore(store, "alpha").read("data").number == 5


def test_the_last_that_is_known_is_told_only_up_to_a_gap() -> None:
    host, store = serving_host(), MemoryStore()
    engine = make_engine(host, store)
    for number, kind in enumerate((DEMOTE, PROMOTE, DEMOTE)):
        run(engine, request(kind, f"op-{number}"))

    def lately() -> list[str]:
        return [record.request.operation_id for record in engine.lately("data")]

    assert lately() == ["op-2", "op-1", "op-0"]
    whole = dict(store.files)
    del store.files["operation-op-1"]
    assert lately() == ["op-2"]
    del store.files["operation-op-2"]
    assert lately() == []
    first_line = whole["operation-op-1"].splitlines(keepends=True)[0]
    store.files = {**whole, "operation-op-1": first_line}
    assert lately() == ["op-2"]
