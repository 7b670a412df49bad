"""An operation by which one host takes over from the other asks the peer's agent first."""

from __future__ import annotations

import pytest

from storage_agent.model.agreement import Agreement, Silence
from storage_agent.model.nfs import ServerState
from storage_agent.model.operation import SHUTDOWN_ORIGIN, OperationState
from storage_agent.model.plan import OperationKind
from storage_agent.model.replica import Role
from tests.unit.engine.parts import DEMOTION, make_engine, request, run
from tests.unit.fakes import FakeHost, MemoryStore
from tests.unit.replicas import in_sync_replica, with_peer

ALIKE = Agreement(has_secret=True, peer_version="0.1.0")
DIFFERENT = Agreement(has_secret=True, differing={"volumes.data.mount_point": ('"/a"', '"/b"')})
SILENT = Agreement(has_secret=True, silence=Silence.REFUSED)


def serving(agreement: Agreement) -> FakeHost:
    replica = in_sync_replica(role=Role.PRIMARY)
    host = FakeHost(replica=replica, mounted=True, server=ServerState.SERVING, agreement=agreement)
    host.services_active = True
    return host


@pytest.mark.parametrize(
    ("agreement", "code"), [(DIFFERENT, "CONFIG_DISAGREES"), (SILENT, "CONFIG_NOT_COMPARED")]
)
def test_a_host_that_serves_does_not_let_go(agreement: Agreement, code: str) -> None:
    host = serving(agreement)
    record = run(make_engine(host, MemoryStore()), request(OperationKind.DEMOTE))
    assert record.state is OperationState.REFUSED
    assert [f.code for f in record.findings] == [code]
    assert host.performed == []


def test_with_the_same_on_both_it_does() -> None:
    host = serving(ALIKE)
    record = run(make_engine(host, MemoryStore()), request(OperationKind.DEMOTE))
    assert record.state is OperationState.SUCCEEDED
    assert host.performed == DEMOTION
    assert record.findings == ()


@pytest.mark.parametrize("more", [{"origin": SHUTDOWN_ORIGIN}, {"stop_serving": "alpha/data"}])
def test_what_goes_down_or_is_meant_lets_go(more: dict[str, str]) -> None:
    host = serving(DIFFERENT)
    record = run(make_engine(host, MemoryStore()), request(OperationKind.DEMOTE, **more))
    assert record.state is OperationState.SUCCEEDED


def test_a_promotion_that_waits_is_refused_before_the_peer_lets_go() -> None:
    host = FakeHost(replica=with_peer(in_sync_replica(), role=Role.PRIMARY), agreement=DIFFERENT)
    wanted = request(OperationKind.PROMOTE, options={"wait_s": "30"})
    record = run(make_engine(host, MemoryStore()), wanted)
    assert record.state is OperationState.REFUSED
    assert [f.code for f in record.findings] == ["CONFIG_DISAGREES"]
    assert host.performed == []
