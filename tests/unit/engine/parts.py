"""An engine on a fake host: what it is asked, and where the host may end."""

from __future__ import annotations

from collections.abc import Callable

from storage_agent.engine.engine import Engine
from storage_agent.engine.epoch import EpochStore
from storage_agent.model.configuration import AgentConfig
from storage_agent.model.nfs import ServerState
from storage_agent.model.operation import Epoch, Marker, OperationRecord, OperationRequest
from storage_agent.model.plan import OperationKind, StepKind
from storage_agent.model.replica import Role
from tests.unit.fakes import COORDINATOR, FakeHost, MemoryStore, agent_config, volume_config

SERVICE = ("backup.service",)
CONFIG = agent_config(volume_config(services=SERVICE))

PROMOTION = [
    StepKind.PRIMARY,
    StepKind.READ_MARKER,
    StepKind.MOUNT,
    StepKind.WRITE_MARKER,
    StepKind.START_SERVER,
    StepKind.START_SERVICES,
    StepKind.LINK_UP,
    StepKind.PROVE_EXPORT,
]
# Proved by the act itself, and done again when a plan is walked again.
PASSING = {StepKind.READ_MARKER, StepKind.WRITE_MARKER, StepKind.PROVE_EXPORT}
DEMOTION = [
    StepKind.LINK_DOWN,
    StepKind.STOP_SERVICES,
    StepKind.STOP_SERVER,
    StepKind.UNMOUNT,
    StepKind.SECONDARY,
]


def request(kind: OperationKind, operation_id: str = "op-1", **more: object) -> OperationRequest:
    """With an epoch it is the coordinator's, unless another one is named."""
    named = {"coordinator": COORDINATOR} if "epoch" in more else {}
    return OperationRequest(
        kind=kind,
        volume="data",
        operation_id=operation_id,
        **(named | more),  # type: ignore[arg-type]
    )


def make_engine(
    host: FakeHost,
    store: MemoryStore,
    config: AgentConfig = CONFIG,
    on_change: Callable[[OperationRecord], None] = lambda record: None,
    *,
    has_epoch: bool = True,
) -> Engine:
    if has_epoch and "epoch-data" not in store.files:
        first = Epoch(number=5, operation_id="before", coordinator=COORDINATOR)
        EpochStore(store).write("data", first)
        store.writes = 0
    return Engine(
        config=config,
        host=host,
        store=store,
        clock=host.clock,
        on_change=on_change,
        wait_for_news=lambda volume, timeout_s: host.clock.sleep(timeout_s),
    )


def run(engine: Engine, wanted: OperationRequest) -> OperationRecord:
    return engine.run(engine.begin(wanted).request.operation_id)


def serving_host() -> FakeHost:
    host = FakeHost(mounted=True, server=ServerState.SERVING, services_active=True)
    host._act(StepKind.PRIMARY)
    return host


def is_serving(host: FakeHost) -> bool:
    assert host.replica is not None
    return (
        host.replica.role is Role.PRIMARY
        and host.mounted
        and host.server is ServerState.SERVING
        and host.services_active
    )


def is_secondary(host: FakeHost) -> bool:
    assert host.replica is not None
    stopped = host.server in (ServerState.STANDBY, ServerState.ABSENT)
    return (
        host.replica.role is Role.SECONDARY
        and not host.mounted
        and not host.services_active
        and stopped
    )


def served_marker(epoch: int, counter: int = 3, operation_id: str = "other") -> Marker:
    return Marker(
        epoch=epoch,
        counter=counter,
        operation_id=operation_id,
        host="beta",
        boot_id="b",
        wall_s=0.0,
    )
