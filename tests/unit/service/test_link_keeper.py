"""When the agent shuts clients out and lets them in, and how often it tries."""

from __future__ import annotations

import dataclasses

from storage_agent.model.errors import Busy
from storage_agent.model.nfs import ServerState
from storage_agent.model.operation import OperationRecord, OperationRequest, OperationState
from storage_agent.model.plan import OperationKind
from storage_agent.model.replica import DiskState
from storage_agent.service.link_keeper import FIRST_PAUSE_S, HALTED_S, LAST_PAUSE_S, LinkKeeper
from tests.unit.fakes import FakeClock, FakeHost
from tests.unit.incidents import CONFIG, PRIMARY, VOLUME, frozen_host, incident, serving_host
from tests.unit.replicas import (
    in_sync_replica,
    lost_peer,
    with_peer,
)
from tests.unit.service.parts import record_of

CLOSE, OPEN = OperationKind.CLOSE_LINK, OperationKind.OPEN_LINK


class World:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.asked: list[OperationRequest] = []
        self.records: list[OperationRecord] = []
        self.is_busy = False
        self.keeper = self.start()

    def start(self, boot_id: str = "boot-1") -> LinkKeeper:
        self.keeper = LinkKeeper(
            clock=self.clock,
            boot_id=boot_id,
            start=self._begin,
            lately=lambda _volume: tuple(reversed(self.records)),
            epoch=lambda volume: 7,
        )
        return self.keeper

    def _begin(self, request: OperationRequest) -> None:
        if self.is_busy:
            raise Busy("data is busy")
        self.asked.append(request)
        self.note(request)

    def note(self, request: OperationRequest, *, changed: bool = True) -> None:
        record = record_of(request, state=OperationState.SUCCEEDED, changed=changed)
        self.records.append(record)

    def keep(self, host: FakeHost) -> float | None:
        self.clock.now_s += 0.01
        return self.keeper.keep(CONFIG, {"data": host.observe(VOLUME)})

    def kinds(self) -> list[OperationKind]:
        return [request.kind for request in self.asked]


def halted(**changes: object) -> FakeHost:
    return serving_host(server=ServerState.HALTED, **changes)


def test_a_halted_host_lets_clients_in_once_drbd_has_asked_its_peer() -> None:
    """What DRBD shows of the peer may be of before it was lost."""
    world = World()
    assert world.keep(halted()) == HALTED_S
    world.clock.now_s += HALTED_S - 1
    assert world.keep(halted()) is not None
    assert world.kinds() == []
    world.clock.now_s += 1
    world.keep(halted())
    assert world.kinds() == [OPEN]


def test_a_halted_host_that_turns_out_to_have_lost_its_peer_stays_shut() -> None:
    world = World()
    world.keep(halted())
    world.clock.now_s += HALTED_S + 1
    world.keep(halted(replica=lost_peer(PRIMARY)))
    assert world.kinds() == []
    # In sight again, the time begins anew.
    assert world.keep(halted()) == HALTED_S


def test_a_frozen_host_that_was_halted_is_shut_in_order_and_may_be_told_to_go_on() -> None:
    world = World()
    world.keep(frozen_host(server=ServerState.HALTED))
    assert world.kinds() == [CLOSE]
    told = World()
    told.keep(halted(incident=incident("continue", 7), replica=lost_peer(PRIMARY)))
    assert told.kinds() == [OPEN]


THAWED = serving_host(server=ServerState.STARTED, incident=incident("continue", 7))


def test_a_frozen_host_shuts_its_clients_out_and_lets_them_in_again() -> None:
    world = World()
    assert world.keep(frozen_host()) == FIRST_PAUSE_S
    assert world.keep(frozen_host(server=ServerState.STARTED)) is None
    world.keep(THAWED)
    assert world.keep(serving_host()) is None
    assert world.kinds() == [CLOSE, OPEN]
    assert len({request.operation_id for request in world.asked}) == 2
    assert {request.origin for request in world.asked} == {"arbitration"}


def test_it_tries_again_but_ever_more_seldom() -> None:
    world = World()
    waits = []
    for _ in range(10):
        wait_s = world.keep(frozen_host())
        assert wait_s is not None
        waits.append(wait_s)
        world.clock.now_s += wait_s
    assert waits[:3] == [FIRST_PAUSE_S, 2 * FIRST_PAUSE_S, 4 * FIRST_PAUSE_S]
    assert waits[-1] == LAST_PAUSE_S
    assert len(world.asked) == 10


def test_news_in_between_do_not_hurry_it() -> None:
    world = World()
    for _ in range(20):
        world.keep(frozen_host())
    assert len(world.asked) == 1


def test_a_busy_volume_is_tried_again() -> None:
    world = World()
    world.is_busy = True
    assert world.keep(frozen_host()) == FIRST_PAUSE_S
    world.is_busy = False
    world.clock.now_s += FIRST_PAUSE_S
    world.keep(frozen_host())
    assert world.kinds() == [CLOSE]


def test_what_it_did_not_shut_it_does_not_open() -> None:
    world = World()
    world.keep(THAWED)
    assert world.asked == []
    # Shut by us, then somebody else had the volume.
    world.keep(frozen_host())
    world.note(record_request(OperationKind.DEMOTE))
    world.keep(THAWED)
    assert world.kinds() == [CLOSE]


def test_what_changed_nothing_does_not_count() -> None:
    world = World()
    world.keep(frozen_host())
    world.note(record_request(OperationKind.DEMOTE), changed=False)
    world.keep(THAWED)
    assert world.kinds() == [CLOSE, OPEN]


def test_a_restarted_daemon_knows_what_it_shut_and_a_restarted_host_does_not() -> None:
    for boot_id, kinds in (("boot-1", [CLOSE, OPEN]), ("boot-2", [CLOSE])):
        world = World()
        world.keep(frozen_host())
        world.start(boot_id)
        world.keep(THAWED)
        assert world.kinds() == kinds


def record_request(kind: OperationKind) -> OperationRequest:
    return OperationRequest(kind=kind, volume="data", operation_id="op-9")


def test_a_replica_that_has_lost_the_newer_copy_is_taken_down() -> None:
    world = World()
    alone = dataclasses.replace(lost_peer(in_sync_replica()), disk=DiskState.DISKLESS)
    host = FakeHost(replica=with_peer(alone, disk=DiskState.OUTDATED))
    assert world.keep(host) == FIRST_PAUSE_S
    host.replica = None
    assert world.keep(host) is None
    assert world.kinds() == [OperationKind.LEAVE]
