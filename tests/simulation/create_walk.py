"""The daemon killed, and the host's power cut, before each piece of `create` and of
`create --abandon`; then the same command typed again, and where that is refused, what is named."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

from storage_agent.engine.engine import Engine
from storage_agent.model.configuration import AgentConfig
from storage_agent.model.operation import OperationRecord, OperationRequest, OperationState
from storage_agent.model.plan import OperationKind
from tests.simulation.create_world import Crash, CreateHost
from tests.unit.fakes import SERIALS, FakeClock, MemoryStore, agent_config, volume_config

LIMIT = 300
TRIES = 4


@dataclass(frozen=True, slots=True)
class Making:
    """What is typed: `create --ROLE`, with this filesystem; is_abandoned: interrupted near its end
    first, and then taken back, which is interrupted in its turn."""

    role: str
    filesystem: str = "ext4"
    is_abandoned: bool = False

    def __str__(self) -> str:
        return f"{self.role}-{self.filesystem}{'-abandoned' if self.is_abandoned else ''}"


MAKINGS = (
    Making("first"),
    Making("first", "xfs"),
    Making("join"),
    Making("first", is_abandoned=True),
    Making("join", is_abandoned=True),
)


class Desk:
    """An admin at the host. Each daemon that dies is started anew."""

    def __init__(self, making: Making) -> None:
        volume = volume_config()
        kind = dataclasses.replace(volume.filesystem, type=making.filesystem, uuid=None)
        array = dataclasses.replace(volume.array, uuid={})
        self.config: AgentConfig = agent_config(
            dataclasses.replace(volume, array=array, filesystem=kind)
        )
        self.host = CreateHost(SERIALS)
        self.store = MemoryStore()
        self.count = 0
        self.problems: list[str] = []

    def engine(self) -> Engine:
        return Engine(
            config=self.config,
            host=self.host,
            store=self.store,
            clock=FakeClock(),
            on_change=lambda record: None,
            wait_for_news=lambda volume, wait_s: None,
        )

    def type(self, kind: OperationKind, role: str = "") -> OperationRecord | None:
        """None where the daemon died of it; then it was started anew, and resumed."""
        self.count += 1
        request = OperationRequest(
            kind=kind,
            volume="data",
            operation_id=f"op-{self.count}",
            options={"role": role} if role else {},
        )
        engine = self.engine()
        try:
            engine.begin(request)
            return engine.run(request.operation_id)
        except Crash:
            self.restart()
            return None

    def restart(self) -> None:
        engine = self.engine()
        for operation_id in engine.resume():
            engine.run(operation_id)


def cut(making: Making, point: int, *, with_power: bool) -> tuple[Desk, str] | None:
    """One crash at this piece; None where it lies behind the end. Otherwise the desk afterwards,
    all mended, and where it was struck."""
    desk = Desk(making)
    host = desk.host
    if making.is_abandoned:
        # Interrupted once all is made, so that there is most to take back.
        host.crash_at, host.with_power = _last_piece(making), True
        desk.type(OperationKind.CREATE, making.role)
    host.pieces, host.crash_at, host.with_power = 0, point, with_power
    host.log.clear()
    kind = OperationKind.ABANDON if making.is_abandoned else OperationKind.CREATE
    desk.type(kind, "" if making.is_abandoned else making.role)
    if not host.log:
        return None
    host.crash_at = 0
    _mend(desk, making)
    return desk, host.log[0]


def _last_piece(making: Making) -> int:
    desk = Desk(making)
    desk.type(OperationKind.CREATE, making.role)
    return desk.host.pieces - 1


def _mend(desk: Desk, making: Making) -> None:
    """Types what is named until the volume is made or gone; tells what does not end so."""
    kind = OperationKind.ABANDON if making.is_abandoned else OperationKind.CREATE
    for _ in range(TRIES):
        if not desk.engine().unfinished_creations() and (is_made(desk) or not desk.host.traces()):
            break
        if kind is OperationKind.CREATE and is_made(desk):
            break
        record = desk.type(kind, making.role if kind is OperationKind.CREATE else "")
        assert record is not None
        if record.state is OperationState.SUCCEEDED:
            continue
        if "--abandon" not in record.remedy:
            desk.problems.append(f"dead end: {record.message}; try: {record.remedy}")
            return
        kind = OperationKind.ABANDON
    else:
        desk.problems.append(f"not ended after {TRIES} tries: {desk.host.traces()}")
    _judge(desk, making)


def is_made(desk: Desk) -> bool:
    """Whole, and known to be."""
    return not desk.engine().unfinished_creations() and desk.store.read("epoch-data") is not None


def _judge(desk: Desk, making: Making) -> None:
    host = desk.host
    if is_made(desk):
        fs = host.content.filesystem
        whole = making.role == "join" or (fs is not None and fs[2])
        if not (whole and host.content.metadata and host.array_runs):
            desk.problems.append(f"made, and not whole: {host.content}")
        if host.content.current > 0x5000:
            desk.problems.append("declared the good one more often than it was interrupted")
    elif left := host.traces():
        desk.problems.append(f"left behind: {left}")
    if any(name.startswith(("made-", "creation-")) for name in desk.store.files):
        desk.problems.append("its record was left behind")


def walk(making: Making, *, with_power: bool) -> Iterator[tuple[Desk, str]]:
    for point in range(1, LIMIT):
        found = cut(making, point, with_power=with_power)
        if found is None:
            return
        yield found
    raise AssertionError("no end")
