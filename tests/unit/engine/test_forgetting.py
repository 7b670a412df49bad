"""What was done long ago is never done again because it is not known any more."""

from __future__ import annotations

import dataclasses
import threading

import pytest

from storage_agent.engine.account import REMEMBERED_IDS, Account, Accounts, Phase
from storage_agent.engine.engine import Engine
from storage_agent.engine.entry import Entry
from storage_agent.engine.epoch import EpochStore
from storage_agent.engine.journal import Journal, why_not_to_go_on
from storage_agent.model.configuration import AgentConfig, Arbitration
from storage_agent.model.errors import Refused
from storage_agent.model.operation import Epoch, OperationRequest, OperationState
from storage_agent.model.plan import OperationKind
from tests.unit.engine.parts import CONFIG, make_engine, request, run
from tests.unit.fakes import CONTENT, COORDINATOR, FakeHost, MemoryStore, volume_config

PROMOTE, LEAVE = OperationKind.PROMOTE, OperationKind.LEAVE
ARBITRATED = dataclasses.replace(
    CONFIG,
    volumes={
        name: dataclasses.replace(volume, arbitration=Arbitration.COORDINATOR)
        for name, volume in CONFIG.volumes.items()
    },
)
OTHERS = 24


def short_of_memory(host: FakeHost, store: MemoryStore, config: AgentConfig = CONFIG) -> Engine:
    """It keeps 8 to 12 operations of each volume."""
    engine = make_engine(host, store, config)
    engine._journal.kept, engine._journal.pruned_at_once = 8, 4
    return engine


def many(engine: Engine, count: int = OTHERS, first: int = 0, volume: str = "data") -> None:
    """Cheap ones: refused, or already so."""
    for number in range(first, first + count):
        wanted = OperationRequest(
            kind=OperationKind.DEMOTE, volume=volume, operation_id=f"other-{volume}-{number}"
        )
        assert engine.run(engine.begin(wanted).request.operation_id).state is not None


def taken_down(engine: Engine) -> None:
    assert run(engine, request(OperationKind.DEMOTE, "down")).state is OperationState.SUCCEEDED


def test_an_old_promote_asked_again_after_260_others_does_not_run() -> None:
    """As many as an agent really keeps, and more."""
    host, store = FakeHost(), MemoryStore()
    engine = make_engine(host, store)
    assert run(engine, request(PROMOTE, "old")).state is OperationState.SUCCEEDED
    taken_down(engine)
    engine.claim_epoch(request(PROMOTE, "claim", epoch=8))
    many(engine, 260)
    performed = len(host.performed)
    with pytest.raises(Refused, match="too old to know"):
        run(engine, request(PROMOTE, "old"))
    assert len(host.performed) == performed


@pytest.mark.parametrize("epoch", [None, 6])
@pytest.mark.parametrize("config", [CONFIG, ARBITRATED], ids=["none", "coordinator"])
@pytest.mark.parametrize("is_restarted", [False, True])
def test_an_old_promote_asked_again_does_not_run(
    epoch: int | None, config: AgentConfig, is_restarted: bool
) -> None:
    host, store = FakeHost(), MemoryStore()
    engine = short_of_memory(host, store, config)
    more = {} if epoch is None else {"epoch": epoch}
    if epoch is not None and config is ARBITRATED:
        engine.arbitration.grant(config.volumes["data"], epoch, "old", COORDINATOR)
    old = request(PROMOTE, "old", **more)
    assert run(engine, old).state is OperationState.SUCCEEDED
    taken_down(engine)
    many(engine)
    performed = len(host.performed)
    if is_restarted:
        engine = short_of_memory(host, store, config)
        assert engine.resume() == ()
    # It owns the volume's epoch: it is kept, and gets its answer.
    assert run(engine, old).state is OperationState.SUCCEEDED
    assert EpochStore(store).read("data").operation_id == "old"
    # Another one takes it over: now it may go.
    engine.claim_epoch(request(PROMOTE, "claim", epoch=8))
    many(engine, first=OTHERS)
    with pytest.raises(Refused, match="too old to know") as caught:
        run(engine, old)
    assert caught.value.code == "OPERATION_FORGOTTEN"
    with pytest.raises(Refused, match="too old to know"):
        engine.show("old")
    assert len(host.performed) == performed
    assert host.replica is not None
    assert host.replica.role == "Secondary"


def test_a_refused_one_with_a_newer_epoch_does_not_run_later_either() -> None:
    """It never took its epoch, so that does not tell."""
    host, store = FakeHost(content=None), MemoryStore()
    engine = short_of_memory(host, store)
    refused = request(PROMOTE, "old", epoch=6)
    assert run(engine, refused).state is OperationState.REFUSED
    many(engine)
    host.content = CONTENT
    with pytest.raises(Refused, match="too old to know") as caught:
        engine.begin(refused)
    assert caught.value.findings[0].measured == "it was accepted, and its journal is gone"
    assert host.performed == []


def test_a_journal_that_is_gone_is_not_one_that_never_was() -> None:
    """Forgotten without having been given up: a file that was deleted."""
    for epoch in (None, 6):
        host, store = FakeHost(), MemoryStore()
        engine = short_of_memory(host, store)
        old = request(PROMOTE, "old", **({} if epoch is None else {"epoch": epoch}))
        assert run(engine, old).state is OperationState.SUCCEEDED
        taken_down(engine)
        store.remove("operation-old")
        performed = len(host.performed)
        for again in (engine, make_engine(host, store)):
            again.resume()
            with pytest.raises(Refused, match="too old to know"):
                run(again, old)
        assert len(host.performed) == performed


def test_an_epoch_file_that_came_back_brings_no_old_promote_back() -> None:
    host, store = FakeHost(), MemoryStore()
    engine = short_of_memory(host, store)
    backup = store.files["epoch-data"]
    old = request(PROMOTE, "old", epoch=6)
    assert run(engine, old).state is OperationState.SUCCEEDED
    taken_down(engine)
    # The journal of it was lost, and never known: as in a state folder made anew around it.
    account = Accounts(store, "alpha").read("data")
    assert account is not None
    Accounts(store, "alpha").write("data", dataclasses.replace(account, recent=()))
    store.remove("operation-old")
    store.files["epoch-data"] = backup
    performed = len(host.performed)
    with pytest.raises(Refused, match="too old to know") as caught:
        run(engine, old)
    assert caught.value.findings[0].measured == "an operation has taken epoch 6"
    assert len(host.performed) == performed
    newer = run(engine, request(PROMOTE, "new", epoch=7))
    assert newer.state is OperationState.SUCCEEDED


def test_a_promotion_that_was_granted_and_never_came_is_told_from_one_that_is_forgotten() -> None:
    host, store = FakeHost(), MemoryStore()
    engine = short_of_memory(host, store, ARBITRATED)
    engine.arbitration.grant(ARBITRATED.volumes["data"], 6, "granted", COORDINATOR)
    assert engine.show("granted", "data", 6) is None
    many(engine)
    assert engine.show("granted", "data", 6) is None
    old = request(PROMOTE, "granted", epoch=6)
    assert run(engine, old).state is OperationState.SUCCEEDED
    engine.claim_epoch(request(PROMOTE, "claim", epoch=7))
    many(engine, first=OTHERS)
    with pytest.raises(Refused, match="too old to know"):
        engine.show("granted", "data", 6)
    # Also where the ids that it has forgotten are too many to be kept.
    accounts = Accounts(store, "alpha")
    account = accounts.read("data")
    assert account is not None
    accounts.write("data", dataclasses.replace(account, recent=(), forgotten=0))
    store.remove("forgotten-data")
    with pytest.raises(Refused, match="too old to know") as caught:
        make_engine(host, store, ARBITRATED).show("granted", "data", 6)
    assert caught.value.findings[0].measured == "an operation has taken epoch 6"


def test_each_volume_keeps_its_own_whatever_the_clock_does() -> None:
    config = dataclasses.replace(CONFIG, volumes={**CONFIG.volumes, "mail": volume_config("mail")})
    host, store = FakeHost(), MemoryStore()
    engine = short_of_memory(host, store, config)
    EpochStore(store).write("mail", Epoch(number=1, operation_id="x"))
    first = request(PROMOTE, "first")
    assert run(engine, first).state is OperationState.SUCCEEDED
    # Years back: a clock without a battery.
    host.clock.now_s -= 1e8
    count = 17
    many(engine, count, volume="mail")
    assert run(engine, first).state is OperationState.SUCCEEDED
    kept = [e.request for e in Journal(store, "alpha").entries()]
    mails = [r.operation_id for r in kept if r.volume == "mail"]
    assert kept[0].operation_id == "first"
    assert 8 <= len(mails) < 12
    assert mails == [f"other-mail-{n}" for n in range(count - len(mails), count)]
    newest = [record.request.operation_id for record in engine.history(2)]
    assert newest == [f"other-mail-{count - 1}", f"other-mail-{count - 2}"]
    assert len(store.files["forgotten-mail"].splitlines()) == count - len(mails)


def test_what_is_remembered_is_bounded() -> None:
    store = MemoryStore()
    accounts = Accounts(store, "alpha")
    accounts.write("data", Account(number=1))
    for turn in range(4):
        account = accounts.read("data")
        assert account is not None
        ids = [f"op-{turn}-{n}" for n in range(REMEMBERED_IDS // 2)]
        accounts.forget("data", account, 0, *ids)
    account = accounts.read("data")
    assert account is not None
    assert len(store.files["forgotten-data"].splitlines()) == REMEMBERED_IDS
    assert accounts.knows("data", account, "op-3-7")
    assert accounts.knows("data", account, "op-2-7")
    assert not accounts.knows("data", account, "op-0-7")


@pytest.mark.parametrize("content", [None, b"", b"CUT", b"LINES"])
def test_digests_that_are_lost_refuse_what_they_could_have_known(content: bytes | None) -> None:
    host, store = FakeHost(), MemoryStore()
    engine = short_of_memory(host, store)
    many(engine)
    whole = store.files["forgotten-data"]
    if content is None:
        store.remove("forgotten-data")
    else:
        store.files["forgotten-data"] = {b"CUT": whole[:-17], b"LINES": b"x\n" * 400}.get(
            content, content
        )
    again = make_engine(host, store)
    assert again.resume() == ()
    assert [finding.code for finding in again.damage()] == ["JOURNAL_LOST"]
    with pytest.raises(Refused, match="does not go with forgotten-data"):
        again.begin(request(PROMOTE, "next"))
    again.restore_epoch("data", 9)
    assert run(again, request(PROMOTE, "next")).state is OperationState.SUCCEEDED


def test_killed_between_the_account_and_the_journal_it_did_not_begin() -> None:
    host, store = FakeHost(), MemoryStore()
    engine = short_of_memory(host, store)
    engine._journal.accounts.write("data", Account().accepts(1, "old"))
    assert engine.resume() == ()
    assert run(engine, request(PROMOTE, "old")).state is OperationState.SUCCEEDED


@pytest.mark.parametrize(
    ("phase", "undoing", "why"),
    [
        (Phase.ACCEPTED, "", ""),
        (Phase.BEGUN, "", "it had begun, and its last records are lost"),
        (Phase.UNDOING, "it failed", ""),
        (Phase.UNDOING, "", "it was being taken back, and its last records are lost"),
        (Phase.ENDED, "", "it had ended, and its last records are lost"),
    ],
)
def test_an_operation_without_an_end_goes_on_only_where_its_account_says_the_same(
    phase: Phase, undoing: str, why: str
) -> None:
    entry = Entry(
        request=request(OperationKind.DEMOTE, "old"),
        boot_id="boot-1",
        accepted_wall_s=0.0,
        number=3,
        undoing=undoing,
    )
    account = Account(number=3, operation_id="old", phase=phase)
    assert why_not_to_go_on(entry, account) == why


class HalfWritten(MemoryStore):
    """The account says that the operation was accepted; its journal is still being written."""

    def __init__(self) -> None:
        super().__init__()
        self.is_there, self.may_go_on = threading.Event(), threading.Event()

    def _write(self, name: str, content: bytes) -> None:
        if name == "operation-now":
            self.is_there.set()
            assert self.may_go_on.wait(10)
        super()._write(name, content)


def test_what_is_just_being_accepted_is_not_forgotten() -> None:
    store = HalfWritten()
    engine = make_engine(FakeHost(), store)
    accepting = threading.Thread(target=engine.begin, args=(request(PROMOTE, "now"),))
    accepting.start()
    assert store.is_there.wait(10)
    shown: list[object] = []
    looking = threading.Thread(target=lambda: shown.append(engine.show("now")))
    looking.start()
    looking.join(0.1)
    store.may_go_on.set()
    for thread in (accepting, looking):
        thread.join(10)
    assert [getattr(record, "state", record) for record in shown] == [OperationState.RUNNING]
