"""Journals that lost their end, came back, or are another's, below what has happened since: told,
never gone on with, and nothing that serves is stopped."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator

import pytest

from storage_agent.engine.account import Accounts
from storage_agent.engine.engine import Engine
from storage_agent.engine.epoch import EpochStore
from storage_agent.model.configuration import AgentConfig, Arbitration
from storage_agent.model.errors import AgentError, OperationFailed, Refused
from storage_agent.model.nfs import ServerState
from storage_agent.model.operation import OperationRequest, OperationState
from storage_agent.model.plan import OperationKind, StepKind
from tests.unit.engine.parts import CONFIG, is_serving, make_engine, request, run, serving_host
from tests.unit.engine.test_degraded import three_of_four, without_metadata
from tests.unit.engine.test_engine import _blank_disks, _uncreated
from tests.unit.engine.test_standalone import alone, discarding
from tests.unit.fakes import FILESYSTEM_UUID, Crash, FakeHost, MemoryStore, volume_config

K = OperationKind
ARBITRATED = dataclasses.replace(
    CONFIG,
    volumes={
        "data": dataclasses.replace(
            volume_config(services=("backup.service",)), arbitration=Arbitration.COORDINATOR
        )
    },
)
OLD, NEW = "operation-old", "operation-new"


def shut() -> FakeHost:
    host = serving_host()
    host.server = ServerState.STARTED
    return host


def down() -> FakeHost:
    host = FakeHost(array=None)
    host.replica = None
    return host


def unmade() -> FakeHost:
    return dataclasses.replace(down(), disk_list=_blank_disks())


def failing() -> FakeHost:
    """Its demote is taken back."""
    host = serving_host()

    def busy() -> None:
        raise OperationFailed("busy")

    host.faults[StepKind.UNMOUNT] = busy
    return host


@dataclasses.dataclass(frozen=True, kw_only=True)
class Old:
    """An operation of the past: on which host it ran, and what it was."""

    kind: OperationKind
    host: Callable[[], FakeHost]
    options: Callable[[], dict[str, str]] = dict
    config: AgentConfig = CONFIG
    ends: OperationState = OperationState.SUCCEEDED


OLDS = {
    "demote": Old(kind=K.DEMOTE, host=serving_host),
    "demote, taken back": Old(kind=K.DEMOTE, host=failing, ends=OperationState.ROLLED_BACK),
    "promote": Old(kind=K.PROMOTE, host=FakeHost),
    "leave": Old(kind=K.LEAVE, host=FakeHost),
    "leave, refused": Old(kind=K.LEAVE, host=serving_host, ends=OperationState.REFUSED),
    "assemble": Old(kind=K.ASSEMBLE, host=down),
    "assemble-degraded": Old(kind=K.ASSEMBLE_DEGRADED, host=three_of_four),
    "remake": Old(kind=K.REMAKE, host=without_metadata),
    "close-link": Old(kind=K.CLOSE_LINK, host=serving_host, config=ARBITRATED),
    "open-link": Old(kind=K.OPEN_LINK, host=shut, config=ARBITRATED),
    "standalone": Old(kind=K.STANDALONE, host=serving_host),
    "rejoin": Old(kind=K.REJOIN, host=alone),
    "split-brain": Old(
        kind=K.SPLIT_BRAIN, host=lambda: discarding()[0], options=lambda: discarding()[1]
    ),
    "create": Old(
        kind=K.CREATE,
        host=unmade,
        options=lambda: {"role": "first"},
        config=_uncreated(FILESYSTEM_UUID),
    ),
}


def test_every_kind_of_operation_is_walked() -> None:
    """Taking back what create has made is walked with it: tests/simulation/create_walk.py."""
    assert {old.kind for old in OLDS.values()} == set(OperationKind) - {K.ABANDON}


def past(old: Old) -> MemoryStore:
    """What is in the state folder after it has ended."""
    store = MemoryStore()
    engine = make_engine(old.host(), store, old.config, has_epoch=old.kind is not K.CREATE)
    record = run(engine, request(old.kind, "old", options=old.options()))
    assert record.state is old.ends, record.message
    return store


def with_newer(store: MemoryStore) -> MemoryStore:
    # Each operation here has a host, and so a filesystem, of its own.
    store.remove("marker-data")
    record = run(make_engine(FakeHost(), store), request(K.PROMOTE, "new"))
    assert record.state is OperationState.SUCCEEDED, record.message
    return store


def prefixes(content: bytes, each: int) -> Iterator[bytes]:
    """Around the end of each line, and a share of the others."""
    ends = {i for i, byte in enumerate(content) if byte == 10}
    for cut in range(len(content)):
        if cut % each == 0 or cut - 1 in ends:
            yield content[:cut]


def restart(store: MemoryStore, host: FakeHost | None = None) -> tuple[FakeHost, Engine]:
    """The daemon starts anew on a host that serves, and goes on with what it finds."""
    host = host or serving_host()
    engine = make_engine(host, store)
    for operation_id in engine.resume():
        engine.run(operation_id)
    return host, engine


def codes(engine: Engine) -> list[str]:
    return [finding.code for finding in engine.damage()]


def require_told(engine: Engine, host: FakeHost, where: object) -> None:
    """Of an operation `old` whose end is lost."""
    assert is_serving(host), where
    assert host.performed == [], where
    told = engine.damage()
    assert [finding.code for finding in told] == ["JOURNAL_DAMAGED"], where
    assert "damaged-old" in told[0].summary
    assert told[0].remedy.endswith("rm /var/lib/storage-agent/damaged-old")
    with pytest.raises(Refused, match="is too old to know"):
        engine.show("old")


@pytest.mark.parametrize("name", sorted(OLDS))
def test_an_old_journal_that_lost_its_end_is_told_and_stops_nothing(name: str) -> None:
    store = with_newer(past(OLDS[name]))
    whole = dict(store.files)
    walked = 0
    for prefix in prefixes(whole[OLD], 211):
        store.files = {**whole, OLD: prefix}
        host, engine = restart(store)
        if b"\n" not in prefix:
            # Not even that it was accepted is left: nothing to go on with.
            assert (codes(engine), host.performed) == ([], [])
            with pytest.raises(Refused, match="too old to know"):
                run(engine, request(OLDS[name].kind, "old"))
            continue
        require_told(engine, host, (name, len(prefix)))
        with pytest.raises(Refused, match="too old to know"):
            run(engine, request(OLDS[name].kind, "old"))
        assert is_serving(host)
        # Told until it is looked at, and no more often than that; then it is as if it never was.
        assert codes(make_engine(host, store)) == ["JOURNAL_DAMAGED"]
        store.remove("damaged-old")
        assert codes(engine) == []
        walked += 1
    assert walked > 5


@pytest.mark.parametrize("name", sorted(OLDS))
def test_so_is_the_newest_one_that_had_ended(name: str) -> None:
    """Its volume's account knows that it has."""
    store = past(OLDS[name])
    whole = dict(store.files)
    for prefix in prefixes(whole[OLD], 1009):
        store.files = {**whole, OLD: prefix}
        host, engine = restart(store)
        if b"\n" in prefix:
            require_told(engine, host, (name, len(prefix)))
        assert host.performed == []


@pytest.mark.parametrize("name", sorted(OLDS))
def test_a_journal_that_is_torn_in_its_middle_is_told(name: str) -> None:
    store = with_newer(past(OLDS[name]))
    whole = dict(store.files)
    lines = whole[OLD].splitlines(keepends=True)
    middle = len(whole[OLD]) // 2
    torn = {
        "zeros": whole[OLD][:middle] + b"\0" * 64 + whole[OLD][middle + 64 :],
        "bytes lost": whole[OLD][:middle] + whole[OLD][middle + 64 :],
        "twice": whole[OLD] + whole[OLD],
        "its beginning lost": b"".join(lines[1:]),
        "a digit": whole[OLD].replace(b'"wall_s": 1', b'"wall_s": 2', 1),
    }
    for number in range(1, len(lines) - 1, 4):
        torn[f"line {number} lost"] = b"".join(lines[:number] + lines[number + 1 :])
        torn[f"line {number} twice"] = b"".join(lines[: number + 1] + lines[number:])
    for how, content in torn.items():
        store.files = {**whole, OLD: content}
        host, engine = restart(store)
        require_told(engine, host, (name, how))


@pytest.mark.parametrize("after", [False, True])
def test_one_that_was_being_taken_back_is_not_walked_forward_again(after: bool) -> None:
    """Killed at each write, then the journal loses each of its lines."""
    store = MemoryStore()
    run(make_engine(failing(), store), request(K.DEMOTE, "old"))
    for point in range(1, store.writes + 1):
        host, killed = failing(), MemoryStore()
        engine = make_engine(host, killed)
        killed.crash_at, killed.crash_after = point, after
        with pytest.raises(Crash):
            run(engine, request(K.DEMOTE, "old"))
        killed.crash_at = None
        whole = dict(killed.files)
        lines = whole.get(OLD, b"").splitlines(keepends=True)
        account = Accounts(killed, "alpha").read("data")
        assert account is not None or not lines
        for count in range(point % 3, len(lines), 3):
            killed.files = {**whole, OLD: b"".join(lines[:count])}
            again = FakeHost(**{f.name: getattr(host, f.name) for f in dataclasses.fields(host)})
            again.performed, again.faults = [], {}
            _, restarted = restart(killed, again)
            if account is not None and account.phase in ("undoing", "ended"):
                has_undo = any(b'"undoing"' in line for line in lines[:count])
                assert StepKind.UNMOUNT not in again.performed, (point, count)
                is_harmless = count == 0 and account.phase == "ended"
                assert has_undo or codes(restarted) or is_harmless, (point, count)


def foreign_demote() -> bytes:
    """An unfinished demote of the other host, whole."""
    store, host = MemoryStore(), serving_host()
    config = dataclasses.replace(CONFIG, host="beta")

    def kill() -> None:
        raise Crash

    host.faults[StepKind.STOP_SERVER] = kill
    engine = make_engine(host, store, config)
    with pytest.raises(Crash):
        run(engine, request(K.DEMOTE, "old"))
    return store.files[OLD]


def test_another_hosts_unfinished_journal_is_told_and_not_gone_on_with() -> None:
    for store in (with_newer(MemoryStore()), MemoryStore()):
        make_engine(FakeHost(), store)
        store.files[OLD] = foreign_demote()
        host, engine = restart(store)
        require_told(engine, host, "foreign")
        assert "it is of the host 'beta'" in engine.damage()[0].measured


def test_a_journal_under_another_name_is_told() -> None:
    store = with_newer(past(OLDS["demote"]))
    store.files["operation-copy"] = store.files[OLD]
    host, engine = restart(store)
    assert host.performed == []
    assert codes(engine) == ["JOURNAL_DAMAGED"]


def test_an_older_copy_of_a_journal_that_comes_back_is_told() -> None:
    """Restored from a backup that was taken while it ran; its number is an older one."""
    store = MemoryStore()
    engine = make_engine(serving_host(), store)
    engine.begin(request(K.DEMOTE, "old"))
    backup = store.files[OLD]
    engine.run("old")
    with_newer(store)
    store.files[OLD] = backup
    host, restarted = restart(store)
    require_told(restarted, host, "restored")


def test_an_older_copy_of_the_account_refuses_changes_until_a_person_says_where_it_stands() -> None:
    store = past(OLDS["demote"])
    backup = store.files["account-data"]
    with_newer(store)
    store.files["account-data"] = backup
    host, engine = restart(store)
    assert (codes(engine), host.performed) == (["JOURNAL_LOST"], [])
    with pytest.raises(Refused, match="older than its journals"):
        engine.begin(request(K.DEMOTE, "next"))
    plan_codes = {finding.code for finding in engine.plan(request(K.DEMOTE, "next"))[1]}
    assert "JOURNAL_LOST" in plan_codes
    epoch = EpochStore(store).read("data").number
    engine.restore_epoch("data", epoch)
    assert codes(engine) == []
    assert run(engine, request(K.DEMOTE, "next")).state is OperationState.SUCCEEDED


@pytest.mark.parametrize(
    "content",
    [
        None,
        b"",
        b"garbage",
        b"{}\n00000000\n",
        b"OTHER HOST",
        b"OTHER VOLUME",
        b"TRUNCATED",
        b"NEWER",
        b"WRONG TYPE",
    ],
)
def test_an_account_that_is_lost_is_told_and_nothing_is_gone_on_with(
    content: bytes | None,
) -> None:
    store, host = MemoryStore(), serving_host()
    engine = make_engine(host, store)
    engine.begin(request(K.DEMOTE, "old"))
    whole = store.files["account-data"]
    other = MemoryStore()
    accounts = Accounts(other, "beta" if content == b"OTHER HOST" else "alpha")
    account = Accounts(store, "alpha").read("data")
    assert account is not None
    wrong = dataclasses.replace(account, number="1") if content == b"WRONG TYPE" else account  # type: ignore[arg-type]
    volume = "mail" if content == b"OTHER VOLUME" else "data"
    accounts.write(volume, wrong)
    replaced = {
        b"OTHER HOST": other.files[f"account-{volume}"],
        b"OTHER VOLUME": other.files[f"account-{volume}"],
        b"WRONG TYPE": other.files[f"account-{volume}"],
        b"TRUNCATED": whole[:-12],
        b"NEWER": whole.replace(b'{"number"', b'{"later": 1, "number"'),
    }
    if content is None:
        del store.files["account-data"]
    else:
        store.files["account-data"] = replaced.get(content, content)
    host, engine = restart(store)
    assert (codes(engine), host.performed) == (["JOURNAL_LOST"], [])
    with pytest.raises(Refused, match="account of the operations on data") as caught:
        engine.begin(request(K.DEMOTE, "next"))
    assert caught.value.code == "JOURNAL_LOST"
    with pytest.raises(AgentError):
        engine.show("old")
    with pytest.raises(Refused, match="account of the operations"):
        engine.show("never-heard-of")
    # What a host must always be able to do, it can; and a crash in it is not gone on with.
    leave = OperationRequest(kind=K.LEAVE, volume="data", operation_id="bye", stop_serving="x")
    assert run(engine, leave).state is OperationState.REFUSED
    assert engine.history(10)[0].request.operation_id == "bye"
    assert engine.lately("data") == ()


def test_a_file_that_vanished_under_an_operation_is_told_until_the_next_one() -> None:
    store, host = MemoryStore(), serving_host()
    engine = make_engine(host, store)

    def kill() -> None:
        raise Crash

    host.faults[StepKind.STOP_SERVER] = kill
    with pytest.raises(Crash):
        run(engine, request(K.DEMOTE, "old"))
    del store.files[OLD]
    host.faults.clear()
    restarted = make_engine(host, store)
    assert restarted.resume() == ()
    assert codes(restarted) == ["OPERATION_LOST"]
    assert run(restarted, request(K.PROMOTE, "next")).state is OperationState.SUCCEEDED
    assert codes(restarted) == []


def test_two_operations_never_have_one_number() -> None:
    store = with_newer(past(OLDS["demote"]))
    body = json.loads(store.files[OLD].splitlines()[0])
    assert body["number"] == 1
    newest = store.files[NEW].splitlines()[0]
    assert json.loads(newest)["number"] == 2
    host, engine = restart(store)
    assert (codes(engine), host.performed) == ([], [])
