"""The coordinator's word: bound to an epoch that is durable before it has any effect."""

from __future__ import annotations

import dataclasses
import threading

import pytest

from storage_agent.engine.engine import Engine
from storage_agent.engine.epoch import EpochStore
from storage_agent.model.configuration import AgentConfig
from storage_agent.model.errors import OperationFailed, OutcomeUnknown, Refused
from storage_agent.model.incident import Grant, Incident, IncidentAnswer
from storage_agent.model.nfs import ServerState
from storage_agent.model.operation import (
    Epoch,
    OperationRecord,
    OperationRequest,
    OperationState,
)
from storage_agent.model.plan import OperationKind, StepKind
from storage_agent.model.replica import DiskState
from storage_agent.model.snapshot import Attachment, Facet
from tests.unit.engine.parts import make_engine
from tests.unit.fakes import (
    COORDINATOR,
    Crash,
    FakeHost,
    MemoryStore,
    agent_config,
    volume_config,
)
from tests.unit.incidents import CONFIG, FROZEN, VOLUME, frozen_host, incident, serving_host
from tests.unit.replicas import in_sync_replica, lost_peer

CONTINUE, DENY = IncidentAnswer.CONTINUE, IncidentAnswer.DENY


def engine_of(host: FakeHost, store: MemoryStore, config: AgentConfig = CONFIG) -> Engine:
    return make_engine(host, store, config)


def known(store: MemoryStore) -> int:
    return EpochStore(store).read("data").number


def lost_host() -> FakeHost:
    """Secondary, and its peer is gone: in sync up to then."""
    attachment = Attachment(in_sync_until_loss=True)
    return FakeHost(replica=lost_peer(in_sync_replica()), attachment=attachment)


def promote(operation_id: str = "op-1", epoch: int | None = 6, **more: object) -> OperationRequest:
    return OperationRequest(
        kind=OperationKind.PROMOTE,
        volume="data",
        operation_id=operation_id,
        epoch=epoch,
        coordinator=COORDINATOR if epoch else "",
        **more,  # type: ignore[arg-type]
    )


def run(engine: Engine, request: OperationRequest) -> OperationRecord:
    return engine.run(engine.begin(request).request.operation_id)


def codes(record: OperationRecord) -> list[str]:
    return [finding.code for finding in record.findings]


def refusal(engine: Engine, asked: Incident, coordinator: str = COORDINATOR) -> str:
    with pytest.raises(Refused) as caught:
        engine.arbitration.answer(VOLUME, asked, coordinator)
    return caught.value.code


# --- answers ---------------------------------------------------------------------------------


def test_an_incident_is_shown_with_the_epoch_that_is_known_here() -> None:
    engine = engine_of(frozen_host(), MemoryStore())
    assert engine.arbitration.incident(VOLUME) == incident(epoch=5)


def test_what_cannot_be_read_is_not_shown() -> None:
    host = frozen_host(blind={Facet.INCIDENT: "damaged"})
    engine = engine_of(host, MemoryStore())
    assert engine.arbitration.incident(VOLUME) is None
    assert refusal(engine, incident("continue", 6)) == "INCIDENT_UNKNOWN"


@pytest.mark.parametrize("answer", ["continue", "deny"])
def test_an_answer_reaches_the_handler_and_the_same_again_gives_the_same(answer: str) -> None:
    host, store = frozen_host(), MemoryStore()
    engine = engine_of(host, store)
    answered = engine.arbitration.answer(VOLUME, incident(answer, 6, opened_unix_s=0), COORDINATOR)
    assert answered == incident(answer, 6)
    assert host.answered == [answered]
    assert known(store) == 6
    assert engine.arbitration.answer(VOLUME, incident(answer, 6), COORDINATOR) == answered
    assert host.answered == [answered]
    assert engine.arbitration.incident(VOLUME) == answered


def test_the_epoch_is_durable_before_the_handler_hears_anything() -> None:
    host, store = frozen_host(), MemoryStore()
    engine = engine_of(host, store)
    store.crash_at = 1
    with pytest.raises(Crash):
        engine.arbitration.answer(VOLUME, incident("continue", 6), COORDINATOR)
    assert host.answered == []
    store.crash_at = None
    store.full = True
    with pytest.raises(OperationFailed):
        engine.arbitration.answer(VOLUME, incident("continue", 6), COORDINATOR)
    assert host.answered == []


def test_a_crash_between_epoch_and_answer_leaves_room_for_the_same_word_only() -> None:
    host, store = frozen_host(), MemoryStore()
    engine = engine_of(host, store)
    store.crash_at, store.crash_after = 1, True
    with pytest.raises(Crash):
        engine.arbitration.answer(VOLUME, incident("continue", 6), COORDINATOR)
    assert (known(store), host.answered) == (6, [])
    store.crash_at = None
    assert refusal(engine, incident("deny", 6)) == "STALE_EPOCH"
    assert engine.arbitration.answer(VOLUME, incident("continue", 6), COORDINATOR).epoch == 6


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        (incident("continue", 5), "STALE_EPOCH"),
        (incident("continue", 0), "STALE_EPOCH"),
        (incident("continue", 2**62), "EPOCH_JUMP"),
        (incident("continue", 6, incident="forged"), "INCIDENT_UNKNOWN"),
        (incident("continue", 6, boot_id="boot-0"), "INCIDENT_UNKNOWN"),
    ],
)
def test_forged_and_old_answers_leave_it_frozen(asked: Incident, code: str) -> None:
    host, store = frozen_host(), MemoryStore()
    assert refusal(engine_of(host, store), asked) == code
    assert (host.answered, known(store)) == ([], 5)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"replica": dataclasses.replace(FROZEN, disk=DiskState.DISKLESS)}, "DISK_NOT_UPTODATE"),
        ({"blind": {Facet.REPLICA: "it hangs"}}, "UNOBSERVED"),
    ],
)
def test_a_bad_copy_is_denied_but_never_told_to_go_on(
    changes: dict[str, object], code: str
) -> None:
    host, store = frozen_host(**changes), MemoryStore()
    engine = engine_of(host, store)
    assert refusal(engine, incident("continue", 6)) == code
    assert (host.answered, known(store)) == ([], 5)
    denied = engine.arbitration.answer(VOLUME, incident("deny", 6), COORDINATOR)
    assert host.answered == [denied]


@pytest.mark.parametrize("other", [incident("deny", 7), incident("continue", 7)])
def test_another_answer_to_an_answered_incident_is_refused(other: Incident) -> None:
    host, store = frozen_host(), MemoryStore()
    engine = engine_of(host, store)
    engine.arbitration.answer(VOLUME, incident("continue", 6), COORDINATOR)
    assert refusal(engine, other) == "INCIDENT_ANSWERED"
    assert len(host.answered) == 1


def test_a_damaged_epoch_takes_no_answer() -> None:
    host, store = frozen_host(), MemoryStore()
    engine = engine_of(host, store)
    store.files["epoch-data"] = b"garbage\n"
    assert refusal(engine, incident("continue", 6)) == "EPOCH_DAMAGED"
    assert engine.arbitration.incident(VOLUME) == incident()
    assert host.answered == []


def test_a_handler_that_went_meanwhile_is_no_success() -> None:
    class Gone(FakeHost):
        def answer(self, answered: Incident) -> None:
            self.incident = None

    host = Gone(replica=frozen_host().replica, incident=incident())
    with pytest.raises(OutcomeUnknown):
        engine_of(host, MemoryStore()).arbitration.answer(
            VOLUME, incident("continue", 6), COORDINATOR
        )


@pytest.mark.parametrize("answer", ["continue", "deny"])
def test_another_coordinator_answers_nothing_and_is_told_so(answer: str) -> None:
    host, store = frozen_host(), MemoryStore()
    engine = engine_of(host, store)
    for other in ("claim-2", ""):
        assert refusal(engine, incident(answer, 6), other) == "OTHER_COORDINATOR"
    assert (host.answered, known(store)) == ([], 5)
    engine.arbitration.answer(VOLUME, incident(answer, 6), COORDINATOR)
    # Not even where it would say the same.
    assert refusal(engine, incident(answer, 6), "claim-2") == "OTHER_COORDINATOR"


def test_no_claim_comes_between_the_epoch_and_its_answer() -> None:
    """Whoever claims in order to take a `continue` back must see that it was given."""
    tried: list[bool] = []

    class Slow(FakeHost):
        def answer(self, answered: Incident) -> None:
            claim = dataclasses.replace(promote("withdraw", 7), coordinator=COORDINATOR)
            other = threading.Thread(target=lambda: engine.claim_epoch(claim))
            other.start()
            other.join(0.05)
            tried.append(known(store) == 6)
            super().answer(answered)
            waiting.append(other)

    waiting: list[threading.Thread] = []
    store = MemoryStore()
    host = Slow(replica=frozen_host().replica, incident=incident())
    engine = engine_of(host, store)
    answered = engine.arbitration.answer(VOLUME, incident("continue", 6), COORDINATOR)
    waiting[0].join(5)
    assert (tried, host.answered, known(store)) == ([True], [answered], 7)


def test_another_coordinator_grants_nothing() -> None:
    store = MemoryStore()
    engine = engine_of(lost_host(), store)
    with pytest.raises(Refused) as caught:
        engine.arbitration.grant(VOLUME, 6, "op-1", "claim-2")
    assert caught.value.code == "OTHER_COORDINATOR"
    assert (known(store), "grant-data" in store.files) == (5, False)


# --- grants ----------------------------------------------------------------------------------


def test_only_the_coordinators_grant_promotes_without_the_peer() -> None:
    for declared in (None, "beta"):
        engine = engine_of(lost_host(), MemoryStore())
        record = run(engine, promote(peer_is_off=declared))
        assert record.state is OperationState.REFUSED
        assert codes(record) == ["PROMOTION_NOT_GRANTED"]


def test_a_granted_promotion_serves() -> None:
    host, store = lost_host(), MemoryStore()
    engine = engine_of(host, store)
    granted = engine.arbitration.grant(VOLUME, 6, "op-1", COORDINATOR)
    assert granted == Grant(volume="data", epoch=6, operation_id="op-1", boot_id="boot-1")
    assert known(store) == 6
    record = run(engine, promote())
    assert record.state is OperationState.SUCCEEDED
    assert host.server is ServerState.SERVING
    assert engine.arbitration.grant(VOLUME, 6, "op-1", COORDINATOR) == granted


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (promote("op-2"), "STALE_EPOCH"),
        (promote("op-2", epoch=7), "PROMOTION_NOT_GRANTED"),
        (promote(epoch=7), "PROMOTION_NOT_GRANTED"),
        (promote(epoch=None), "PROMOTION_NOT_GRANTED"),
    ],
)
def test_a_grant_is_for_one_epoch_and_one_operation(request_: OperationRequest, code: str) -> None:
    host = lost_host()
    engine = engine_of(host, MemoryStore())
    engine.arbitration.grant(VOLUME, 6, "op-1", COORDINATOR)
    record = run(engine, request_)
    assert record.state is OperationState.REFUSED
    assert code in codes(record)
    assert StepKind.PRIMARY not in host.performed


def test_a_grant_does_not_outlive_the_boot() -> None:
    host, store = lost_host(), MemoryStore()
    engine_of(host, store).arbitration.grant(VOLUME, 6, "op-1", COORDINATOR)
    host.boot = "boot-2"
    record = run(engine_of(host, store), promote())
    assert codes(record) == ["PROMOTION_NOT_GRANTED"]


def test_a_torn_grant_is_none() -> None:
    host, store = lost_host(), MemoryStore()
    engine = engine_of(host, store)
    engine.arbitration.grant(VOLUME, 6, "op-1", COORDINATOR)
    for content in (b"", store.files["grant-data"][:-3], b'{"volume": "data"}', b"[]"):
        store.files["grant-data"] = content
        assert not engine.arbitration.is_granted(promote())


def test_a_grant_is_not_enough_for_a_copy_that_may_be_old() -> None:
    host = lost_host()
    host.attachment = Attachment(in_sync_until_loss=False, broken_by="seen")
    engine = engine_of(host, MemoryStore())
    engine.arbitration.grant(VOLUME, 6, "op-1", COORDINATOR)
    assert codes(run(engine, promote())) == ["CURRENCY_UNPROVEN"]


def test_without_arbitration_there_is_nothing_to_grant() -> None:
    config = agent_config()
    engine = engine_of(lost_host(), MemoryStore(), config)
    with pytest.raises(Refused) as caught:
        engine.arbitration.grant(volume_config(), 6, "op-1", COORDINATOR)
    assert caught.value.code == "GRANT_NOT_USED"


def test_one_epoch_is_one_word() -> None:
    host, store = frozen_host(), MemoryStore()
    engine = engine_of(host, store)
    engine.arbitration.answer(VOLUME, incident("continue", 6), COORDINATOR)
    with pytest.raises(Refused) as caught:
        engine.arbitration.grant(VOLUME, 6, "op-1", COORDINATOR)
    assert caught.value.code == "STALE_EPOCH"


def test_a_newer_word_stops_an_older_promotion_before_it_takes_the_role() -> None:
    host, store = lost_host(), MemoryStore()
    engine = engine_of(host, store)
    engine.arbitration.grant(VOLUME, 6, "op-1", COORDINATOR)

    def newer() -> None:
        EpochStore(store).write(
            "data", Epoch(number=7, operation_id="another", coordinator=COORDINATOR)
        )

    host.faults[StepKind.PREPARE_SERVER] = newer
    host.server = ServerState.ABSENT
    record = run(engine, promote())
    assert record.state is OperationState.ROLLED_BACK
    assert codes(record) == ["STALE_EPOCH"]
    assert StepKind.PRIMARY not in host.performed


# --- the link --------------------------------------------------------------------------------


def link(kind: OperationKind, operation_id: str = "arbitration-1") -> OperationRequest:
    return OperationRequest(
        kind=kind, volume="data", operation_id=operation_id, origin="arbitration"
    )


class Blind(FakeHost):
    """Looking at anything but the NFS server would hang."""

    def observe(self, volume, facets=frozenset()):  # type: ignore[no-untyped-def]
        assert facets == {Facet.NFS}, f"looked at {sorted(facets)} of a frozen host"
        return super().observe(volume, facets)


def test_a_frozen_hosts_clients_are_shut_out_without_a_look_at_the_filesystem() -> None:
    host = Blind(**{f.name: getattr(frozen_host(), f.name) for f in dataclasses.fields(FakeHost)})
    engine = engine_of(host, MemoryStore())
    record = run(engine, link(OperationKind.CLOSE_LINK))
    assert (record.state, record.changed) == (OperationState.SUCCEEDED, True)
    assert record.message == "NFS server started on alpha, the rest unknown"
    assert host.performed == [StepKind.LINK_DOWN]
    again = run(engine, link(OperationKind.CLOSE_LINK, "arbitration-2"))
    assert (again.state, again.changed) == (OperationState.SUCCEEDED, False)


def test_a_link_that_goes_down_slowly_is_never_put_up_again() -> None:
    host = frozen_host()
    host.deaf.add(StepKind.LINK_DOWN)
    record = run(engine_of(host, MemoryStore()), link(OperationKind.CLOSE_LINK))
    assert record.state is OperationState.FAILED
    assert host.performed == [StepKind.LINK_DOWN]


def test_clients_are_let_in_again_only_where_nothing_is_frozen() -> None:
    host = serving_host(server=ServerState.STARTED, incident=incident("continue", 6))
    record = run(engine_of(host, MemoryStore()), link(OperationKind.OPEN_LINK))
    assert (record.state, host.server) == (OperationState.SUCCEEDED, ServerState.SERVING)
    host = frozen_host(server=ServerState.STARTED)
    record = run(engine_of(host, MemoryStore()), link(OperationKind.OPEN_LINK))
    assert (record.state, host.performed) == (OperationState.REFUSED, [])
